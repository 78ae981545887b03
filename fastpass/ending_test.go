//go:build linux

package fastpass

import (
	"errors"
	"net"
	"os"
	"runtime"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"example.com/fdpass/cmsgpool"
	"example.com/fdpass/internal/sys"
	"example.com/fdpass/internal/wire"

	"golang.org/x/sys/unix"
)

func TestAPeerThatOnlySendsReleasesWhoWaitsForIt(t *testing.T) {
	p, f, err := Pair(&Config{Window: 2})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { p.Close(); closeUndelivered(p) }()
	sent := make(chan error, 1)
	go func() {
		ds := nulls(t, 3)
		n, err := p.SendBatch(ds)
		CloseFDs(fdsOf(ds[n:]))
		sent <- err
	}()
	until(t, "full", func() bool { return p.out.window.Len() == 2 })
	time.Sleep(20 * time.Millisecond)
	q := passerOf(t, f, &Config{Direction: SendOnly})
	defer q.Close()
	until(t, "HELLO is heard", p.peerSendOnly.Load)
	soon(t, "SendBatch waits no longer for room that cannot come", func() {
		if err := <-sent; !errors.Is(err, errPeerSendOnly) {
			t.Errorf("SendBatch: %v, want %v", err, errPeerSendOnly)
		}
	})
	soon(t, "Shutdown waits no longer", func() {
		if err := p.Shutdown(t.Context()); !errors.Is(err, errPeerSendOnly) {
			t.Errorf("Shutdown: %v, want %v", err, errPeerSendOnly)
		}
	})
}

func TestWhatABarePeerSentBeforeItsEndArrivesAfterAFailedSend(t *testing.T) {
	for _, network := range []string{"unix", "unixpacket"} {
		t.Run(network, func(t *testing.T) {
			noLeaks(t)
			p, f, err := Pair(&Config{Protocol: Bare, Network: network})
			if err != nil {
				t.Fatal(err)
			}
			r := newRaw(t, f)
			const n = 3000
			for range n / 100 {
				r.send([]byte{0}, 100)
			}
			r.close()
			until(t, "the pump pauses", func() bool { return p.in.queued.Load() >= unaskedCredit })
			d := nulls(t, 1)[0]
			if err := p.Send(d); err != nil {
				CloseFDs([]int{d.FD})
			}
			got := 0
			ds := make([]Desc, 64)
			soon(t, "the end comes", func() {
				for {
					k, err := p.RecvBatch(ds)
					CloseFDs(fdsOf(ds[:k]))
					got += k
					if err != nil {
						if !errors.Is(err, ErrPeerGone) {
							t.Errorf("RecvBatch: %v, want %v", err, ErrPeerGone)
						}
						break
					}
				}
			})
			if got != n {
				t.Errorf("%d of %d descriptors arrived", got, n)
			}
			p.Close()
			closeUndelivered(p)
		})
	}
}

func TestAnEndBetweenPumpAndDirect(t *testing.T) {
	for i := range 400 {
		p, f, err := Pair(nil)
		if err != nil {
			t.Fatal(err)
		}
		r := newRaw(t, f)
		stop := make(chan struct{})
		for range 2 {
			go func() {
				for {
					select {
					case <-stop:
						return
					default:
					}
					if _, err := p.Recv(); err != nil && !errors.Is(err, os.ErrDeadlineExceeded) {
						return
					}
				}
			}()
		}
		hello := helloFrame(nil, func(h *wire.Hello) { h.Receives = false })
		unix.Sendmsg(r.fd, hello, nil, nil, unix.MSG_NOSIGNAL)
		unix.Sendmsg(r.fd, ackFrame(77, 5), nil, nil, unix.MSG_NOSIGNAL)
		p.SetReadDeadline(time.Now().Add(time.Duration(i%40) * time.Microsecond))
		p.SetReadDeadline(time.Time{})
		wait(t, "the link ends", p.Done())
		close(stop)
		p.Close()
		r.close()
	}
}

// The number of a socket that somebody else closes may be that of another socket a moment later, which would get what
// is sent here.
func TestWhoStillHasTheConnectionCannotCloseTheLink(t *testing.T) {
	for _, l := range everyLink {
		t.Run(l.String(), func(t *testing.T) {
			noLeaks(t)
			a, b := socketpair(t, l.Network)
			link := func(f *os.File, d Direction) *Passer {
				c, err := fileConn(f)
				if err != nil {
					t.Fatal(err)
				}
				cfg := l.config()
				cfg.Direction = d
				p, err := New(c, cfg)
				if err != nil {
					t.Fatal(err)
				}
				closeAfter(t, p)
				if err := c.Close(); !errors.Is(err, net.ErrClosed) {
					t.Errorf("Close of the connection: %v", err)
				}
				return p
			}
			sender, receiver := link(a, Both), link(b, RecvOnly)
			for i := range 100 {
				if err := sender.Send(Desc{FD: null(t)}); err != nil {
					t.Fatalf("Send, number %d: %v", i, err)
				}
				d, err := receiver.Recv()
				if err != nil {
					t.Fatalf("Recv, number %d: %v", i, err)
				}
				CloseFDs([]int{d.FD})
			}
		})
	}
}

// slowFence is a kernel on which a link takes long to be fenced, as when the thread loses the processor there.
type slowFence struct {
	sys.Kernel
	fencing chan struct{}
	once    sync.Once
}

func (s *slowFence) ShutdownRead(fd int) {
	s.once.Do(func() {
		close(s.fencing)
		time.Sleep(100 * time.Millisecond)
	})
	s.Kernel.ShutdownRead(fd)
}

// Who reads that the peer has ended uses the socket while it waits for it, and may be the last one to do so.
func TestCloseWhileRecvLearnsOfTheEnd(t *testing.T) {
	for _, l := range framedLinks {
		t.Run(l.String(), func(t *testing.T) {
			noLeaks(t)
			a, b := socketpair(t, l.Network)
			k := &slowFence{Kernel: sys.System, fencing: make(chan struct{})}
			cfg := l.config()
			peer := onKernel(t, sys.System, b, cfg)
			only := *cfg
			only.Direction = RecvOnly
			p := onKernel(t, k, a, &only)
			received := make(chan struct{})
			go func() {
				defer close(received)
				if _, err := p.Recv(); err == nil {
					t.Error("Recv returns a descriptor that nobody has sent")
				}
			}()
			until(t, "Recv holds what it waits with", func() bool {
				if p.in.mu.TryLock() {
					p.in.mu.Unlock()
					return false
				}
				return true
			})
			time.Sleep(10 * time.Millisecond)
			go peer.Close()
			wait(t, "Recv learns of it", k.fencing)
			soon(t, "Close returns", func() { p.Close() })
			wait(t, "Recv returns", received)
		})
	}
}

// sameSocket is a kernel that sees whether the number that it is given is still that of the link's socket.
type sameSocket struct {
	sys.Kernel
	t     *testing.T
	inode uint64
}

func inodeOf(fd int) uint64 {
	var st unix.Stat_t
	if unix.Fstat(fd, &st) != nil {
		return 0
	}
	return uint64(st.Ino)
}

func (k *sameSocket) check(fd int, what string) {
	if inodeOf(fd) != k.inode {
		k.t.Errorf("%s: descriptor %d is not the socket any more", what, fd)
	}
}

func (k *sameSocket) Send(fd int, v *sys.Vector, n int) (int, syscall.Errno) {
	defer k.check(fd, "after Send")
	runtime.Gosched()
	k.check(fd, "before Send")
	return k.Kernel.Send(fd, v, n)
}

func (k *sameSocket) Recv(fd int, v *sys.Vector, n, flags int) (int, syscall.Errno) {
	defer k.check(fd, "after Recv")
	runtime.Gosched()
	k.check(fd, "before Recv")
	return k.Kernel.Recv(fd, v, n, flags)
}

// Senders and receivers make their system calls on a number that the link keeps open for them without counting them: it
// is closed when nobody can be at one any more, whoever ends the link, and when.
func TestNobodyUsesTheSocketOnceItIsClosed(t *testing.T) {
	fd := null(t)
	defer unix.Close(fd)
	stop := make(chan struct{})
	var others sync.WaitGroup
	others.Go(func() { // numbers that become free are taken at once
		for {
			select {
			case <-stop:
				return
			default:
				if dup, err := unix.FcntlInt(uintptr(fd), unix.F_DUPFD_CLOEXEC, 0); err == nil {
					runtime.Gosched()
					unix.Close(dup)
				}
			}
		}
	})
	defer others.Wait()
	defer close(stop)
	for _, l := range everyLink {
		for _, dirs := range [][2]Direction{{Both, Both}, {SendOnly, RecvOnly}, {RecvOnly, SendOnly}, {RecvOnly, Both}} {
			for round := range scaled(40) {
				var ends [2]*Passer
				a, b := socketpair(t, l.Network)
				for i, f := range []*os.File{a, b} {
					l := l
					l.Direction, l.Spin = dirs[i], time.Duration(round%2)*50*time.Microsecond
					p, err := passerOn(&sameSocket{sys.System, t, inodeOf(int(f.Fd()))}, f, l.config())
					if err != nil {
						t.Fatal(err)
					}
					ends[i] = p
				}
				var users sync.WaitGroup
				for _, p := range ends {
					if p.cfg.sends() {
						users.Go(func() {
							for p.Send(Desc{FD: fd, Keep: true}) == nil {
							}
						})
					}
					if p.cfg.receives() {
						users.Go(func() {
							for {
								d, err := p.Recv()
								if err != nil {
									return
								}
								unix.Close(d.FD)
							}
						})
					}
				}
				time.Sleep(time.Duration(round*5) * time.Microsecond)
				soon(t, "the link ends", func() {
					ends[round%2].Close()
					ends[1-round%2].Close()
					users.Wait()
				})
			}
		}
	}
}

// A Bare link whose peer takes nothing any more, and lives, holds the peer back until the application takes what is
// queued. Close ends that, and the peer's end does.
func TestALinkThatHoldsItsPeerBackEnds(t *testing.T) {
	for _, how := range []string{"Close", "the peer's end"} {
		t.Run(how, func(t *testing.T) {
			noLeaks(t)
			p, r := rawLink(t, linkConfig{Protocol: Bare, Network: "unixpacket"})
			unix.Shutdown(r.fd, unix.SHUT_RD)
			for range unaskedCredit/cmsgpool.MaxFDs + 2 {
				r.send([]byte("x"), cmsgpool.MaxFDs)
			}
			until(t, "much is queued", func() bool { return p.in.queued.Load() >= unaskedCredit })
			takeOne(t, p)
			for p.Send(Desc{FD: 0, Keep: true}) == nil {
			}
			time.Sleep(2 * dying) // the pump waits
			if how == "Close" {
				soon(t, "Close returns", func() { p.Close() })
			} else {
				r.close()
				soon(t, "the link ends", func() { <-p.Done() })
			}
		})
	}
}

// blindKernel finds nothing in the socket for a while, though there is something.
type blindKernel struct {
	sys.Kernel
	nothing atomic.Int32 // times
}

func (k *blindKernel) Recv(fd int, v *sys.Vector, n, flags int) (int, syscall.Errno) {
	if k.nothing.Add(-1) >= 0 {
		return 0, syscall.EAGAIN
	}
	return k.Kernel.Recv(fd, v, n, flags)
}

// What a Bare peer sends while the link ends, since it takes nothing itself, is received.
func TestWhatComesWhileThePeerIsGivenUpIsReceived(t *testing.T) {
	noLeaks(t)
	k := &blindKernel{Kernel: sys.System}
	a, b := socketpair(t, "unixpacket")
	p, r := onKernel(t, k, a, &Config{Protocol: Bare, Network: "unixpacket"}), newRaw(t, b)
	defer r.close()
	until(t, "the pump waits", func() bool { return p.Stats().RecvCalls > 0 })
	k.nothing.Store(2) // when the message comes, and when the link has just ended
	r.send([]byte("x"), 1)
	until(t, "the pump has found nothing", func() bool { return k.nothing.Load() == 1 })
	unix.Shutdown(r.fd, unix.SHUT_RD)
	for p.Send(Desc{FD: 0, Keep: true}) == nil {
	}
	soon(t, "the message is received", func() {
		d, err := p.Recv()
		if err != nil {
			t.Error(err)
			return
		}
		CloseFDs([]int{d.FD})
	})
}

func TestAFramedPeerThatShutsDownItsReadingEndsTheLink(t *testing.T) {
	for _, network := range []string{"unixpacket", "unix"} {
		t.Run(network, func(t *testing.T) {
			p, r := rawLink(t, linkConfig{Network: network, Direction: SendOnly})
			r.hello()
			until(t, "HELLO", p.out.established.Load)
			fd := null(t)
			defer unix.Close(fd)
			if err := p.Send(Desc{FD: fd}); err != nil {
				t.Fatal(err)
			}
			unix.Shutdown(r.fd, unix.SHUT_RD)
			if err := p.Send(Desc{FD: 0, Keep: true}); err != nil {
				t.Fatal(err)
			}
			wait(t, "the link ends", p.Done())
			if err := p.Err(); !errors.Is(err, ErrPeerGone) {
				t.Error(err)
			}
			if ds := p.Undelivered(); len(ds) != 2 || !ds[0].Shared || ds[1].FD != 0 {
				t.Errorf("undelivered: %v; the peer has a copy of the first", ds)
			}
		})
	}
}

// The peer acknowledges, and is gone, before the flusher has read that.
func TestShutdownOfWhatIsDeliveredIsNoFailureThoughThePeerIsGone(t *testing.T) {
	p, q := link(t, nil, nil)
	until(t, "HELLO", p.out.established.Load)
	if err := p.Send(Desc{FD: 0, Keep: true}); err != nil {
		t.Fatal(err)
	}
	p.out.work.Add(1) // this one has the flusher's role
	takeOne(t, q)
	q.Close()
	until(t, "the end is seen", func() bool { return p.ending.Load() != nil })
	shut := make(chan error, 1)
	go func() { shut <- p.Shutdown(t.Context()) }()
	until(t, "Shutdown is at work", p.closed.Load)
	p.out.leave()
	if err := <-shut; err != nil {
		t.Error(err)
	}
	if ds := p.Undelivered(); len(ds) > 0 {
		t.Errorf("undelivered: %v", ds)
	}
}
