package growth

import (
	"runtime"
	"sync"
)

// way is how values get across.
type way interface {
	put(vs []uint64)          // all of them
	get(dst []uint64) (n int) // as many as there are; 0: none at present, or none any more
	end()                     // nothing more is put
}

// capacity is how many values wait at most.
const capacity = 1024

// queue moves values in batches: as many as there is room for, or as there are.
type queue interface {
	PushBatch([]uint64) int
	PopBatch([]uint64) int
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

// slices has as many slices as hold the capacity.
type slices struct{ full, empty chan []uint64 }

func newSlices(batch int) way {
	n := capacity / batch
	s := slices{make(chan []uint64, n), make(chan []uint64, n)}
	for range n {
		s.empty <- make([]uint64, 0, batch)
	}
	return s
}

func (s slices) put(vs []uint64) { s.full <- append((<-s.empty)[:0], vs...) }

func (s slices) get(dst []uint64) int {
	vs, ok := <-s.full
	if !ok {
		return 0
	}
	n := copy(dst, vs)
	s.empty <- vs
	return n
}

func (s slices) end() { close(s.full) }

// mutexQueue is the queue that one would write first.
type mutexQueue struct {
	mu         sync.Mutex
	slots      [capacity]uint64
	head, tail int
}

func newMutexQueue(int) way { return polled{new(mutexQueue)} }

func (q *mutexQueue) PushBatch(vs []uint64) int {
	q.mu.Lock()
	defer q.mu.Unlock()
	n := min(len(vs), capacity-(q.tail-q.head))
	k := copy(q.slots[q.tail%capacity:], vs[:n])
	copy(q.slots[:], vs[k:n])
	q.tail += n
	return n
}

func (q *mutexQueue) PopBatch(dst []uint64) int {
	q.mu.Lock()
	defer q.mu.Unlock()
	n := min(len(dst), q.tail-q.head)
	k := copy(dst[:n], q.slots[q.head%capacity:])
	copy(dst[k:n], q.slots[:])
	q.head += n
	return n
}
