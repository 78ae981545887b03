package growth

import (
	"runtime"
	"sync"
	"sync/atomic"

	"example.com/fdpass/ring"
)

// way is how values get across.
type way interface {
	put(vs []uint64)          // all of them
	get(dst []uint64) (n int) // as many as there are, at least one; 0: none any more (polled: or none at present)
	end()                     // nothing more is put
}

// capacity is how many values wait at most.
const capacity = 1024

// queue moves values in batches: as many as there is room for, or as there are.
type queue interface {
	PushBatch([]uint64) int
	PopBatch([]uint64) int
}

// waiting is a queue whose users wait where it is full or empty, as those of a channel do.
type waiting struct {
	queue
	room, some ring.Event
	over       atomic.Bool
}

func (w *waiting) put(vs []uint64) {
	for len(vs) > 0 {
		n := w.PushBatch(vs)
		if n == 0 {
			w.room.Wait(func() bool { n = w.PushBatch(vs); return n > 0 })
		}
		w.some.Notify()
		vs = vs[n:]
	}
}

func (w *waiting) get(dst []uint64) int {
	n := w.PopBatch(dst)
	if n == 0 {
		w.some.Wait(func() bool {
			over := w.over.Load() // before looking: what was put before the end is there
			n = w.PopBatch(dst)
			return n > 0 || over
		})
	}
	w.room.Notify()
	return n
}

func (w *waiting) end() {
	w.over.Store(true)
	w.some.Notify()
}

// polled is a queue whose users yield where it is full or empty.
type polled struct{ queue }

func (p polled) put(vs []uint64) {
	for len(vs) > 0 {
		n := p.PushBatch(vs)
		if n == 0 {
			runtime.Gosched()
		}
		vs = vs[n:]
	}
}

func (p polled) get(dst []uint64) int {
	n := p.PopBatch(dst)
	if n == 0 {
		runtime.Gosched()
	}
	return n
}

func (p polled) end() {}

type channel chan uint64

func newChannel(int) way { return make(channel, capacity) }

func (c channel) put(vs []uint64) {
	for _, v := range vs {
		c <- v
	}
}

func (c channel) get(dst []uint64) (n int) {
	v, ok := <-c
	if !ok {
		return 0
	}
	dst[0] = v
	return 1
}

func (c channel) end() { close(c) }

// lentSlices has as many slices as hold the capacity.
type lentSlices struct{ full, empty chan []uint64 }

func newLentSlices(batch int) way {
	n := capacity / batch
	s := lentSlices{make(chan []uint64, n), make(chan []uint64, n)}
	for range n {
		s.empty <- make([]uint64, 0, batch)
	}
	return s
}

func (s lentSlices) put(vs []uint64) { s.full <- append((<-s.empty)[:0], vs...) }

func (s lentSlices) get(dst []uint64) int {
	vs, ok := <-s.full
	if !ok {
		return 0
	}
	n := copy(dst, vs)
	s.empty <- vs
	return n
}

func (s lentSlices) end() { close(s.full) }

// mutexQueue is the queue that one would write first.
type mutexQueue struct {
	mu         sync.Mutex
	room, some sync.Cond
	slots      [capacity]uint64
	head, tail int
	over       bool
}

func newMutexQueue(int) way {
	q := new(mutexQueue)
	q.room.L, q.some.L = &q.mu, &q.mu
	return q
}

func (q *mutexQueue) put(vs []uint64) {
	q.mu.Lock()
	defer q.mu.Unlock()
	for len(vs) > 0 {
		for q.tail-q.head == capacity {
			q.room.Wait()
		}
		n := min(len(vs), capacity-(q.tail-q.head))
		k := copy(q.slots[q.tail%capacity:], vs[:n])
		copy(q.slots[:], vs[k:n])
		q.tail += n
		q.some.Signal()
		vs = vs[n:]
	}
}

func (q *mutexQueue) get(dst []uint64) int {
	q.mu.Lock()
	defer q.mu.Unlock()
	for q.head == q.tail && !q.over {
		q.some.Wait()
	}
	n := min(len(dst), q.tail-q.head)
	k := copy(dst[:n], q.slots[q.head%capacity:])
	copy(dst[k:n], q.slots[:])
	q.head += n
	q.room.Signal()
	return n
}

func (q *mutexQueue) end() {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.over = true
	q.some.Broadcast()
}
