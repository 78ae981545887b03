package linearizability

import (
	"runtime"
	"slices"
	"sync/atomic"
	"testing"

	"example.com/fdpass/ring"
)

// Every mistake must be caught within this many histories. Most are in one of the first ten.
const enough = 5_000

func TestBrokenQueuesAreCaught(t *testing.T) {
	crowded(t)
	for _, s := range []shape{
		{"swaps two values of a batch", func(n int) queue { return swapping{ring.NewMPMC[uint16](n)} }, 2, 2},
		{"takes two values in two pieces", func(n int) queue { return split{ring.NewMPMC[uint16](n)} }, 2, 2},
		{"loses a value", func(n int) queue { return &losing{MPMC: ring.NewMPMC[uint16](n)} }, 1, 1},
		{"delivers a value twice", func(n int) queue { return &doubling{MPMC: ring.NewMPMC[uint16](n)} }, 1, 1},
		{"is full too early", func(n int) queue { return &small{MPMC: ring.NewMPMC[uint16](n)} }, 2, 2},
		{"is full too late", func(n int) queue { return ring.NewMPMC[uint16](2 * n) }, 2, 2},
		{"is empty too early", func(n int) queue { return &shy{MPMC: ring.NewMPMC[uint16](n)} }, 2, 2},
		{"lacks a compare-and-swap", func(n int) queue { return &racing{cells: make([]atomic.Uint32, n)} }, 2, 2},
		{"publishes before it writes", func(n int) queue { return &racing{cells: make([]atomic.Uint32, n), early: true} }, 1, 1},
	} {
		t.Run(s.name, func(t *testing.T) {
			first := firstSeed(t)
			for i := range uint64(enough) {
				capacity := capacities[i%uint64(len(capacities))]
				if !explained(t, queueModel(capacity), s.history(first+i, capacity), queueMoments) {
					t.Logf("caught after %d histories", i+1)
					return
				}
			}
			t.Errorf("not caught in %d histories", enough)
		})
	}
}

func TestBrokenWindowsAreCaught(t *testing.T) {
	crowded(t)
	for name, broken := range map[string]func(w window) window{
		"publishes before it writes": func(w window) window { return &hasty{w} },
		"passes a gap":               func(w window) window { return &leaping{window: w} },
	} {
		t.Run(name, func(t *testing.T) {
			first := firstSeed(t)
			for i := range uint64(enough) {
				capacity := capacities[1+i%uint64(len(capacities)-1)]
				calls := windowHistory(first+i, capacity, broken(ring.NewWindow[uint16](capacity)))
				if !explained(t, windowModel(capacity), calls, windowMoments) {
					t.Logf("caught after %d histories", i+1)
					return
				}
			}
			t.Errorf("not caught in %d histories", enough)
		})
	}
}

type swapping struct{ *ring.MPMC[uint16] }

func (q swapping) PushBatch(vs []uint16) int {
	vs = slices.Clone(vs)
	vs[0], vs[1] = vs[1], vs[0]
	return q.MPMC.PushBatch(vs)
}

type split struct{ *ring.MPMC[uint16] }

func (q split) PushBatch(vs []uint16) int {
	n := q.MPMC.PushBatch(vs[:1])
	if n == 1 {
		runtime.Gosched()
		n += q.MPMC.PushBatch(vs[1:])
	}
	return n
}

type losing struct {
	*ring.MPMC[uint16]
	pushes int
}

func (q *losing) Push(v uint16) bool {
	if q.pushes++; q.pushes == 7 {
		return true
	}
	return q.MPMC.Push(v)
}

type doubling struct {
	*ring.MPMC[uint16]
	last uint16
	pops int
}

func (q *doubling) Pop() (uint16, bool) {
	if q.pops++; q.pops == 7 && q.last != 0 {
		return q.last, true
	}
	v, ok := q.MPMC.Pop()
	if ok {
		q.last = v
	}
	return v, ok
}

type small struct{ *ring.MPMC[uint16] }

func (q *small) Push(v uint16) bool { return q.Len() < q.Cap()-1 && q.MPMC.Push(v) }

type shy struct{ *ring.MPMC[uint16] }

func (q *shy) Pop() (v uint16, ok bool) {
	if q.Len() < 2 {
		return 0, false
	}
	return q.MPMC.Pop()
}

// racing is a ring that forgets that there is somebody else between a look at an index and its change; or, early, one
// that moves the index first.
type racing struct {
	head, tail atomic.Uint32
	cells      []atomic.Uint32
	early      bool
}

func (q *racing) Push(v uint16) bool {
	tail := q.tail.Load()
	if tail-q.head.Load() == uint32(len(q.cells)) {
		return false
	}
	if q.early {
		q.tail.Store(tail + 1)
	}
	runtime.Gosched()
	q.cells[tail%uint32(len(q.cells))].Store(uint32(v))
	q.tail.Store(tail + 1)
	return true
}

func (q *racing) Pop() (uint16, bool) {
	head := q.head.Load()
	if head == q.tail.Load() {
		return 0, false
	}
	v := q.cells[head%uint32(len(q.cells))].Load()
	runtime.Gosched()
	q.head.Store(head + 1)
	return uint16(v), true
}

func (q *racing) PushBatch(vs []uint16) (n int) {
	for n < len(vs) && q.Push(vs[n]) {
		n++
	}
	return n
}

func (q *racing) PopBatch(dst []uint16) (n int) {
	for n < len(dst) {
		v, ok := q.Pop()
		if !ok {
			break
		}
		dst[n] = v
		n++
	}
	return n
}

type hasty struct{ window }

func (w *hasty) Publish(pos uint64, n int) {
	var vs []uint16
	for i := range n {
		s := &w.Slots(pos+uint64(i), 1)[0]
		vs = append(vs, *s)
		*s = 0
	}
	w.window.Publish(pos, n)
	runtime.Gosched()
	write(w, pos, vs)
}

type leaping struct {
	window
	asked int
}

func (w *leaping) Published(from uint64) uint64 {
	end := w.window.Published(from)
	if w.asked++; w.asked >= 3 && end == from {
		end++
	}
	return end
}
