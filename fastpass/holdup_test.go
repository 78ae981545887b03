//go:build linux

package fastpass

import (
	"testing"
	"time"
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
	for i := range 4 * checksPerStall {
		pool.checkStalled()
		if err := there.Err(); err != nil {
			t.Fatalf("look %d: %v", i, err)
		}
	}
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
	for i := range 4 * checksPerStall {
		pool.checkStalled()
		if err := there.Err(); err != nil {
			t.Fatalf("look %d: %v", i, err)
		}
	}
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
	until(t, "it goes on", func() bool { pool.checkStalled(); return there.Stats().Queued < 2 })
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
	until(t, "that is over", func() bool { return there.out.releases.Load()%2 == 0 })
	pool.checkStalled()
	takeOne(t, w)
}

// What a Bare link sends past the window is released there, too.
func TestABareWorkerHasNotStalledWhileACallbackTakesLong(t *testing.T) {
	pool := newPool(t, &PoolConfig{StallTimeout: time.Hour}) // the test looks
	busy, begun := make(chan struct{}), make(chan struct{})
	there, w := pairOf(t, &Config{Protocol: Bare, OnSent: func(d Desc) {
		if d.Tag == 1 {
			close(begun)
			<-busy
		}
	}}, &Config{Protocol: Bare})
	defer w.Close()
	defer close(busy)
	if err := pool.Add(there); err != nil {
		t.Fatal(err)
	}
	go there.Send(Desc{FD: 0, Keep: true, Tag: 1})
	wait(t, "OnSent is called", begun)
	dispatch(t, pool, []Desc{{FD: 0, Keep: true}})
	for i := range 4 * checksPerStall {
		pool.checkStalled()
		if err := there.Err(); err != nil {
			t.Fatalf("look %d: %v", i, err)
		}
	}
}
