//go:build unix

package fastpass

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// newWorker adds a worker in this process to pool and returns its end.
func newWorker(t *testing.T, pool *Pool, cfg *Config) (worker, there *Passer) {
	t.Helper()
	there, worker = pairOf(t, cfg, cfg)
	if err := pool.Add(there); err != nil {
		t.Fatal(err)
	}
	until(t, "the worker is ready", there.out.established.Load)
	t.Cleanup(func() { worker.Close() })
	return worker, there
}

func newPool(t *testing.T, cfg *PoolConfig) *Pool {
	t.Helper()
	pool, err := NewPool(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithCancel(context.Background())
		cancel()
		pool.Shutdown(ctx)
		for _, d := range pool.Undelivered() {
			if !d.Keep {
				CloseFDs([]int{d.FD})
			}
		}
	})
	return pool
}

// taggedPipes returns n descriptors with tags from first on.
func taggedPipes(t *testing.T, first, n int) []Desc {
	t.Helper()
	ds := make([]Desc, n)
	for i := range ds {
		r, w, err := os.Pipe()
		if err != nil {
			t.Fatal(err)
		}
		w.Close()
		if ds[i].FD, err = unix.FcntlInt(r.Fd(), unix.F_DUPFD_CLOEXEC, 0); err != nil {
			t.Fatal(err)
		}
		r.Close()
		ds[i].Tag = uint64(first + i)
	}
	return ds
}

// recvTags receives n descriptors from p, closes them and returns their tags.
func recvTags(t *testing.T, p *Passer, n int) (tags []uint64) {
	t.Helper()
	p.SetReadDeadline(time.Now().Add(10 * time.Second))
	ds := make([]Desc, 64)
	for len(tags) < n {
		k, err := p.RecvBatch(ds[:min(len(ds), n-len(tags))])
		if err != nil {
			t.Fatalf("after %d of %d: %v", len(tags), n, err)
		}
		for _, d := range ds[:k] {
			tags = append(tags, d.Tag)
			CloseFDs([]int{d.FD})
		}
	}
	return tags
}

func wantTags(t *testing.T, got []uint64, first uint64, step uint64) {
	t.Helper()
	for i, tag := range got {
		if want := first + uint64(i)*step; tag != want {
			t.Fatalf("descriptor %d has tag %d, want %d", i, tag, want)
		}
	}
}

func dispatch(t *testing.T, pool *Pool, ds []Desc) {
	t.Helper()
	if n, err := pool.Dispatch(ds); n != len(ds) || err != nil {
		t.Fatalf("Dispatch: %d of %d, %v", n, len(ds), err)
	}
}

func TestPoolSpreadsInTurnAndInOrder(t *testing.T) {
	pool := newPool(t, nil)
	a, _ := newWorker(t, pool, nil)
	b, _ := newWorker(t, pool, nil)
	ds := taggedPipes(t, 0, 100)
	for i := range ds {
		dispatch(t, pool, ds[i:i+1])
	}
	wantTags(t, recvTags(t, a, 50), 0, 2)
	wantTags(t, recvTags(t, b, 50), 1, 2)
}

func TestWhatComesAtOnceIsCutIntoAPieceForEachWorker(t *testing.T) {
	pool := newPool(t, nil)
	a, _ := newWorker(t, pool, nil)
	b, _ := newWorker(t, pool, nil)
	c, _ := newWorker(t, pool, nil)
	dispatch(t, pool, taggedPipes(t, 0, 31)) // 10 each, and whose turn it is gets one more
	wantTags(t, recvTags(t, b, 10), 10, 1)
	wantTags(t, recvTags(t, c, 10), 20, 1)
	wantTags(t, append(recvTags(t, a, 10), recvTags(t, a, 1)[0]-20), 0, 1)
	dispatch(t, pool, taggedPipes(t, 0, 6))
	wantTags(t, recvTags(t, b, 2), 0, 1)
	wantTags(t, recvTags(t, c, 2), 2, 1)
	wantTags(t, recvTags(t, a, 2), 4, 1)
}

// A piece is pushed as a whole. Of one that finds too little room the rest goes to the next worker, and the pieces
// behind it are as long as before.
func TestAPieceThatFindsLittleRoomGoesOnWithAnotherWorker(t *testing.T) {
	pool := newPool(t, nil)
	a, _ := newWorker(t, pool, &Config{Window: 4})
	b, _ := newWorker(t, pool, nil)
	c, _ := newWorker(t, pool, nil)
	dispatch(t, pool, taggedPipes(t, 0, 30)) // 10 each, of which a takes 4
	wantTags(t, recvTags(t, a, 4), 0, 1)
	wantTags(t, recvTags(t, b, 6), 4, 1)
	wantTags(t, recvTags(t, c, 10), 10, 1)
	wantTags(t, recvTags(t, b, 10), 20, 1)
	if s := pool.Stats(); s.Placed != 30 || s.Waiting != 0 {
		t.Errorf("%+v", s)
	}
}

func TestWithoutWorkersDescriptorsWaitAndANewWorkerGetsThemInOrder(t *testing.T) {
	pool := newPool(t, &PoolConfig{Backlog: 16})
	dispatch(t, pool, taggedPipes(t, 0, 16))
	if n := pool.Stats().Waiting; n != 16 {
		t.Fatalf("%d wait, want 16", n)
	}
	pool.SetDeadline(time.Now().Add(time.Millisecond))
	late := taggedPipes(t, 16, 4)
	n, err := pool.Dispatch(late)
	var batch *BatchError
	if n != 0 || !errors.Is(err, os.ErrDeadlineExceeded) || !errors.As(err, &batch) || batch.Taken != 0 {
		t.Fatalf("Dispatch to a full pool: %d, %v", n, err)
	}
	pool.SetDeadline(time.Time{})
	done := make(chan error)
	go func() {
		_, err := pool.Dispatch(late)
		done <- err
	}()
	w, _ := newWorker(t, pool, nil)
	wantTags(t, recvTags(t, w, 20), 0, 1)
	if err := <-done; err != nil {
		t.Fatal(err)
	}
}

func TestWhatALeavingWorkerDidNotTakeGoesToOthersFirstAndInOrder(t *testing.T) {
	left := make(chan int, 2)
	pool := newPool(t, &PoolConfig{OnLeave: func(_ *Passer, err error, back int) {
		if err != nil {
			t.Errorf("left with %v, want in order", err)
		}
		left <- back
	}})
	a, _ := newWorker(t, pool, nil)
	dispatch(t, pool, taggedPipes(t, 0, 30))
	wantTags(t, recvTags(t, a, 10), 0, 1)
	if err := a.Close(); err != nil {
		t.Fatal(err)
	}
	if n := <-left; n != 20 {
		t.Fatalf("the pool took %d back, want 20", n)
	}
	dispatch(t, pool, taggedPipes(t, 30, 10))
	b, _ := newWorker(t, pool, nil)
	wantTags(t, recvTags(t, b, 30), 10, 1)
	if s := pool.Stats(); s.Redelivered != 20 || s.Workers != 1 {
		t.Errorf("%+v, want 20 redelivered and 1 worker", s)
	}
}

func TestAWorkerThatDoesNotReceiveLosesItsDescriptorsToOthers(t *testing.T) {
	left := make(chan error, 1)
	pool := newPool(t, &PoolConfig{
		StallTimeout: 200 * time.Millisecond, // the other one is never that slow
		OnLeave:      func(_ *Passer, err error, _ int) { left <- err },
	})
	a, _ := newWorker(t, pool, nil)
	dispatch(t, pool, taggedPipes(t, 0, 30))
	if err := <-left; !errors.Is(err, ErrStalled) {
		t.Fatalf("left with %v, want ErrStalled", err)
	}
	b, _ := newWorker(t, pool, nil)
	b.SetReadDeadline(time.Now().Add(10 * time.Second))
	ds := make([]Desc, 64)
	var tags []uint64
	for len(tags) < 30 {
		n, err := b.RecvBatch(ds)
		if err != nil {
			t.Fatal(err)
		}
		for _, d := range ds[:n] {
			if !d.Shared {
				t.Errorf("descriptor %d is not marked as shared with the stalled worker", d.Tag)
			}
			tags = append(tags, d.Tag)
			CloseFDs([]int{d.FD})
		}
	}
	wantTags(t, tags, 0, 1)
	if d, err := a.Recv(); err == nil {
		t.Errorf("the stalled worker still got %v", d)
	}
}

// A worker stalls by the number of looks in which it has acknowledged nothing; what it has acknowledged counts before
// the sender sees it.
func TestAWorkerStallsAfterSoManyLooksWithoutProgress(t *testing.T) {
	pool := newPool(t, &PoolConfig{StallTimeout: time.Hour}) // the test looks
	w, there := newWorker(t, pool, nil)
	look := func() { // by the clock a release that two of them see has taken long
		until(t, "no release", func() bool { return there.out.releases.Load()%2 == 0 })
		pool.checkStalled()
	}
	stalls := func(looks int) bool {
		for range looks {
			look()
		}
		return there.Err() != nil
	}
	if stalls(10 * checksPerStall) {
		t.Fatalf("it has stalled with nothing to take: %v", there.Err())
	}
	dispatch(t, pool, taggedPipes(t, 0, 7))
	for i := range 4 {
		if stalls(checksPerStall) {
			t.Fatalf("it has stalled after taking %d: %v", i, there.Err())
		}
		recvTags(t, w, 1)
		until(t, "the acknowledgement is seen", func() bool { return there.Stats().Delivered == uint64(i+1) })
	}
	if there.out.page != nil {
		there.out.ackPoller().cancel(&there.out) // nobody looks but the pool
		recvTags(t, w, 1)
		if stalls(2) { // the first one sees the progress before
			t.Fatalf("it has stalled with an acknowledgement to be seen: %v", there.Err())
		}
		until(t, "the pool looks", func() bool { return there.Stats().Delivered == 5 })
	} else {
		recvTags(t, w, 1)
	}
	recvTags(t, w, 1) // what the pool's looks above have seen of the fifth is theirs
	until(t, "the acknowledgement is seen", func() bool { there.out.flush(); return there.Stats().Delivered == 6 })
	look() // the last progress
	if stalls(checksPerStall) {
		t.Fatalf("it has stalled after %d looks: %v", checksPerStall, there.Err())
	}
	if !stalls(1) || !errors.Is(there.Err(), ErrStalled) {
		t.Errorf("after %d looks without progress: %v, want ErrStalled", checksPerStall+1, there.Err())
	}
}

func TestPoolRefusesWhatItCannotUse(t *testing.T) {
	for _, cfg := range []*PoolConfig{{Backlog: -1}, {StallTimeout: -1}, {MaxPayload: -1}, {MaxPayload: 1 << 20}} {
		if _, err := NewPool(cfg); err == nil {
			t.Errorf("NewPool(%+v) succeeded", cfg)
		}
	}
	pool := newPool(t, &PoolConfig{Policy: PolicyFunc(func(*Desc, uint64, []Worker) int { return 7 })})
	recvOnly, there := pairOf(t, &Config{Direction: RecvOnly}, nil)
	if err := pool.Add(recvOnly); err == nil {
		t.Error("Add of a worker that cannot be sent to succeeded")
	}
	small, _ := pairOf(t, &Config{MaxPayload: 16}, &Config{MaxPayload: 16})
	if err := pool.Add(small); err == nil {
		t.Error("Add of a worker with a smaller MaxPayload succeeded")
	}
	recvOnly.Close()
	there.Close()
	small.Close()
	newWorker(t, pool, nil)
	ds := taggedPipes(t, 0, 1)
	defer CloseFDs([]int{ds[0].FD})
	var bad *DescError
	if n, err := pool.Dispatch([]Desc{{FD: -1}}); n != 0 || !errors.As(err, &bad) || bad.FD != -1 {
		t.Errorf("Dispatch of descriptor -1: %d, %v", n, err)
	}
	if n, err := pool.Dispatch(ds); n != 0 || err == nil {
		t.Errorf("Dispatch with a policy that picks worker 7 of 1: %d, %v", n, err)
	}
}

func TestServeAcceptsAndDispatchesUntilItIsToldToStop(t *testing.T) {
	for _, how := range []string{"shutdown of the pool", "close of the listener"} {
		t.Run(how, func(t *testing.T) {
			pool := newPool(t, nil)
			w, _ := newWorker(t, pool, nil)
			ln, err := net.Listen("tcp", "127.0.0.1:0")
			if err != nil {
				t.Fatal(err)
			}
			defer ln.Close()
			served := make(chan error, 1)
			go func() { served <- pool.Serve(ln) }()
			conns := w.NetListener()
			for range 20 {
				client, err := net.Dial("tcp", ln.Addr().String())
				if err != nil {
					t.Fatal(err)
				}
				conn, err := conns.Accept()
				if err != nil {
					t.Fatal(err)
				}
				if conn.RemoteAddr().String() != client.LocalAddr().String() {
					t.Errorf("got the connection of %v, want %v", conn.RemoteAddr(), client.LocalAddr())
				}
				conn.Close()
				if _, err := client.Read(make([]byte, 1)); err == nil {
					t.Error("the client read from a connection that was closed")
				}
				client.Close()
			}
			if s := pool.Stats(); s.Accepted != 20 || s.Pauses != 0 {
				t.Errorf("%+v, want 20 accepted without a pause", s)
			}
			if how == "close of the listener" {
				ln.Close()
			} else if err := pool.Shutdown(context.Background()); err != nil {
				t.Error(err)
			}
			if err := <-served; !errors.Is(err, net.ErrClosed) {
				t.Errorf("Serve returned %v, want net.ErrClosed", err)
			}
		})
	}
}

func TestShutdownOfAPoolDeliversFirst(t *testing.T) {
	pool := newPool(t, nil)
	w, _ := newWorker(t, pool, nil)
	dispatch(t, pool, taggedPipes(t, 0, 50))
	done := make(chan error)
	go func() { done <- pool.Shutdown(context.Background()) }()
	wantTags(t, recvTags(t, w, 50), 0, 1)
	if err := <-done; err != nil {
		t.Error(err)
	}
	if _, err := pool.Dispatch(taggedPipesClosedLater(t)); !errors.Is(err, net.ErrClosed) {
		t.Errorf("Dispatch after Shutdown: %v", err)
	}
	if err := pool.Shutdown(context.Background()); !errors.Is(err, net.ErrClosed) {
		t.Errorf("second Shutdown: %v", err)
	}
}

func taggedPipesClosedLater(t *testing.T) []Desc {
	ds := taggedPipes(t, 0, 1)
	t.Cleanup(func() { CloseFDs([]int{ds[0].FD}) })
	return ds
}

func TestShutdownOfAPoolThatIsCutShortGivesBackTheRest(t *testing.T) {
	pool := newPool(t, nil)
	newWorker(t, pool, nil)
	dispatch(t, pool, taggedPipes(t, 0, 50))
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if err := pool.Shutdown(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("Shutdown: %v, want context.Canceled", err)
	}
	ds := pool.Undelivered()
	if len(ds) != 50 {
		t.Fatalf("%d came back, want 50", len(ds))
	}
	for i, d := range ds {
		if d.Tag != uint64(i) {
			t.Errorf("descriptor %d has tag %d", i, d.Tag)
		}
		CloseFDs([]int{d.FD})
	}
}

func TestWhatServeHasAcceptedWhenThePoolIsShutDownIsUndelivered(t *testing.T) {
	pool := newPool(t, &PoolConfig{Backlog: 1})
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	const clients = 5 // all in one batch, of which the backlog takes one
	tcpClients(t, ln.Addr().String(), clients)
	served := make(chan error, 1)
	go func() { served <- pool.Serve(ln) }()
	until(t, "the backlog is full", func() bool { return pool.Stats().Waiting == 1 })
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	pool.Shutdown(ctx)
	if err := <-served; !errors.Is(err, net.ErrClosed) {
		t.Errorf("Serve: %v", err)
	}
	ds := pool.Undelivered()
	for _, d := range ds {
		CloseFDs([]int{d.FD})
	}
	if len(ds) != clients {
		t.Errorf("%d of %d connections are undelivered, and no worker has the others", len(ds), clients)
	}
}

func TestShutdownDeliversWhatServeHasAccepted(t *testing.T) {
	pool := newPool(t, &PoolConfig{Backlog: 1})
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	cfg := &Config{Window: 1}
	worker, _ := newWorker(t, pool, cfg)
	const clients = 5 // all in one batch: one goes to the worker, one to the backlog
	tcpClients(t, ln.Addr().String(), clients)
	served := make(chan error, 1)
	go func() { served <- pool.Serve(ln) }()
	until(t, "the backlog is full", func() bool { return pool.Stats().Waiting == 1 })
	shut := make(chan error, 1)
	go func() { shut <- pool.Shutdown(context.Background()) }()
	if err := <-served; !errors.Is(err, net.ErrClosed) {
		t.Errorf("Serve: %v", err)
	}
	recvTags(t, worker, clients)
	if err := <-shut; err != nil {
		t.Error(err)
	}
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

// A policy is asked for what waits in the backlog as well, by the pool's own goroutine: nobody may wait for ever
// because of what it says there.
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

// A policy may sort the workers that it is shown: its answer is a place in that order.
func TestAPolicyMaySortTheWorkers(t *testing.T) {
	var picked atomic.Pointer[Passer]
	pool := newPool(t, &PoolConfig{Policy: PolicyFunc(func(_ *Desc, _ uint64, workers []Worker) int {
		slices.SortFunc(workers, func(a, b Worker) int { return cmp.Compare(b.ID, a.ID) })
		picked.Store(workers[0].Passer)
		return 0
	})})
	newWorker(t, pool, nil)
	_, last := newWorker(t, pool, nil)
	dispatch(t, pool, []Desc{{FD: 0, Keep: true}})
	if picked.Load() != last {
		t.Fatal("the worker that joined last is not the first one")
	}
	if last.Stats().Queued != 1 {
		t.Error("the descriptor went to another worker than the policy picked")
	}
}

// What Push has queued is sent by nobody else: a pool that finds no room with a link gives it nothing, and so has it
// send nothing.
func TestDispatchGoesOnThoughPushHasFilledTheLink(t *testing.T) {
	keep := Desc{FD: 0, Keep: true, Payload: make([]byte, 4<<10)}
	for name, fill := range map[string]int{"window": 8, "payloads": maxQueuedBytes / len(keep.Payload)} {
		for _, before := range []bool{true, false} {
			t.Run(fmt.Sprintf("%s, before Add %t", name, before), func(t *testing.T) {
				pool := newPool(t, &PoolConfig{Backlog: 1})
				window := 8
				if fill > window {
					window = 2 * fill
				}
				there, w := pairOf(t, &Config{Window: window}, nil)
				defer w.Close()
				until(t, "the worker is ready", there.out.established.Load)
				add := func() {
					if err := pool.Add(there); err != nil {
						t.Fatal(err)
					}
				}
				if !before {
					add()
				}
				for range fill {
					if err := there.Push(keep); err != nil {
						t.Fatal(err)
					}
				}
				if before {
					add()
				}
				go closeAll(w)
				soon(t, "Dispatch returns", func() { dispatch(t, pool, slices.Repeat([]Desc{keep}, 4)) })
			})
		}
	}
}
