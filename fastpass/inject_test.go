//go:build linux

package fastpass

import (
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"example.com/fdpass/internal/leak"
	"example.com/fdpass/internal/sys"

	"golang.org/x/sys/unix"
)

// Errors of system calls, put into a real process by strace: the call does not happen, and returns the error. The
// process at the other end is the test's own, untouched.

var injectUpTo = flag.Int("inject", 0, "inject each error at each of the first calls up to this one; 0: at a few of them")

// injection is one error at one call of one end of a link.
type injection struct {
	Link  linkConfig // of the process that gets the error
	Call  string
	Errno string
	When  int // the number of the call, counted for each thread
}

func (i injection) String() string {
	return fmt.Sprintf("%v, %s number %d fails with %s", i.Link, i.Call, i.When, i.Errno)
}

// The system calls on the path.
var sendCall, recvCall, writeCall = func() (string, string, string) {
	if sys.Implementation == "sendmmsg/recvmmsg" {
		return "sendmmsg", "recvmmsg", "sendto"
	}
	return "sendmsg", "recvmsg", "sendmsg"
}()

// errnos are the errors that the calls get.
func errnos(call string) []string {
	common := []string{"EINTR", "EAGAIN", "ENOBUFS", "ENOMEM", "EBADF", "ECONNRESET"}
	if call == sendCall && call != writeCall { // it takes descriptors
		return append(common, "ETOOMANYREFS")
	}
	return common
}

// injections are all errors at the call when.
func injections(when int) (all []injection) {
	for _, l := range everyLink {
		l.Window, l.Batch, l.Messages = 256, 3, 4
		for _, l.Direction = range []Direction{Both, SendOnly, RecvOnly} {
			for _, call := range slices.Compact([]string{recvCall, sendCall, writeCall}) {
				for _, errno := range errnos(call) {
					if i := (injection{l, call, errno, when}); i.exists() {
						all = append(all, i)
					}
				}
			}
		}
	}
	return all
}

// exists reports whether the link makes such a call. A Bare link that can do both only receives here.
func (i injection) exists() bool {
	framed, dir := i.Link.Protocol == Framed, i.Link.Direction
	switch {
	case i.Call == recvCall:
		return framed || dir != SendOnly
	case i.Call == sendCall && dir == SendOnly:
		return true
	case i.Call == writeCall && dir == SendOnly:
		return framed && (i.When <= i.hellos() || i.last())
	case i.Call == sendCall && dir == Both || i.Call == writeCall:
		return framed
	}
	return false
}

// last reports whether it is the last call of all that is to fail, BYE. No open socket is a bad descriptor.
func (i injection) last() bool {
	return i.Call == writeCall && i.Link.Direction == SendOnly && i.When == i.hellos()+1 && i.Errno != "EBADF"
}

// hellos is how many HELLOs are sent by writeCall: that of an end that sends carries a page where there are any.
func (i injection) hellos() int {
	if pagesExist() && i.sends() && i.Link.Network != "unix" {
		return 0
	}
	return 1
}

// pagesExist reports whether ends acknowledge on a shared page here.
var pagesExist = sync.OnceValue(func() bool {
	p, fd := sys.System.NewPage()
	if p != nil {
		unix.Close(fd)
	}
	return p != nil
})

// fatal reports whether the link may end because of the error: if its HELLO cannot be sent, if the call can never
// succeed, and if nobody else will tell a Bare sender that the peer is gone.
func (i injection) fatal() bool {
	return i.Call == writeCall && i.When <= i.hellos() ||
		i.Errno == "EBADF" && (i.Call == recvCall || i.Call == writeCall) ||
		i.Errno == "ECONNRESET" && i.Call == sendCall && i.Link.Protocol == Bare
}

// said is what the error that ends the link must say.
var said = map[string]string{
	"EAGAIN": "temporarily unavailable", "ENOBUFS": "buffer space", "ENOMEM": "memory", "EBADF": "bad file descriptor",
	"ECONNRESET": ErrPeerGone.Error(),
}

// injectSpec is the argument of the role "inject".
type injectSpec struct {
	Injection injection
	Numbers   string // the file of the numbered descriptors
	Ends      bool   // the link, rather than wait for its end
}

// sends and receives tell what the process does that gets the error.
func (i injection) sends() bool {
	return i.Link.Direction == SendOnly || i.Link.Direction == Both && i.Link.Protocol == Framed
}
func (i injection) receives() bool { return i.Link.Direction != SendOnly }

// ranges are numbers in the order in which they came.
type ranges [][2]int

func (r *ranges) add(n int) {
	if last := len(*r) - 1; last >= 0 && (*r)[last][1] == n {
		(*r)[last][1]++
	} else {
		*r = append(*r, [2]int{n, n + 1})
	}
}

// fates is what has become of the descriptors at one end.
type fates struct {
	New, SendErr, RecvErr, End string // errors
	Sent                       int    // numbers 0..Sent-1 were taken
	Refused, Back, Received    ranges
	Left                       string // open at the end
}

// traffic is one end of a link that is kept busy.
type traffic struct {
	p        *Passer
	numbers  numbered
	stop     atomic.Bool
	ends     bool // the sending half closes the link when it stops
	received atomic.Int64
	sent     atomic.Int64
	fates    fates
}

// run sends and receives, the latter on the caller's own thread if it does both, until the link ends.
func (f *traffic) run(send, receive bool) {
	var wg sync.WaitGroup
	defer wg.Wait()
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	switch {
	case send && receive:
		wg.Go(func() {
			runtime.LockOSThread()
			f.send()
		})
		f.receive()
	case send:
		f.send()
	default:
		f.receive()
	}
}

func (f *traffic) send() {
	for k := 1; !f.stop.Load(); k = k%15 + 1 {
		if !f.sendSome(k, f.p.SendBatch) {
			return
		}
	}
	if f.ends {
		f.sendSome(20, func(ds []Desc) (int, error) { // are on their way at the end
			for i, d := range ds {
				if err := f.p.Push(d); err != nil {
					return i, err
				}
			}
			return len(ds), f.p.Flush()
		})
		f.p.Close()
	}
}

// sendSome sends the next k, and returns false if that fails for another reason than one descriptor.
func (f *traffic) sendSome(k int, send func(ds []Desc) (int, error)) bool {
	ds := make([]Desc, k)
	for i := range ds {
		number := f.fates.Sent + i
		ds[i] = Desc{FD: openNumbered(f.numbers, number), Tag: uint64(number)}
	}
	n, err := send(ds)
	CloseFDs(fdsOf(ds[n:]))
	f.fates.Sent += n
	f.sent.Add(int64(n))
	if refusal := (*DescError)(nil); err != nil && !errors.As(err, &refusal) {
		f.fates.SendErr = err.Error()
		return false
	}
	return true
}

// openNumbered is open for a process that is no test.
func openNumbered(s numbered, number int) int {
	fd, err := s.tryOpen(number)
	must(err)
	return fd
}

func (f *traffic) receive() {
	for ds := make([]Desc, 10); ; {
		n, err := f.p.RecvBatch(ds)
		for _, d := range ds[:n] {
			f.fates.Received.add(numberOf(d.FD))
		}
		CloseFDs(fdsOf(ds[:n]))
		f.received.Add(int64(n))
		if err != nil {
			f.fates.RecvErr = err.Error()
			return
		}
	}
}

// refused is Config.OnRefused.
func (f *traffic) refused(d Desc, _ error) {
	f.fates.Refused.add(numberOf(d.FD))
	CloseFDs([]int{d.FD})
}

// finish closes what came back.
func (f *traffic) finish() fates {
	f.p.Close()
	if err := f.p.Err(); err != nil {
		f.fates.End = err.Error()
	}
	back := f.p.Undelivered()
	for _, d := range back {
		f.fates.Back.add(numberOf(d.FD))
	}
	CloseFDs(fdsOf(back))
	return f.fates
}

func init() {
	roles["inject"] = func() { // the process that gets the error; says what has become of its descriptors
		var spec injectSpec
		childArg(&spec)
		runtime.LockOSThread()
		if r, w, err := os.Pipe(); err == nil { // opens the poller
			r.Close()
			w.Close()
		}
		sys.System.FreeSlots(0, 1)
		before := leak.Take()
		f := &traffic{numbers: numbered{spec.Numbers}, ends: spec.Ends}
		cfg := spec.Injection.Link.config()
		cfg.OnRefused = f.refused
		c, err := fileConn(os.NewFile(3, "link"))
		must(err)
		if f.p, err = New(c, cfg); err != nil {
			f.fates.New = err.Error()
		} else {
			go func() {
				hear()
				f.stop.Store(true)
			}()
			if spec.Injection.Errno == "EAGAIN" {
				go f.nudge()
			}
			f.run(spec.Injection.sends(), spec.Injection.receives())
			f.finish()
		}
		f.fates.Left = before.LeftDescriptors(patience)
		js, err := json.Marshal(f.fates)
		must(err)
		say("%s", js)
	}
}

// nudge has the reader look at the socket now and then. An EAGAIN with something there, which only strace returns,
// leaves it waiting for a change that has been.
func (f *traffic) nudge() {
	for tick := time.Tick(5 * time.Millisecond); ; <-tick {
		f.p.in.wakeReader()
	}
}

func needStrace(t testing.TB) {
	t.Helper()
	if out, err := exec.Command("strace", "-f", "--seccomp-bpf", "-qq", "-o", os.DevNull, "true").CombinedOutput(); err != nil {
		t.Skipf("strace, which injects the errors, does not work here (make inject installs it): %v %s", err, out)
	}
}

// strace has cmd run under strace, which logs the calls that fail, also those that fail because of the injection.
func strace(t testing.TB, cmd *exec.Cmd, calls, injection string) (log string) {
	t.Helper()
	path, err := exec.LookPath("strace")
	if err != nil {
		t.Fatal(err)
	}
	log = filepath.Join(t.TempDir(), "log")
	args := []string{path, "-D", "-f", "-qq", "--seccomp-bpf", "-Z", "-s0", "-e", "signal=none", "-o", log, "-e", "trace=" + calls}
	if injection != "" {
		args = append(args, "-e", "inject="+calls+":"+injection)
	}
	cmd.Args = append(append(args, cmd.Path), cmd.Args[1:]...)
	cmd.Path = path
	cmd.Env = append(cmd.Env, "GOMAXPROCS=1")
	return log
}

// hits is how many calls strace has had fail.
func hits(log string) int { return logged(log, "(INJECTED)") }

func logged(log, what string) int {
	b, _ := os.ReadFile(log)
	return strings.Count(string(b), what)
}

func TestAnErrorOfASystemCallLosesNothing(t *testing.T) {
	needStrace(t)
	numbers := newNumbered(t)
	for _, i := range chosen() {
		t.Run(i.String(), func(t *testing.T) {
			noLeaks(t)
			inject(t, i, numbers)
		})
	}
}

// chosen are the injections to run: all up to *injectUpTo, or some of everything.
func chosen() (some []injection) {
	for when := range *injectUpTo {
		some = append(some, injections(when+1)...)
	}
	if *injectUpTo == 0 {
		for k, i := range injections(2) {
			// Neither the errors nor the calls repeat in steps of five or ten.
			if step := map[bool]int{true: 10, false: 5}[brief()]; k%step > 1 {
				continue
			}
			if !i.last() {
				i.When = 1 + k%9
			}
			some = append(some, i)
		}
	}
	return some
}

func inject(t *testing.T, i injection, numbers numbered) {
	here := &traffic{numbers: numbers}
	l := i.Link
	l.Direction = map[bool]map[bool]Direction{true: {true: Both, false: RecvOnly}, false: {true: SendOnly}}[i.sends()][i.receives()]
	cfg := l.config()
	cfg.OnRefused = here.refused
	p, f, err := Pair(cfg)
	if err != nil {
		t.Fatal(err)
	}
	here.p = p
	spec := injectSpec{i, numbers.path, i.sends() && (l.Protocol == Bare || i.When%2 == 0)}
	cmd := childCommand(t, "inject", spec)
	log := strace(t, cmd, i.Call, fmt.Sprintf("error=%s:when=%d", i.Errno, i.When))
	c := startCommand(t, cmd, f)
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		here.run(i.receives(), i.sends())
	}()
	over := func() bool {
		select {
		case <-ended:
			return true
		default:
			return false
		}
	}
	if !i.last() {
		until(t, "the error is injected", func() bool { return hits(log) > 0 || over() })
	}
	sent, received := here.sent.Load(), here.received.Load()
	until(t, "the link goes on, or ends", func() bool {
		return over() || (!i.receives() || here.sent.Load() > sent+600) && (!i.sends() || here.received.Load() > received+600)
	})
	early := over()
	if early && !i.fatal() {
		t.Errorf("the link has ended: %v", p.Err())
	}
	if here.stop.Store(true); spec.Ends {
		c.in.Write([]byte("stop\n")) // if it is still there
	} else {
		soon(t, "Close returns", func() { p.Close() })
	}
	wait(t, "the link ends here", ended)
	var there fates
	if err := json.Unmarshal([]byte(c.hear()), &there); err != nil {
		t.Fatal(err)
	}
	c.succeed()
	if hits(log) == 0 {
		t.Error("the call was never made")
	}
	if why := there.New + there.End; early && !strings.Contains(why, said[i.Errno]) {
		t.Errorf("the link has ended with %q, which does not say %q", why, said[i.Errno])
	}
	i.judge(t, here.finish(), there, hits(log))
	if t.Failed() {
		b, _ := os.ReadFile(log)
		t.Logf("ends there: %v\nhere:  %+v\nthere: %+v\n%s", spec.Ends, here.fates, there, b)
	}
}

// judge holds what has become of the descriptors against what must.
func (i injection) judge(t *testing.T, here, there fates, hits int) {
	t.Helper()
	if there.Left != "" {
		t.Errorf("left open there:\n%s", there.Left)
	}
	least, most := 1, 1
	if i.Call == recvCall && i.Errno == "EBADF" {
		if i.Link.Protocol == Bare {
			least = 0 // what the receiver had not taken is lost with its socket
		} else if hits > 1 {
			most = 2 // a socket that cannot be read twice in a row: what was acknowledged is not known
		}
	}
	if i.receives() {
		exactlyOnce(t, here, there, least, most)
	}
	if i.sends() {
		exactlyOnce(t, there, here, least, most)
	}
}

// exactlyOnce holds what one end has sent against what came to the other or back: how many owners each descriptor has.
func exactlyOnce(t *testing.T, sender, receiver fates, least, most int) {
	t.Helper()
	owners := make([]int, sender.Sent)
	own := func(what string, rs ranges) (next int) {
		for _, r := range rs {
			if r[0] < next {
				t.Errorf("%s: out of order: %v", what, rs)
			}
			for n := r[0]; n < r[1] && n < len(owners); n++ {
				owners[n]++
			}
			next = r[1]
		}
		if next > len(owners) {
			t.Errorf("%s: up to %d, but %d were sent", what, next, len(owners))
		}
		return next
	}
	own("received", receiver.Received)
	own("came back", sender.Back)
	own("refused", sender.Refused)
	for n, k := range owners {
		if k < least || k > most {
			t.Errorf("descriptor %d of %d has %d owners", n, len(owners), k)
			break
		}
	}
}
