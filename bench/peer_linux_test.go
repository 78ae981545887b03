package bench

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"runtime"
	"testing"
	"time"

	"example.com/fdpass/bench/limit"
	"example.com/fdpass/fastpass"

	"golang.org/x/sys/unix"
)

// setupVar holds the other process's task as JSON.
const setupVar = "FASTPASS_BENCH_SETUP"

// setup is what the two ends of a link have in common.
type setup struct {
	Protocol  fastpass.Protocol
	Batch     int // descriptors per message
	Window    int
	Payload   int                // bytes with each descriptor
	Direction fastpass.Direction // of the other process, where there is one link
	TwoLinks  bool               // one for each direction: the other process receives over the first, and sends over the second
	Spin      time.Duration
	Profile   string // each end writes a CPU profile of what it did last to a file whose name begins so; empty: none
}

func (s setup) config(d fastpass.Direction) *fastpass.Config {
	return &fastpass.Config{
		Protocol: s.Protocol, Batch: s.Batch, Window: s.Window, Spin: s.Spin, Direction: d,
	}
}

// atOnce is how many descriptors the sender hands to the library in one call.
func (s setup) atOnce(give bool) int {
	if s.Batch == auto {
		return 1
	}
	return s.Batch * limit.Messages(s.Batch, !give)
}

// usage is what a process has used so far.
type usage struct {
	CPU     time.Duration
	Mallocs uint64
	Calls   uint64 // to send or to receive descriptors
}

func used(p *fastpass.Passer) usage {
	var u unix.Rusage
	_ = unix.Getrusage(unix.RUSAGE_SELF, &u)
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	st := p.Stats()
	return usage{time.Duration(u.Utime.Nano() + u.Stime.Nano()), m.Mallocs, st.SendCalls + st.RecvCalls}
}

func (u usage) since(v usage) usage {
	return usage{u.CPU - v.CPU, u.Mallocs - v.Mallocs, u.Calls - v.Calls}
}

// peer is the process at the other end.
type peer struct {
	cmd    *exec.Cmd
	in     io.WriteCloser
	orders *json.Encoder // how many descriptors come next
	result *json.Decoder // its usage, once it has them all
}

// startPeer starts this binary in a role, with files from descriptor 3 on.
func startPeer(role string, s setup, files ...*os.File) (*peer, error) {
	task, err := json.Marshal(s)
	if err != nil {
		return nil, err
	}
	cmd := exec.Command("/proc/self/exe")
	cmd.Env = append(os.Environ(), roleVar+"="+role, setupVar+"="+string(task))
	cmd.ExtraFiles = files
	cmd.Stderr = os.Stderr
	in, err := cmd.StdinPipe()
	if err != nil {
		return nil, err
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	return &peer{cmd, in, json.NewEncoder(in), json.NewDecoder(out)}, nil
}

func (p *peer) order(descriptors int) error { return p.orders.Encode(descriptors) }

func (p *peer) report() (u usage, err error) {
	if err = p.result.Decode(&u); err != nil {
		err = fmt.Errorf("the other process: %w", err)
	}
	return u, err
}

// stop ends the process in order: the end of its orders.
func (p *peer) stop() error {
	p.in.Close()
	return p.cmd.Wait()
}

// theSetup is the other process's view of its task.
func theSetup() (s setup, err error) {
	return s, json.Unmarshal([]byte(os.Getenv(setupVar)), &s)
}

// inherited makes a Passer of descriptor fd.
func inherited(fd uintptr, cfg *fastpass.Config) (*fastpass.Passer, error) {
	f := os.NewFile(fd, "link")
	c, err := net.FileConn(f)
	f.Close()
	if err != nil {
		return nil, err
	}
	return fastpass.New(c.(*net.UnixConn), cfg)
}

// beReceiver takes descriptors and closes them, as many as it is told, and reports what that took.
func beReceiver() error {
	s, err := theSetup()
	if err != nil {
		return err
	}
	p, err := inherited(3, s.config(s.Direction))
	if err != nil {
		return err
	}
	defer p.Close()
	orders, result := json.NewDecoder(os.Stdin), json.NewEncoder(os.Stdout)
	ds := make([]fastpass.Desc, 253*8) // what a system call brings at most
	numbers := make([]int, len(ds))
	for {
		var n int
		if err := orders.Decode(&n); err == io.EOF {
			return nil
		} else if err != nil {
			return err
		}
		stop, err := s.startProfile("receiver")
		if err != nil {
			return err
		}
		before := used(p)
		for n > 0 {
			k, err := p.RecvBatch(ds)
			if err != nil {
				return err
			}
			fds := numbers[:k]
			for i := range fds {
				fds[i] = ds[i].FD
			}
			fastpass.CloseFDs(fds)
			n -= k
		}
		if err := errors.Join(result.Encode(used(p).since(before)), stop()); err != nil {
			return err
		}
	}
}

// link is the sending end of a link to another process that receives.
type link struct {
	setup
	p    *fastpass.Passer
	peer *peer
	ds   []fastpass.Desc
	give bool
}

// newLink starts the receiver, and warms both processes up.
func newLink(tb testing.TB, s setup, give bool) *link {
	tb.Helper()
	lent.get(tb)
	p, file, err := fastpass.Pair(s.config(fastpass.SendOnly))
	if err != nil {
		tb.Fatal(err)
	}
	s.Direction = fastpass.RecvOnly
	other, err := startPeer("receive", s, file)
	file.Close()
	if err != nil {
		p.Close()
		tb.Fatal(err)
	}
	l := &link{s, p, other, make([]fastpass.Desc, s.atOnce(give)), give}
	for i := range l.ds {
		l.ds[i].Payload = make([]byte, s.Payload)
	}
	tb.Cleanup(func() {
		if err := errors.Join(l.p.Close(), l.peer.stop()); err != nil {
			tb.Error(err)
		}
	})
	const twiceRoundTheWindow = 2 * 16 << 10
	if _, err := l.pass(twiceRoundTheWindow); err != nil {
		tb.Fatal(err)
	}
	return l
}

// passing is what it took to pass some descriptors.
type passing struct {
	wall             time.Duration // from the first send until the receiver has closed the last
	copying          time.Duration // of it, what the sender took to make copies that it can give away
	sender, receiver usage
}

// pass passes n descriptors.
func (l *link) pass(n int) (passing, error) {
	stop, err := l.startProfile("sender")
	if err != nil {
		return passing{}, err
	}
	before := used(l.p)
	if err := l.peer.order(n); err != nil {
		return passing{}, errors.Join(err, stop())
	}
	start := time.Now()
	copying, err := l.send(n)
	if err != nil {
		return passing{}, errors.Join(err, stop())
	}
	receiver, err := l.peer.report()
	wall := time.Since(start)
	sender := used(l.p) // now that the window is empty
	return passing{wall, copying, sender.since(before), receiver}, errors.Join(err, stop())
}

func (l *link) send(n int) (copying time.Duration, err error) {
	for n > 0 {
		ds := l.ds[:min(n, len(l.ds))]
		if l.give && len(ds) > 1 { // one at a time the clock would cost as much as the copy
			start := time.Now()
			err = lent.load(ds, true)
			copying += time.Since(start)
		} else {
			err = lent.load(ds, l.give)
		}
		if err == nil {
			err = l.sendBatch(ds)
		}
		if err != nil {
			return copying, err
		}
		n -= len(ds)
	}
	return copying, nil
}

// sendBatch is SendBatch, or Send where that is all there is to do.
func (l *link) sendBatch(ds []fastpass.Desc) error {
	if len(ds) == 1 {
		return l.p.Send(ds[0])
	}
	_, err := l.p.SendBatch(ds)
	return err
}
