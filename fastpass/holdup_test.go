//go:build linux

package fastpass

import (
	"context"
	"errors"
	"net"
	"slices"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"example.com/fdpass/internal/sys"
)

// lingeringWorker is a worker that has acknowledged a connection, and closed it so that the last copy, the front's,
// takes long to close. The front has not noticed. Whoever flushes the link next will.
func lingeringWorker(t *testing.T, pool *Pool, cfg *Config) (w, there *Passer, relent func()) {
	t.Helper()
	w, there = newWorker(t, pool, cfg)
	if there.out.page == nil {
		t.Skip("acknowledgements do not go through memory here: the front sees each at once")
	}
	fds, relent := lingering(t, 1)
	t.Cleanup(relent)
	there.in.mu.Lock() // no ACK frame is read
	dispatch(t, pool, []Desc{{FD: fds[0]}})
	d, err := w.Recv()
	if err != nil {
		t.Fatal(err)
	}
	there.out.ackPoller().cancel(&there.out)
	CloseFDs([]int{d.FD})
	there.in.mu.Unlock()
	return w, there, relent
}

// slowOnSent returns an OnSent that takes long for the descriptor with the tag 1: begun is closed when it is called, and
// it returns when busy is closed.
func slowOnSent() (onSent func(Desc), begun, busy chan struct{}) {
	begun, busy = make(chan struct{}), make(chan struct{})
	return func(d Desc) {
		if d.Tag == 1 {
			close(begun)
			<-busy
		}
	}, begun, busy
}

// wantNotStalled looks for stalls more often than a stalled worker bears.
func wantNotStalled(t *testing.T, pool *Pool, there *Passer) {
	t.Helper()
	for i := range 4 * checksPerStall {
		pool.checkStalled()
		if err := there.Err(); err != nil {
			t.Fatalf("look %d: %v", i, err)
		}
	}
}

func TestAWorkerWithALingeringConnectionHoldsUpNoOther(t *testing.T) {
	pool := newPool(t, nil)
	_, _, relent := lingeringWorker(t, pool, nil)
	good, _ := newWorker(t, pool, nil)
	done := make(chan struct{})
	go func() {
		defer close(done)
		dispatch(t, pool, []Desc{{FD: 0, Keep: true, Tag: 1}, {FD: 0, Keep: true, Tag: 2}})
	}()
	takeOne(t, good)
	wait(t, "Dispatch returns", done)
	relent()
}

func TestAWorkerWithALingeringConnectionHoldsUpNoBacklog(t *testing.T) {
	pool := newPool(t, nil)
	_, there, relent := lingeringWorker(t, pool, &Config{Window: 2})
	pool.mu.Lock() // as if a worker that died had left this behind
	pool.backlog.prepend([]Desc{{FD: 0, Keep: true, Tag: 1}, {FD: 0, Keep: true, Tag: 2}, {FD: 0, Keep: true, Tag: 3}})
	pool.waiting.Store(3)
	pool.mu.Unlock()
	pool.poke()
	until(t, "it has got what it has room for", func() bool { return there.Stats().Queued == 2 })
	good, _ := newWorker(t, pool, nil)
	takeOne(t, good)
	relent()
}

func TestAWorkerThatHasAcknowledgedEverythingHasNotStalled(t *testing.T) {
	pool := newPool(t, &PoolConfig{StallTimeout: time.Hour}) // the test looks
	_, there, relent := lingeringWorker(t, pool, nil)
	dispatch(t, pool, []Desc{{FD: 0, Keep: true}})
	until(t, "the copy is being closed", func() bool { return there.Stats().Delivered == 1 && there.out.work.Load() > 0 })
	wantNotStalled(t, pool, there)
	relent()
}

// Over a stream nobody reads the next ACK while the flusher closes what the last one was for.
func TestAWorkerOverAStreamThatHasAcknowledgedEverythingHasNotStalled(t *testing.T) {
	pool := newPool(t, &PoolConfig{StallTimeout: time.Hour}) // the test looks
	fds, relent := lingering(t, 1)
	defer relent()
	w, there := newWorker(t, pool, &Config{Network: "unix"})
	dispatch(t, pool, []Desc{{FD: fds[0]}, {FD: 0, Keep: true}})
	until(t, "both are sent", func() bool { return there.Stats().Sent == 2 })
	there.in.mu.Lock() // the ACK is read only when the front's copy is the last
	takeOne(t, w)
	there.in.mu.Unlock()
	until(t, "the copy is being closed", func() bool { return there.Stats().Delivered == 1 && there.out.releases.Load()%2 == 1 })
	takeOne(t, w)
	wantNotStalled(t, pool, there)
}

func TestAWorkerWhoseConnectionsLingerGetsNoMore(t *testing.T) {
	pool := newPool(t, &PoolConfig{StallTimeout: time.Hour}) // the test looks
	_, there, relent := lingeringWorker(t, pool, nil)
	defer relent()
	good, goodThere := newWorker(t, pool, nil)
	dispatch(t, pool, []Desc{{FD: 0, Keep: true}, {FD: 0, Keep: true}})
	until(t, "the copy is being closed", func() bool { return there.Stats().Delivered == 1 && there.out.releases.Load()%2 == 1 })
	pool.checkStalled()
	pool.checkStalled()
	before := goodThere.Stats().Sent
	dispatch(t, pool, []Desc{{FD: 0, Keep: true}, {FD: 0, Keep: true}})
	until(t, "the other one gets both", func() bool { return goodThere.Stats().Sent == before+2 })
	relent()
	until(t, "it goes on", func() bool { return there.Stats().Queued < 2 })
	ds, err := recvN(good, int(before)+2, 1)
	if err != nil {
		t.Fatal(err)
	}
	CloseFDs(fdsOf(ds))
}

func TestWhatWaitsForAWorkerWhoseConnectionLingersIsPlacedAfterwards(t *testing.T) {
	pool := newPool(t, &PoolConfig{StallTimeout: time.Hour}) // the test looks
	w, there, relent := lingeringWorker(t, pool, nil)
	go there.Flush()
	until(t, "the copy is being closed", func() bool { return there.Stats().Delivered == 1 && there.out.releases.Load()%2 == 1 })
	pool.checkStalled()
	pool.checkStalled()
	dispatch(t, pool, []Desc{{FD: 0, Keep: true}})
	if n := pool.Stats().Waiting; n != 1 {
		t.Fatalf("%d wait", n)
	}
	relent()
	takeOne(t, w)
}

// A release is over before the pool is told so, by whichever way the descriptors went.
func TestThePoolIsToldWhenALongReleaseIsOver(t *testing.T) {
	for _, protocol := range []Protocol{Bare, Framed} {
		t.Run(protocol.String(), func(t *testing.T) {
			pool := newPool(t, &PoolConfig{StallTimeout: time.Hour}) // the test looks
			onSent, begun, busy := slowOnSent()
			there, w := pairOf(t, &Config{Protocol: protocol, OnSent: onSent}, &Config{Protocol: protocol})
			defer w.Close()
			if err := pool.Add(there); err != nil {
				t.Fatal(err)
			}
			until(t, "the worker is ready", func() bool { return pool.Stats().Ready == 1 })
			nudge := *there.out.onFreed.Load()
			slow := func() {
				nudge()
				until(t, "the pool looks", func() bool { return len(pool.wake) == 0 })
				time.Sleep(time.Millisecond) // it has looked by now
			}
			there.out.onFreed.Store(&slow)
			go there.Send(Desc{FD: 0, Keep: true, Tag: 1}) // past the pool, and where it is Bare past the window
			takeOne(t, w)
			wait(t, "OnSent is called", begun)
			pool.checkStalled()
			pool.checkStalled()
			dispatch(t, pool, []Desc{{FD: 0, Keep: true}})
			if n := pool.Stats().Waiting; n != 1 {
				t.Fatalf("%d wait", n)
			}
			close(busy)
			takeOne(t, w)
		})
	}
}

// What was sent before the link joined is being released, and nobody has counted that.
func TestAWorkerThatJoinsDuringALongReleaseHasNotStalledAndGetsNoMore(t *testing.T) {
	pool := newPool(t, &PoolConfig{StallTimeout: time.Hour}) // the test looks
	onSent, begun, busy := slowOnSent()
	there, w := pairOf(t, &Config{OnSent: onSent}, nil)
	defer w.Close()
	if err := there.Send(Desc{FD: 0, Keep: true, Tag: 1}); err != nil {
		t.Fatal(err)
	}
	takeOne(t, w)
	wait(t, "OnSent is called", begun)
	if err := pool.Add(there); err != nil {
		t.Fatal(err)
	}
	good, goodThere := newWorker(t, pool, nil)
	go closeAll(good)
	keep := Desc{FD: 0, Keep: true}
	dispatch(t, pool, []Desc{keep, keep})
	until(t, "the other one gets its share", func() bool { goodThere.Flush(); return goodThere.Stats().Delivered == 1 })
	wantNotStalled(t, pool, there)
	dispatch(t, pool, []Desc{keep, keep})
	until(t, "the other one gets both", func() bool { return goodThere.Stats().Sent == 3 })
	goodThere.Close()
	until(t, "it has left", func() bool { return pool.Stats().Workers == 1 })
	dispatch(t, pool, []Desc{keep})
	close(busy)
	takeOne(t, w)
	until(t, "the release is seen to be over", func() bool { pool.checkStalled(); return pool.Stats().Waiting == 0 })
	takeOne(t, w)
}

// gated is a kernel that stops whoever has sent something, so many times.
type gated struct {
	sys.Kernel
	times      atomic.Int32
	sent, goOn chan struct{}
}

func (g *gated) Send(fd int, v *sys.Vector, n int) (int, syscall.Errno) {
	k, errno := g.Kernel.Send(fd, v, n)
	if g.times.Add(-1) >= 0 {
		g.sent <- struct{}{}
		<-g.goOn
	}
	return k, errno
}

// Whoever has other links to look after has the role of one that has had nothing to linger so far. Then comes a
// descriptor whose copy will.
func TestWhoWorksForManyLinksClosesNothingThatLingers(t *testing.T) {
	keep := []Desc{{FD: 0, Keep: true}}
	for who, work := range map[string]func(*Pool, *Passer){
		"Dispatch": func(pool *Pool, _ *Passer) { pool.Dispatch(keep) },
		"the pool's own goroutine": func(pool *Pool, _ *Passer) {
			pool.mu.Lock() // as if a worker that died had left this behind
			pool.backlog.prepend(keep)
			pool.mu.Unlock()
			pool.drainAndTell()
		},
		"the flusher of another worker": func(pool *Pool, there *Passer) {
			there.Push(keep[0])
			pool.ackPoller.mu.Lock()
			pool.ackPoller.links = []pollDue{{&there.out, time.Now()}}
			pool.ackPoller.mu.Unlock()
			pool.ackPoller.poll()
		},
	} {
		t.Run(who, func(t *testing.T) {
			pool := newPool(t, &PoolConfig{StallTimeout: time.Hour})
			g := &gated{Kernel: sys.System, sent: make(chan struct{}), goOn: make(chan struct{})}
			f, peer := socketpair(t, "unixpacket")
			there, w := onKernel(t, g, f, nil), passerOf(t, peer, nil)
			defer w.Close()
			if err := pool.Add(there); err != nil {
				t.Fatal(err)
			}
			until(t, "the worker is ready", func() bool { return pool.Stats().Ready == 1 })
			fds, relent := lingering(t, 1)
			defer relent()
			counted := func(ds ...Desc) {
				before := there.out.work.Load()
				dispatch(t, pool, ds)
				until(t, "that is counted", func() bool { return there.out.work.Load() > before })
			}
			g.times.Store(2)
			done := make(chan struct{})
			go func() {
				defer close(done)
				work(pool, there)
			}()
			wait(t, "it sends the first one", g.sent)
			takeOne(t, w)
			counted(Desc{FD: fds[0]})
			g.goOn <- struct{}{}
			wait(t, "that is sent as well", g.sent)
			takeOne(t, w) // and closed: the front's copy is the last one
			counted(keep...)
			g.goOn <- struct{}{}
			wait(t, "it is rid of the role", done)
			relent()
			takeOne(t, w)
		})
	}
}

// Callers of Recv may have the role of the reader, and be gone: then nobody reads acknowledgements.
func TestAPoolThatWaitsForRoomHasTheSocketRead(t *testing.T) {
	pool := newPool(t, &PoolConfig{Backlog: 1})
	w, there := newWorker(t, pool, &Config{Network: "unix", Window: 4})
	there.in.role.armed.Store(true) // the timer for that never starts
	got := make(chan struct{})
	go func() {
		defer close(got)
		takeOne(t, there)
	}()
	until(t, "Recv wants the role", there.in.role.wanted.Load)
	if err := w.Send(Desc{FD: 0, Keep: true}); err != nil {
		t.Fatal(err)
	}
	wait(t, "the worker's descriptor comes", got)
	until(t, "callers have the role", there.in.role.callers.Load)
	go closeAll(w)
	soon(t, "Dispatch returns", func() { dispatch(t, pool, slices.Repeat([]Desc{{FD: 0, Keep: true}}, 20)) })
}

// The timer by which acknowledgements are looked for may be far off.
func TestShutdownOfAPoolAsksForAcknowledgements(t *testing.T) {
	pool := newPool(t, nil)
	w, _ := newWorker(t, pool, nil)
	pool.ackPoller.mu.Lock()
	pool.ackPoller.timerEnds = time.Unix(1, 0) // as if it ran and ended later
	pool.ackPoller.mu.Unlock()
	dispatch(t, pool, []Desc{{FD: 0, Keep: true}})
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		if err := pool.Shutdown(context.Background()); err != nil {
			t.Error(err)
		}
	}()
	until(t, "the pool's goroutine has seen it", func() bool { return pool.reached(poolSettling) && len(pool.wake) == 0 })
	time.Sleep(10 * time.Millisecond) // before that Shutdown would find the acknowledgement by itself
	takeOne(t, w)
	wait(t, "Shutdown returns", ended)
}

// What a Bare link sends past the window is released there, too.
func TestABareWorkerHasNotStalledWhileACallbackTakesLong(t *testing.T) {
	pool := newPool(t, &PoolConfig{StallTimeout: time.Hour}) // the test looks
	onSent, begun, busy := slowOnSent()
	there, w := pairOf(t, &Config{Protocol: Bare, OnSent: onSent}, &Config{Protocol: Bare})
	defer w.Close()
	defer close(busy)
	if err := pool.Add(there); err != nil {
		t.Fatal(err)
	}
	go there.Send(Desc{FD: 0, Keep: true, Tag: 1})
	wait(t, "OnSent is called", begun)
	dispatch(t, pool, []Desc{{FD: 0, Keep: true}})
	wantNotStalled(t, pool, there)
}

// Close beside Shutdown may be held up, by a callback for example.
func TestShutdownReturnsWhenTheLinkIsClosedWhoeverClosesIt(t *testing.T) {
	noLeaks(t)
	onSent, begun, busy := slowOnSent()
	p, q := link(t, &Config{OnSent: onSent}, nil)
	if err := p.Send(Desc{FD: 0, Keep: true, Tag: 1}); err != nil {
		t.Fatal(err)
	}
	takeOne(t, q)
	wait(t, "OnSent is called", begun)
	if err := p.Push(Desc{FD: 0, Keep: true, Tag: 2}); err != nil {
		t.Fatal(err)
	}
	go p.Close()
	until(t, "Close has begun", p.closed.Load)
	back := make(chan []Desc)
	go func() {
		if err := p.Shutdown(context.Background()); !errors.Is(err, net.ErrClosed) {
			t.Errorf("Shutdown: %v", err)
		}
		back <- p.Undelivered()
	}()
	time.Sleep(10 * time.Millisecond) // it would have returned by now
	close(busy)
	if ds := <-back; len(ds) != 1 || ds[0].Tag != 2 {
		t.Errorf("undelivered after Shutdown: %v", ds)
	}
}

// What has come and was not taken is closed when Shutdown returns, though another goroutine does it.
func TestShutdownBesideCloseWaitsForWhatThatCloses(t *testing.T) {
	noLeaks(t)
	p, q := link(t, &Config{Protocol: Bare}, &Config{Protocol: Bare})
	if err := p.Send(Desc{FD: 0, Keep: true}); err != nil {
		t.Fatal(err)
	}
	until(t, "it has come", func() bool { return q.in.queued.Load() == 1 })
	p.Close()
	wait(t, "the link ends", q.Done())
	q.in.mu.Lock() // holds up Close
	go q.Close()
	until(t, "Close has begun", q.closed.Load)
	returned := make(chan struct{})
	go func() {
		q.Shutdown(context.Background())
		close(returned)
	}()
	select {
	case <-returned:
		t.Error("Shutdown has returned before what has come was closed")
	case <-time.After(20 * time.Millisecond):
	}
	q.in.mu.Unlock()
	wait(t, "Shutdown returns", returned)
}
