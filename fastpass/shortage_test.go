//go:build linux

package fastpass

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
	"syscall"
	"testing"
	"time"

	"example.com/fdpass/internal/sys"

	"golang.org/x/sys/unix"
)

// What only the kernel itself can do: too much in flight, calls that do a part, errors that come a call late.

func init() {
	dialRole("hold descriptors in flight", func(s dialSpec) {
		fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_SEQPACKET|unix.SOCK_CLOEXEC, 0)
		must(err)
		batch := make([]int, 100) // descriptor 0 a hundred times
		for range s.N / len(batch) {
			must(unix.Sendmsg(fds[0], []byte{0}, unix.UnixRights(batch...), nil, 0))
		}
		say("held")
		hear()
		CloseFDs(fds[:])
	})

	roles["send with a small limit"] = func() { // Path is the file of the numbered descriptors
		var s dialSpec
		childArg(&s)
		numbers, ds := numbered{s.Path}, []Desc(nil)
		for i := range s.N { // while it may still open the file
			ds = append(ds, Desc{FD: openNumbered(numbers, i), Tag: uint64(i)})
		}
		s.become()
		must(limitTo(0, 64))
		p := childLink(s.Link.config(), "")
		say("ready")
		hear()
		n, err := p.SendBatch(ds)
		must(err)
		require(n == s.N, "%d of %d taken", n, s.N)
		for end := time.Now().Add(patience); p.Stats().Shortages < 3; time.Sleep(time.Millisecond) {
			require(time.Now().Before(end), "no shortage: %+v", p.Stats())
		}
		say("%d sent", p.Stats().Sent)
		must(p.Shutdown(context.Background()))
	}
}

// The limit is on the flight of all processes of one user together. Root has none.
func TestTooManyDescriptorsInFlightAreWaitedFor(t *testing.T) {
	needRoot(t)
	const user, n = 54_321, 40
	numbers := newNumbered(t)
	for _, l := range everyLink {
		for _, dir := range []Direction{Both, SendOnly} {
			l.Window, l.Direction = 64, dir
			t.Run(l.String(), func(t *testing.T) {
				noLeaks(t)
				here := l
				here.Direction = RecvOnly
				p, f, err := Pair(here.config())
				if err != nil {
					t.Fatal(err)
				}
				closeAfter(t, p)
				sender := startChild(t, "send with a small limit", f, dialSpec{Link: l, User: user, N: n, Path: numbers.path})
				sender.expect("ready")
				holder := startChild(t, "hold descriptors in flight", nil, dialSpec{User: user, N: 100})
				holder.expect("held")
				got := make(chan []Desc)
				go func() {
					ds, err := recvN(p, n, 10) // from here on HELLO and credit are heard
					if err != nil {
						t.Error(err)
					}
					got <- ds
				}()
				sender.say("go")
				sender.expect("0 sent")
				holder.say("let go")
				holder.succeed()
				var ds []Desc
				soon(t, "all arrive", func() { ds = <-got })
				l.tag(ds)
				expectNumbers(t, ds, 0, n)
				soon(t, "the end comes", func() {
					if _, err := p.Recv(); err != io.EOF {
						t.Errorf("Recv: %v, want io.EOF", err)
					}
				})
				sender.succeed()
			})
		}
	}
}

// partialKernel counts the calls that did only a part.
type partialKernel struct {
	sys.Kernel
	messages, bytes int // calls that sent fewer messages, and a part of the last one
}

func (k *partialKernel) Send(fd int, v *sys.Vector, n int) (int, syscall.Errno) {
	took, errno := k.Kernel.Send(fd, v, n)
	if errno == 0 && took < n {
		k.messages++
	}
	if errno == 0 && took > 0 {
		if data, _ := v.Message(took - 1); v.Bytes(took-1) < len(data) {
			k.bytes++
		}
	}
	return took, errno
}

func TestASystemCallThatSendsAPartIsGoneOnWith(t *testing.T) {
	numbers := newNumbered(t)
	for _, l := range everyLink {
		for _, payload := range []int{0, 12_000} {
			l.Batch, l.Messages, l.MaxPayload = 3, 16, 16_000
			for _, dir := range []Direction{Both, RecvOnly} {
				there := l
				there.Direction = dir
				t.Run(fmt.Sprintf("%v, payloads of %d bytes", there, payload), func(t *testing.T) {
					noLeaks(t)
					f, g := socketpair(t, l.Network)
					raw, err := f.SyscallConn()
					if err != nil {
						t.Fatal(err)
					}
					raw.Control(func(fd uintptr) { unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_SNDBUF, 10_000) })
					k := &partialKernel{Kernel: sys.System}
					p := onKernel(t, k, f, l.config())
					q := passerOf(t, g, there.config())
					closeAfter(t, q)
					const n = 1500
					ds := numbers.descs(t, 0, n)
					for i := range ds {
						if i%7 == 0 {
							ds[i].Payload = make([]byte, payload)
						}
					}
					sent := make(chan error, 1)
					go func() {
						_, err := p.SendBatch(ds)
						sent <- errors.Join(err, p.Shutdown(context.Background()))
					}()
					if dir == RecvOnly { // nobody reads yet
						until(t, "the socket is full", func() bool { return p.Stats().Full > 0 })
					}
					soon(t, "all arrive", func() {
						got, err := recvAll(q)
						if err != io.EOF {
							t.Errorf("Recv: %v, want io.EOF", err)
						}
						for i := range got {
							// In Bare a stream socket knows no end of a message: the rest of it may come with the next.
							want := len(ds[i%n].Payload)
							if whole := l.Protocol == Framed || l.Network != "unix"; whole && len(got[i].Payload) != want {
								t.Errorf("descriptor %d has a payload of %d bytes, want %d", i, len(got[i].Payload), want)
								break
							}
						}
						l.tag(got)
						expectNumbers(t, got, 0, n)
						if err := <-sent; err != nil {
							t.Error(err)
						}
					})
					if k.messages == 0 && dir == RecvOnly { // a pump may keep the socket from ever being full
						t.Error("no system call sent only some of its messages")
					}
					if k.bytes == 0 && l.Network == "unix" && payload > 0 && dir == RecvOnly {
						t.Error("no system call sent a part of a message")
					}
				})
			}
		}
	}
}

// recvAll receives until the end. Bytes without a descriptor, the rest of a message in Bare on a stream socket,
// it leaves out.
func recvAll(p *Passer) (all []Desc, err error) {
	for {
		d, err := p.Recv()
		if err != nil {
			return all, err
		}
		if d.FD >= 0 {
			all = append(all, d)
		}
	}
}

// lateKernel notes what calls that receive return, one after the other.
type lateKernel struct {
	sys.Kernel
	messages int  // that are still there
	cut      bool // the last call ended before it had to
	latched  bool // and the next returned the error
}

func (k *lateKernel) Recv(fd int, v *sys.Vector, n, flags int) (int, syscall.Errno) {
	got, errno := k.Kernel.Recv(fd, v, n, flags)
	k.latched = k.latched || k.cut && errno == syscall.ECONNRESET
	k.messages -= max(got, 0)
	k.cut = errno == 0 && got < n && k.messages > 0
	return got, errno
}

// A peer that dies with something unread, in the middle of a call that receives: the call returns what it has, the next
// one the error, and those after that the rest.
func TestAnErrorThatComesACallLateLosesNothing(t *testing.T) {
	if sys.Implementation != "sendmmsg/recvmmsg" {
		t.Skip("one message per system call has no middle")
	}
	noLeaks(t)
	const messages, each = 40, 20
	seen, tries := 0, 0
	for ; seen < 3 && tries < scaled(4000); tries++ {
		f, g := socketpair(t, "unixpacket")
		k := &lateKernel{Kernel: sys.System, messages: messages + 1}
		p := onKernel(t, k, f, &Config{Network: "unixpacket", Direction: RecvOnly, Messages: 64})
		r := newRaw(t, g)
		r.hello()
		rights := make([]int, each) // descriptor 0 again and again
		for i := range messages {
			if err := r.sendmsg(dataFrame(uint64(i*each), each, nil), unix.UnixRights(rights...)); err != nil {
				t.Fatal(err)
			}
		}
		var wg sync.WaitGroup
		start := make(chan struct{})
		wg.Go(func() {
			<-start
			for range tries % 200 {
				unix.Getpid()
			}
			r.close()
		})
		close(start)
		soon(t, "all arrive", func() {
			ds, err := recvN(p, messages*each, messages*each)
			if err != nil {
				t.Errorf("try %d: %v", tries, err)
			}
			for i, d := range ds {
				if d.Tag != uint64(i%each) {
					t.Errorf("try %d: tag %d at %d", tries, d.Tag, i)
					break
				}
			}
			CloseFDs(fdsOf(ds))
			wg.Wait()
			if _, err := p.Recv(); !errors.Is(err, ErrPeerGone) {
				t.Errorf("Recv: %v, want ErrPeerGone", err)
			}
		})
		p.Close()
		if k.latched {
			seen++
		}
		if t.Failed() {
			return
		}
	}
	if t.Logf("an error came late in %d of %d tries", seen, tries); seen == 0 {
		t.Skip("it never happened here")
	}
}
