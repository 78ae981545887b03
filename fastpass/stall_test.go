//go:build linux

package fastpass

import (
	"errors"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"example.com/fdpass/internal/sys"
)

// A socket is writable when three quarters of its buffer are free, and so the link of a worker that is slow sends
// nothing for long.
func TestASlowBareWorkerHasNotStalled(t *testing.T) {
	for _, network := range []string{"unix", "unixpacket"} {
		t.Run(network, func(t *testing.T) {
			noLeaks(t)
			p, r := rawLink(t, linkConfig{Protocol: Bare, Network: network})
			pool := newPool(t, &PoolConfig{StallTimeout: time.Hour}) // the test looks
			if err := pool.Add(p); err != nil {
				t.Fatal(err)
			}
			for !p.out.blocked.Load() {
				dispatch(t, pool, []Desc{{FD: 0, Keep: true}})
			}
			dispatch(t, pool, []Desc{{FD: 0, Keep: true}})
			for n := range 2 * checksPerStall {
				if _, err := r.recv(); err != nil {
					t.Fatal(err)
				}
				if pool.checkStalled(); p.Err() != nil {
					t.Fatalf("after %d messages that it took: %v", n+1, p.Err())
				}
			}
			for range 2 * checksPerStall {
				pool.checkStalled()
			}
			if err := p.Err(); !errors.Is(err, ErrStalled) {
				t.Errorf("a worker that takes nothing any more: %v", err)
			}
		})
	}
}

// A worker that has taken a payload in part, and nothing more, keeps Shutdown from ending no longer than StallTimeout.
func TestAWorkerThatTakesHalfAPayloadHasStalled(t *testing.T) {
	noLeaks(t)
	const size = 64 << 10
	p, _ := rawLink(t, linkConfig{Protocol: Bare, Network: "unix", MaxPayload: size})
	pool := newPool(t, &PoolConfig{MaxPayload: size, StallTimeout: 20 * time.Millisecond})
	if err := pool.Add(p); err != nil {
		t.Fatal(err)
	}
	for !p.tail.waiting() {
		dispatch(t, pool, []Desc{{FD: 0, Keep: true, Payload: make([]byte, size)}})
	}
	soon(t, "Shutdown returns", func() { pool.Shutdown(t.Context()) })
	if err := p.Err(); !errors.Is(err, ErrStalled) {
		t.Errorf("the link ended with %v", err)
	}
}

func init() { roles["front with a stuck worker and a shortage"] = stuckInShortage }

// stuckInShortage is a front without privileges, one of whose two workers takes nothing: soon as many descriptors are
// on their way to it as there may be at all.
func stuckInShortage() {
	var s dialSpec
	childArg(&s)
	s.become()
	must(limitTo(0, 600)) // where nobody can look first, the other one wants room for 253
	type leave struct {
		link *Passer
		err  error
	}
	left := make(chan leave, 2)
	pool, err := NewPool(&PoolConfig{StallTimeout: 200 * time.Millisecond, OnLeave: func(p *Passer, err error, _ int) { left <- leave{p, err} }})
	must(err)
	link := func() (there, worker *Passer) {
		there, f, err := Pair(s.Link.config())
		must(err)
		c, err := fileConn(f)
		must(err)
		cfg := s.Link.config()
		cfg.Direction = RecvOnly
		worker, err = New(c, cfg)
		must(err)
		must(pool.Add(there))
		return there, worker
	}
	stuck, idle := link()
	_, healthy := link()
	go func() {
		for ds := make([]Desc, 100); ; {
			n, err := healthy.RecvBatch(ds)
			if err != nil {
				return
			}
			CloseFDs(fdsOf(ds[:n]))
		}
	}()
	ds := make([]Desc, 20)
	for i := range ds {
		ds[i] = Desc{FD: 0, Keep: true}
	}
	stop := make(chan struct{})
	var dispatcher sync.WaitGroup
	dispatcher.Go(func() {
		for {
			select {
			case <-stop:
				return
			default:
				pool.SetDeadline(time.Now().Add(10 * time.Millisecond))
				pool.Dispatch(ds)
			}
		}
	})
	l := <-left
	require(l.link == stuck && errors.Is(l.err, ErrStalled), "left: the stuck one %t, %v", l.link == stuck, l.err)
	close(stop)
	dispatcher.Wait() // ds is its own until then
	idle.Close()      // as who starts another worker ends that one: what is on its way to it is so until then
	before := healthy.Stats().Received
	for healthy.Stats().Received < before+1000 {
		pool.SetDeadline(time.Now().Add(10 * time.Millisecond))
		pool.Dispatch(ds)
	}
	require(len(left) == 0, "the healthy one left, too")
}

// Who is short of descriptors on their way is so for what one worker has not taken. The shortage excuses the others,
// and not that one.
func TestAWorkerThatCausesAShortageHasStalled(t *testing.T) {
	needRoot(t)
	for _, l := range []linkConfig{{Protocol: Bare, Network: "unixpacket", Direction: SendOnly}, {Protocol: Framed, Network: "unixpacket", Direction: SendOnly}} {
		t.Run(l.String(), func(t *testing.T) {
			startChild(t, "front with a stuck worker and a shortage", nil, dialSpec{Link: l, User: 54_322}).succeed()
		})
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
