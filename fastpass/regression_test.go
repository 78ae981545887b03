//go:build linux

package fastpass

// Each of these tests is for a bug that a review found.

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"runtime"
	"slices"
	"strings"
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

// What Serve has handed over is the pool's, which gives it back once, and open.
func TestWhatServeHasHandedOverComesBackOnceAndOpen(t *testing.T) {
	noLeaks(t)
	pool, ln := newPool(t, nil), connListen(t, "tcp4")
	defer ln.Close()
	served := make(chan error, 1)
	go func() { served <- pool.Serve(ln) }()
	tcpClients(t, ln.Addr().String(), 1)
	until(t, "the connection waits", func() bool { return pool.Stats().Waiting == 1 })
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	pool.Shutdown(ctx)
	soon(t, "Serve ends", func() {
		if err := <-served; !errors.Is(err, net.ErrClosed) {
			t.Errorf("Serve: %v", err)
		}
	})
	ds := pool.Undelivered()
	if len(ds) != 1 || !isOpen(ds[0].FD) {
		t.Fatalf("undelivered: %v, want the one connection, open", ds)
	}
	CloseFDs(fdsOf(ds))
}

func TestAWorkerThatSendsToThePoolLeaksNothingWhenItLeaves(t *testing.T) {
	noLeaks(t)
	pool := newPool(t, nil)
	front, worker := pairOf(t, nil, nil)
	left := make(chan struct{})
	pool.cfg.OnLeave = func(*Passer, error, int) { close(left) }
	if err := pool.Add(front); err != nil {
		t.Fatal(err)
	}
	if _, err := worker.SendBatch(nulls(t, 200)); err != nil {
		t.Fatal(err)
	}
	until(t, "sent", func() bool { return front.in.queued.Load() == 200 })
	worker.Close()
	closeUndelivered(worker)
	wait(t, "left", left)
	pool.Shutdown(context.Background())
}

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

func TestARefusedDescriptorBehindOneInFlightIsReportedAtTheEnd(t *testing.T) {
	refused := 0
	p, f, err := Pair(&Config{OnRefused: func(Desc, error) { refused++ }})
	if err != nil {
		t.Fatal(err)
	}
	r := newRaw(t, f)
	defer r.close()
	r.hello()
	until(t, "open", p.out.established.Load)
	p.Send(nulls(t, 1)[0])
	bad := nulls(t, 1)[0]
	CloseFDs([]int{bad.FD})
	p.Push(bad)
	p.Flush()
	until(t, "refused", func() bool { return p.Stats().Refused == 1 })
	p.Close()
	ds := p.Undelivered()
	CloseFDs(fdsOf(ds))
	back := len(ds)
	if refused+back != 2 {
		t.Errorf("of 2 descriptors %d came back and OnRefused was called for %d", back, refused)
	}
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

func TestSendIntoAWindowThatPushHasFilled(t *testing.T) {
	for _, l := range everyLink {
		t.Run(l.String(), func(t *testing.T) {
			l.Window = 2
			p, q := link(t, l.config(), l.config())
			go func() {
				for {
					d, err := q.Recv()
					if err != nil {
						return
					}
					CloseFDs([]int{d.FD})
				}
			}()
			for _, d := range nulls(t, 2) {
				if err := p.Push(d); err != nil {
					t.Fatal(err)
				}
			}
			d := nulls(t, 1)[0]
			soon(t, "Send returns", func() {
				if err := p.Send(d); err != nil {
					CloseFDs([]int{d.FD})
					t.Error(err)
				}
			})
		})
	}
}

// Send blocks while the window is full, its documentation says, so one free slot is enough for one descriptor.
func TestSendGoesOnAsSoonAsItsDescriptorHasRoom(t *testing.T) {
	a, b := link(t, &Config{Window: 16, Direction: SendOnly}, &Config{Direction: RecvOnly})
	for range 16 {
		if err := a.TrySend(Desc{FD: null(t)}); err != nil {
			t.Fatal(err)
		}
	}
	last := null(t)
	sent := make(chan error, 1)
	go func() { sent <- a.Send(Desc{FD: last}) }()
	until(t, "Send waits", func() bool { return a.out.stats.sent.Load() == 16 })
	for range 100 { // it parks
		if err := a.TrySend(Desc{FD: last}); err != ErrFull {
			t.Fatal(err)
		}
	}
	d, err := b.Recv() // one slot is free
	if err != nil {
		t.Fatal(err)
	}
	CloseFDs([]int{d.FD})
	soon(t, "Send returns", func() {
		if err := <-sent; err != nil {
			t.Error(err)
		}
	})
}

// The number of a socket that somebody else closes may be that of another socket a moment later, which would get what is sent here.
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

// Senders and receivers make their system calls on a number that the link keeps open for them without counting them: it is closed when
// nobody can be at one any more, whoever ends the link, and when.
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

// The kernel says no more of a message than that something is wrong with it. What it was must not be looked for in what was refused before, and lies
// behind the message in the window.
func TestWhatTheKernelRefusesIsToldFromWhatWasRefusedBefore(t *testing.T) {
	const notOpen = 15_000
	for _, l := range everyLink {
		for _, ds := range [][]int{{notOpen, -1}, {notOpen, -1, -2, -3}, {-1, notOpen, -2}, {0, notOpen, -1, 0}, {notOpen, -1, notOpen + 1, -2}} {
			t.Run(fmt.Sprint(l, " ", ds), func(t *testing.T) {
				noLeaks(t)
				var refused, bad []int
				cfg := l.config()
				cfg.OnRefused = func(d Desc, _ error) { refused = append(refused, d.FD) }
				p, q := link(t, cfg, l.config())
				batch := nulls(t, len(ds)+1)
				last := batch[len(ds)]
				for i, fd := range ds {
					if fd != 0 {
						unix.Close(batch[i].FD)
						batch[i].FD = fd
						bad = append(bad, fd)
					}
				}
				for rest := batch[:len(ds)]; len(rest) > 0; {
					n, err := p.SendBatch(rest)
					if rest = rest[n:]; err != nil && len(rest) > 0 { // a Bare link says so at once
						refused = append(refused, rest[0].FD)
						rest = rest[1:]
					}
				}
				if err := p.Send(last); err != nil {
					t.Error(err)
				}
				soon(t, "the good ones arrive", func() {
					got, err := recvN(q, len(ds)-len(bad)+1, 50)
					if err != nil {
						t.Error(err)
					}
					CloseFDs(fdsOf(got))
				})
				if err := p.Shutdown(t.Context()); err != nil {
					t.Error(err)
				}
				slices.Sort(refused)
				slices.Sort(bad)
				if !slices.Equal(refused, bad) {
					t.Errorf("refused %v, want %v", refused, bad)
				}
				if ds := p.Undelivered(); len(ds) > 0 {
					t.Errorf("undelivered, though everything was: %v", ds)
				}
			})
		}
	}
}

// A policy is asked for what waits in the backlog as well, by the pool's own goroutine: nobody may wait for ever because of what it says there.
func TestAPolicyThatPicksNobodyEndsThePoolWhoeverAsks(t *testing.T) {
	noLeaks(t)
	pool := newPool(t, &PoolConfig{Backlog: 2, Policy: PolicyFunc(func(*Desc, uint64, []Worker) int { return 7 })})
	ds := taggedPipes(t, 0, 4)
	if n, err := pool.Dispatch(ds[:2]); n != 2 || err != nil { // nobody is there: they wait
		t.Fatalf("%d, %v", n, err)
	}
	waiting := make(chan error, 1)
	go func() {
		_, err := pool.Dispatch(ds[2:])
		waiting <- err
	}()
	time.Sleep(20 * time.Millisecond) // it waits for a place: or else it finds the same later
	newWorker(t, pool, nil)
	check := func(how string, err error) {
		t.Helper()
		if err == nil || !strings.Contains(err.Error(), "picked worker 7 of 1") {
			t.Errorf("%s: %v", how, err)
		}
	}
	soon(t, "the caller who waits hears of it", func() { check("who waited", <-waiting) })
	_, err := pool.Dispatch(ds[2:])
	check("who comes later", err)
	soon(t, "the pool ends", func() { check("Shutdown", pool.Shutdown(t.Context())) })
	if got := fdsOf(pool.Undelivered()); !slices.Equal(got, fdsOf(ds[:2])) {
		t.Errorf("undelivered %v, want %v", got, fdsOf(ds[:2]))
	}
	CloseFDs(fdsOf(ds))
}

func TestServeEndsWithItsListenerAlsoWhileItWaitsForAPlace(t *testing.T) {
	noLeaks(t)
	pool := newPool(t, &PoolConfig{Backlog: 1})
	ln := connListen(t, "tcp4")
	served := make(chan error, 1)
	go func() { served <- pool.Serve(ln) }()
	clients := tcpClients(t, ln.Addr().String(), 3)
	until(t, "the others wait for a place", func() bool { return pool.Stats().Waiting == 1 })
	time.Sleep(20 * time.Millisecond)
	ln.Close()
	soon(t, "Serve ends", func() {
		if err := <-served; !errors.Is(err, net.ErrClosed) {
			t.Error(err)
		}
	})
	if c, err := net.Dial("tcp", ln.Addr().String()); err == nil {
		c.Close()
		t.Error("somebody still listens")
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	pool.Shutdown(ctx)
	if ds := pool.Undelivered(); len(ds) == 0 || len(ds) > len(clients) {
		t.Errorf("%d of %d connections are undelivered", len(ds), len(clients))
	} else {
		CloseFDs(fdsOf(ds))
	}
}

// spaciousKernel has as much room as it is told.
type spaciousKernel struct {
	sys.Kernel
	free atomic.Int32
}

func (k *spaciousKernel) FreeSlots(int, int) int { return int(k.free.Load()) }

// A worker that has no room says so again and again, and takes the rest when it has some: it has not stalled.
func TestAWorkerWithAFullTableHasNotStalled(t *testing.T) {
	noLeaks(t)
	pool, there, worker, k := poolWithTightWorker(t)
	dispatch(t, pool, taggedPipes(t, 0, 20))
	k.free.Store(0)
	got := recvTags(t, worker, 1)
	rest := make(chan []uint64)
	go func() { rest <- recvTags(t, worker, 19) }() // it would take them
	for range 3 {
		before := there.out.page.Pulses()
		until(t, "the worker says that it has no room", func() bool { return there.out.page.Pulses() > before })
		for range checksPerStall {
			pool.checkStalled()
		}
	}
	if err := there.Err(); err != nil {
		t.Fatalf("the link has ended: %v", err)
	}
	k.free.Store(1000)
	soon(t, "the rest arrives", func() { got = append(got, <-rest...) })
	for i, tag := range got {
		if tag != uint64(i) {
			t.Errorf("tag %d at %d", tag, i)
		}
	}
}

// One that takes nothing has, whether it has room or not: what it waits for is not room.
func TestAWorkerThatTakesNothingHasStalledThoughItsTableIsFull(t *testing.T) {
	noLeaks(t)
	pool, there, worker, k := poolWithTightWorker(t)
	dispatch(t, pool, taggedPipes(t, 0, 20))
	k.free.Store(0)
	recvTags(t, worker, 1)
	until(t, "the link is ended", func() bool {
		time.Sleep(2 * shortage.most) // the worker looks for room meanwhile
		pool.checkStalled()
		return there.Err() != nil
	})
	if err := there.Err(); !errors.Is(err, ErrStalled) {
		t.Error(err)
	}
}

// poolWithTightWorker returns a pool with one worker that has room for 4 descriptors, as far as k says, and its link.
func poolWithTightWorker(t *testing.T) (pool *Pool, there, worker *Passer, k *spaciousKernel) {
	t.Helper()
	pool = newPool(t, &PoolConfig{StallTimeout: time.Hour}) // the test looks
	k = &spaciousKernel{Kernel: sys.System}
	k.free.Store(4)
	f, g := socketpair(t, "unixpacket")
	there = passerOf(t, f, &Config{Network: "unixpacket"})
	worker = onKernel(t, k, g, &Config{Network: "unixpacket"})
	if err := pool.Add(there); err != nil {
		t.Fatal(err)
	}
	until(t, "the worker is ready", func() bool { return pool.Stats().Ready == 1 })
	if there.out.page == nil {
		t.Skip("there is no shared memory for acknowledgements")
	}
	return pool, there, worker, k
}

// Of a payload that a stream socket has taken in part the rest goes before the end, from a link and from a pool.
func TestShutdownSendsTheRestOfAPayload(t *testing.T) {
	for _, of := range []string{"a link", "a pool"} {
		t.Run(of, func(t *testing.T) {
			noLeaks(t)
			const size = 64 << 10
			p, r := rawLink(t, linkConfig{Protocol: Bare, Network: "unix", MaxPayload: size})
			send := func() { p.TrySend(Desc{FD: 0, Keep: true, Payload: make([]byte, size)}) }
			shutdown, closing := p.Shutdown, &p.out.closing
			if of == "a pool" {
				pool := newPool(t, &PoolConfig{MaxPayload: size})
				if err := pool.Add(p); err != nil {
					t.Fatal(err)
				}
				send = func() { pool.Dispatch([]Desc{{FD: 0, Keep: true, Payload: make([]byte, size)}}) }
				shutdown, closing = pool.Shutdown, &pool.closed
			}
			want := 0
			for !p.out.blocked.Load() {
				send()
				want += size
			}
			down := make(chan error, 1)
			go func() { down <- shutdown(t.Context()) }()
			until(t, "it is shutting down", closing.Load)
			got := 0
			soon(t, "the end comes", func() {
				for {
					b, err := r.recv()
					if err == unix.EAGAIN {
						time.Sleep(time.Millisecond)
						continue
					}
					if err != nil || len(b) == 0 {
						break
					}
					got += len(b)
				}
			})
			if err := <-down; err != nil {
				t.Error(err)
			}
			if got != want {
				t.Errorf("%d of %d bytes have come", got, want)
			}
		})
	}
}

// shortOfMemory is a kernel that has no memory for messages.
type shortOfMemory struct{ sys.Kernel }

func (shortOfMemory) Send(int, *sys.Vector, int) (int, syscall.Errno) { return 0, syscall.ETOOMANYREFS }

// A worker to which nothing can be sent has not stalled.
func TestAWorkerDoesNotStallForAShortageHere(t *testing.T) {
	noLeaks(t)
	a, b := socketpair(t, "unixpacket")
	defer b.Close()
	there := onKernel(t, shortOfMemory{sys.System}, a, &Config{Protocol: Bare, Network: "unixpacket"})
	pool := newPool(t, &PoolConfig{StallTimeout: time.Hour}) // the test looks
	if err := pool.Add(there); err != nil {
		t.Fatal(err)
	}
	if _, err := pool.Dispatch([]Desc{{FD: 0, Keep: true}}); err != nil {
		t.Fatal(err)
	}
	for range 3 {
		before := there.Stats().Shortages
		until(t, "it is tried again", func() bool { return there.Stats().Shortages > before })
		for range checksPerStall {
			pool.checkStalled()
		}
	}
	if err := there.Err(); err != nil {
		t.Errorf("the link has ended: %v", err)
	}
}

// A Bare link whose peer takes nothing any more, and lives, holds the peer back until the application takes what is queued. Close ends that, and the
// peer's end does.
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
			d, err := p.Recv()
			if err != nil {
				t.Fatal(err)
			}
			CloseFDs([]int{d.FD})
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

// A Framed peer that lives sends no message without a frame.
func TestAnEmptyMessageBreaksTheProtocol(t *testing.T) {
	noLeaks(t)
	p, r := rawLink(t, linkConfig{Network: "unixpacket", Direction: RecvOnly})
	r.hello()
	r.send(nil, 0)
	if _, err := p.Recv(); !errors.Is(err, ErrProtocol) {
		t.Errorf("Recv: %v", err)
	}
}

// linkWithHalfAPayload returns a Bare link whose socket has taken a payload in part and takes no more, and its other end.
func linkWithHalfAPayload(t *testing.T) (*Passer, *raw) {
	t.Helper()
	const size = 64 << 10
	p, r := rawLink(t, linkConfig{Protocol: Bare, Network: "unix", MaxPayload: size})
	for !p.tail.waiting() {
		p.TrySend(Desc{FD: 0, Keep: true, Payload: make([]byte, size)})
	}
	until(t, "the link is blocked", p.out.blocked.Load)
	return p, r
}

// takeRole takes the flusher's role, as sendDirectly does, and has the other end read until the socket takes more: unblock comes too late then.
func takeRole(t *testing.T, p *Passer, r *raw) {
	t.Helper()
	if !p.out.work.CompareAndSwap(0, 1) {
		t.Fatal("somebody has the role")
	}
	for p.out.blocked.Load() {
		r.recv()
	}
}

// A Send that began before Shutdown may be what sends the rest of a payload.
func TestShutdownLearnsOfARestThatASendSends(t *testing.T) {
	noLeaks(t)
	p, r := linkWithHalfAPayload(t)
	down := make(chan error, 1)
	go func() { down <- p.Shutdown(t.Context()) }()
	until(t, "Shutdown waits", p.out.closing.Load)
	time.Sleep(10 * time.Millisecond)
	takeRole(t, p, r)
	p.out.sendPlain([]Desc{{FD: 0, Keep: true}})
	p.out.leave()
	soon(t, "Shutdown returns", func() { <-down })
}

// Shutdown does not wait longer than it may for a Serve that cannot be woken, and what that accepts at last is not lost.
func TestShutdownDoesNotWaitForServeForEver(t *testing.T) {
	noLeaks(t)
	pool := newPool(t, nil)
	pool.serving.Add(1) // one that waits in accept, since somebody else has taken the connection that it saw
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	soon(t, "Shutdown returns", func() {
		if err := pool.Shutdown(ctx); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("Shutdown: %v", err)
		}
	})
	a := acceptor{pool: pool, done: make(chan struct{})}
	if err := a.dispatch([]Desc{{FD: 0, Keep: true}}); !errors.Is(err, net.ErrClosed) {
		t.Errorf("dispatch: %v", err)
	}
	pool.serving.Done()
	if ds := pool.Undelivered(); len(ds) != 1 {
		t.Errorf("undelivered: %v", ds)
	}
}

// A Serve that is not stuck hands over what it has accepted before Shutdown returns, also if that may not wait at all.
func TestShutdownHasAllThatServeHasAccepted(t *testing.T) {
	noLeaks(t)
	pool := newPool(t, nil)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	pool.serving.Add(1)
	go func() {
		defer pool.serving.Done()
		<-pool.closing
		time.Sleep(10 * time.Millisecond)
		a := acceptor{pool: pool, done: make(chan struct{})}
		a.dispatch([]Desc{{FD: 0, Keep: true}})
	}()
	soon(t, "Shutdown returns", func() { pool.Shutdown(ctx) })
	if ds := pool.Undelivered(); len(ds) != 1 {
		t.Errorf("undelivered: %v", ds)
	}
}

// What is known of a descriptor in a slice is not taken for known of the next one in its place.
func TestHashAsksAgainForAnotherDescriptorInTheSamePlace(t *testing.T) {
	noLeaks(t)
	var known []uint16
	policy := PolicyFunc(func(d *Desc, number uint64, workers []Worker) int {
		known = append(known, d.client)
		return Hash.Pick(d, number, workers)
	})
	pool := newPool(t, &PoolConfig{Policy: policy})
	newWorker(t, pool, nil)
	until(t, "the worker is ready", func() bool { return pool.Stats().Ready == 1 })
	ds := []Desc{{FD: 0, Keep: true}}
	for range 2 {
		dispatch(t, pool, ds)
	}
	if len(known) != 2 || known[1] != 0 {
		t.Errorf("known were %v", known)
	}
}

// Who waits until a payload has gone is told by who sends its rest, and the reader tells nobody.
func TestTheReaderLeavesTheRestOfAPayloadToTheFlusher(t *testing.T) {
	noLeaks(t)
	p, r := linkWithHalfAPayload(t)
	takeRole(t, p, r)
	p.in.mu.Lock()
	p.in.offer()
	p.in.mu.Unlock()
	if !p.tail.waiting() {
		t.Error("the reader has sent it")
	}
	p.out.leave()
}
