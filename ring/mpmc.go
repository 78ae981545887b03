package ring

import (
	"math/bits"
	"sync/atomic"

	"golang.org/x/sys/cpu"
)

// MPMC is a bounded queue for any number of producers and consumers. Values of one producer come out in its order;
// between two producers the order is that of their claims. No method blocks.
//
// A cell takes turns. In lap n it is free at turn 2n, filled at turn 2n+1, and at turn 2n+2 free for the next lap.
// Whoever finds the turn right for a run of cells moves the cursor past them with one compare-and-swap, and has them
// to itself until it stores the next turn. The check may come before the claim because only a claim can end a turn,
// and a cursor that has not moved has granted none.
type MPMC[T any] struct {
	_     cpu.CacheLinePad
	cells []cell[T]
	mask  uint64
	shift uint // log2 of the capacity: position >> shift is the lap

	_    cpu.CacheLinePad
	tail atomic.Uint64 // the next position to fill

	_    cpu.CacheLinePad
	head atomic.Uint64 // the next position to empty

	_ cpu.CacheLinePad
}

type cell[T any] struct {
	turn  atomic.Uint64
	value T
}

// The states of a cell, as turns since the lap began.
const (
	free    = 0
	filled  = 1
	emptied = 2 // free in the next lap
)

// NewMPMC returns an empty queue for capacity values. It panics unless capacity is a power of two.
func NewMPMC[T any](capacity int) *MPMC[T] {
	checkCapacity("NewMPMC", capacity)
	return &MPMC[T]{
		cells: make([]cell[T], capacity),
		mask:  uint64(capacity - 1),
		shift: uint(bits.TrailingZeros(uint(capacity))),
	}
}

// Push appends v and reports whether there was room. False means that the next cell is not free: the queue is full,
// or a consumer is just emptying that cell. Any goroutine; does not block.
func (q *MPMC[T]) Push(v T) bool {
	pos, n := q.claim(&q.tail, free, 1)
	if n == 0 {
		return false
	}
	q.cells[pos&q.mask].value = v
	q.pass(pos, filled, 1)
	return true
}

// PushBatch appends values from the front of vs while there are free cells, and returns how many it took. They stand
// next to each other in the queue. It stops at a cell that a consumer is just emptying, so that fewer than fit may
// be taken. Any goroutine; does not block.
func (q *MPMC[T]) PushBatch(vs []T) int {
	pos, n := q.claim(&q.tail, free, len(vs))
	for i, v := range vs[:n] {
		q.cells[(pos+uint64(i))&q.mask].value = v
	}
	q.pass(pos, filled, n)
	return n
}

// Pop removes the oldest value. False means that it is not there: the queue is empty, or a producer is just
// filling the next cell. Any goroutine; does not block.
func (q *MPMC[T]) Pop() (v T, ok bool) {
	pos, n := q.claim(&q.head, filled, 1)
	if n == 0 {
		return v, false
	}
	v = q.take(pos)
	q.pass(pos, emptied, 1)
	return v, true
}

// PopBatch moves the oldest values into dst, as many as are there and fit, and returns how many that were. They stood
// next to each other in the queue. It stops at a cell that a producer is just filling. Any goroutine; does not block.
func (q *MPMC[T]) PopBatch(dst []T) int {
	pos, n := q.claim(&q.head, filled, len(dst))
	for i := range dst[:n] {
		dst[i] = q.take(pos + uint64(i))
	}
	q.pass(pos, emptied, n)
	return n
}

// Len returns how many values are queued, those counted that are just being filled. Any goroutine; what it says may be
// past by the time it is read.
func (q *MPMC[T]) Len() int {
	head := q.head.Load()
	return between(head, q.tail.Load(), len(q.cells))
}

// Cap returns the capacity. Any goroutine.
func (q *MPMC[T]) Cap() int { return len(q.cells) }

// claim moves the cursor over up to n cells that are in the given state and returns the run, now the caller's own.
func (q *MPMC[T]) claim(cursor *atomic.Uint64, state uint64, n int) (pos uint64, got int) {
	for {
		pos = cursor.Load()
		got = q.ready(pos, state, n)
		if got > 0 {
			if cursor.CompareAndSwap(pos, pos+uint64(got)) {
				return pos, got
			}
			continue
		}
		// A cell that is not ready means full or empty only if nobody overtook: otherwise pos was the past.
		if cursor.Load() == pos {
			return pos, 0
		}
	}
}

// ready counts the cells from pos on, at most n, that are in the given state. It stops by itself after one lap, where
// the turn it expects is two further than the cell's.
func (q *MPMC[T]) ready(pos, state uint64, n int) int {
	for i := range n {
		p := pos + uint64(i)
		if q.cells[p&q.mask].turn.Load() != q.turn(p, state) {
			return i
		}
	}
	return n
}

// pass ends the caller's turn with a run of cells, the last one first: the other side finds the first cell ready only
// when all are, and takes the run in one piece instead of chasing the caller from cell to cell over the same
// cache lines.
func (q *MPMC[T]) pass(pos, state uint64, n int) {
	for i := n - 1; i >= 0; i-- {
		p := pos + uint64(i)
		// filled: publishes the value to turn.Load of a consumer. emptied: hands the zeroed cell to that of a producer.
		q.cells[p&q.mask].turn.Store(q.turn(p, state))
	}
}

// take moves the value out of a claimed cell.
func (q *MPMC[T]) take(pos uint64) (v T) {
	var zero T
	c := &q.cells[pos&q.mask]
	v, c.value = c.value, zero
	return v
}

func (q *MPMC[T]) turn(pos, state uint64) uint64 { return pos>>q.shift*2 + state }
