//go:build linux

package fastpass

import (
	"fmt"
	"runtime"
	"runtime/debug"
	"slices"
	"sync"
	"testing"

	"golang.org/x/sys/unix"
)

// mallocsPerMillion is how many allocations the runtime may make for itself (timers, parked goroutines, its own
// background work) while a million descriptors pass. This module makes none.
const mallocsPerMillion = 200

// lane is a link within the process and a goroutine that takes everything that comes.
type lane struct {
	p, q   *Passer
	one    Desc
	ds     []Desc
	taken  chan int // after how many the receiver reports
	report chan struct{}
}

func newLane(t testing.TB, l linkConfig, batch int, payload []byte) *lane {
	p, q := link(t, l.config(), l.config())
	fd := null(t)
	t.Cleanup(func() { unix.Close(fd) })
	n := &lane{p: p, q: q, ds: make([]Desc, batch), taken: make(chan int), report: make(chan struct{})}
	n.one = Desc{FD: fd, Tag: 1, Payload: payload, Keep: true}
	for i := range n.ds {
		n.ds[i] = n.one
		if l.Protocol == Bare && i > 0 {
			n.ds[i].Payload = nil
		}
	}
	go n.receive(batch)
	return n
}

func (n *lane) receive(batch int) {
	ds, fds := make([]Desc, batch), make([]int, batch)
	for i := range ds {
		ds[i].Payload = make([]byte, 0, 64)
	}
	for want := range n.taken {
		for want > 0 {
			var k int
			var err error
			if batch == 1 {
				ds[0], err = n.q.Recv()
				k = 1
			} else {
				k, err = n.q.RecvBatch(ds)
			}
			if err != nil {
				panic(err)
			}
			for i := range ds[:k] {
				fds[i] = ds[i].FD
			}
			CloseFDs(fds[:k])
			want -= k
		}
		n.report <- struct{}{}
	}
}

// pass passes rounds batches.
func (n *lane) pass(t testing.TB, rounds int) {
	n.taken <- rounds * len(n.ds)
	for range rounds {
		var err error
		if len(n.ds) == 1 {
			err = n.p.Send(n.one)
		} else {
			_, err = n.p.SendBatch(n.ds)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	<-n.report
}

func TestPassingAllocatesNothing(t *testing.T) {
	if raceEnabled {
		t.Skip("the race detector allocates")
	}
	for _, l := range everyLink {
		for _, dir := range []Direction{Both, RecvOnly} {
			for _, batch := range []int{1, 253} {
				for _, payload := range []string{"", "payload"} {
					if payload != "" && batch == 1 {
						continue // Recv hands out payloads of its own
					}
					name := fmt.Sprintf("%v, receiver %v, batch %d, payload %d", l, dir, batch, len(payload))
					t.Run(name, func(t *testing.T) {
						noLeaks(t)
						n := scaled(100_000) // make alloc has them all pass a million
						limit := uint64(mallocsPerMillion)
						l := l
						switch {
						case payload != "":
							n /= 2
							// Payload bytes lie in buffers of bytebufferpool, which makes some, of two allocations
							// each, whenever more are in use than ever: at both ends there may be as many as the window
							// has room for.
							l.Window = 512
							limit += uint64(2 * 2 * l.Window)
						case batch != 253 || l.Network == "unix":
							n /= 4
						}
						lane := newLane(t, l, batch, []byte(payload))
						defer close(lane.taken)
						lane.pass(t, 20_000/batch+10) // warm up
						lane.pass(t, 20_000/batch+10)
						if got := testing.AllocsPerRun(50, func() { lane.pass(t, 1) }); got > 0 {
							t.Errorf("%v allocations per batch", got)
						}
						var before, after runtime.MemStats
						runtime.GC()
						defer debug.SetGCPercent(debug.SetGCPercent(-1)) // payload buffers are not kept over a collection
						lane.pass(t, 20_000/batch+10)
						runtime.ReadMemStats(&before)
						lane.pass(t, n/batch)
						runtime.ReadMemStats(&after)
						if got := after.Mallocs - before.Mallocs; got > limit {
							t.Errorf("%d mallocs for %d descriptors", got, n)
						}
					})
				}
			}
		}
	}
}

func TestAnIdlePasserIsCheap(t *testing.T) {
	if raceEnabled {
		t.Skip("the race detector needs memory of its own")
	}
	for _, l := range everyLink {
		t.Run(l.String(), func(t *testing.T) {
			noLeaks(t)
			const pairs, limit = 200, 128 << 10
			inUse := func() uint64 {
				runtime.GC()
				runtime.GC()
				var m runtime.MemStats
				runtime.ReadMemStats(&m)
				return m.HeapInuse + m.StackInuse
			}
			link(t, l.config(), l.config()) // what all links share
			before := inUse()
			var passers []*Passer
			for range pairs {
				p, q := pairOf(t, l.config(), l.config())
				passers = append(passers, p, q)
				if l.Protocol == Framed {
					until(t, "HELLO has come", func() bool { return p.Stats().RecvCalls > 0 && q.Stats().RecvCalls > 0 })
				}
			}
			each := (int64(inUse()) - int64(before)) / (2 * pairs)
			t.Logf("%d bytes for each idle end", each)
			if each > limit {
				t.Errorf("an idle end takes %d bytes", each)
			}
			soon(t, "all close", func() {
				for _, p := range passers {
					p.Close()
				}
			})
		})
	}
}

func TestDispatchToManyWorkersAllocatesNothing(t *testing.T) {
	if raceEnabled {
		t.Skip("the race detector allocates")
	}
	const workers = 80 // more than are flushed at a time
	pool := newPool(t, nil)
	var ends sync.WaitGroup
	t.Cleanup(ends.Wait) // once they are closed, before the pool is
	for range workers {
		w, _ := newWorker(t, pool, nil)
		ends.Go(func() { closeAll(w) })
	}
	ds := slices.Repeat([]Desc{{FD: 0, Keep: true}}, workers) // one for each
	pass := func() { dispatch(t, pool, ds) }
	// The links share buffers, and a collection takes those that are idle.
	defer debug.SetGCPercent(debug.SetGCPercent(-1))
	for range 100 { // warm up
		pass()
	}
	// So many that what a link needs once, when its receiver falls behind for the first time, is not one for each call.
	if got := testing.AllocsPerRun(1000, pass); got > 0 {
		t.Errorf("%v allocations per call", got)
	}
}
