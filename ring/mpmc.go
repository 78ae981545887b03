package ring

import (
	"sync/atomic"

	"golang.org/x/sys/cpu"
)

// MPMC is a bounded queue for any number of producers and consumers. Values of one producer come out in its order;
// between two producers the order is that of their claims. No method blocks.
//
// The two sides are mirror images. Each claims what the other has granted it, with one compare-and-swap for a whole run
// of slots, has the run to itself, and then grants it to the other side with one store: the producers grant filled
// slots to be emptied, the consumers emptied slots to be filled in the next lap.
type MPMC[T any] struct {
	_       cpu.CacheLinePad
	slots   []T
	toFill  grants // stored by consumers
	toEmpty grants // stored by producers

	_    cpu.CacheLinePad
	tail cursor // the producers'

	_    cpu.CacheLinePad
	head cursor // the consumers'

	_ cpu.CacheLinePad
}

// NewMPMC returns an empty queue for capacity values. It panics unless capacity is a power of two.
func NewMPMC[T any](capacity int) *MPMC[T] {
	checkCapacity("NewMPMC", capacity)
	q := &MPMC[T]{
		slots:   make([]T, capacity),
		toFill:  make(grants, capacity),
		toEmpty: make(grants, capacity),
	}
	q.tail.limit.Store(uint64(capacity))
	return q
}

// Push appends v and reports whether there was room. False means that the next slot is not free: the queue is full,
// or a consumer is just emptying that slot. Any goroutine; does not block.
func (q *MPMC[T]) Push(v T) bool {
	pos, n := q.tail.claim(1, q.toFill)
	if n == 0 {
		return false
	}
	q.slots[q.index(pos)] = v
	q.toEmpty.give(pos, 1)
	return true
}

// PushBatch appends values from the front of vs while there are free slots, and returns how many it took. They stand
// next to each other in the queue, and the consumers see them all at once. It stops at a slot that a consumer is just
// emptying, so that fewer than fit may be taken. Any goroutine; does not block.
func (q *MPMC[T]) PushBatch(vs []T) int {
	pos, n := q.tail.claim(len(vs), q.toFill)
	k := copy(q.slots[q.index(pos):], vs[:n])
	copy(q.slots, vs[k:n])
	q.toEmpty.give(pos, n)
	return n
}

// Pop removes the oldest value. False means that it is not there: the queue is empty, or a producer is just
// filling the next slot. Any goroutine; does not block.
func (q *MPMC[T]) Pop() (v T, ok bool) {
	pos, n := q.head.claim(1, q.toEmpty)
	if n == 0 {
		return v, false
	}
	var zero T
	slot := &q.slots[q.index(pos)]
	v, *slot = *slot, zero
	q.toFill.give(q.nextLap(pos), 1)
	return v, true
}

// PopBatch moves the oldest values into dst, as many as are there and fit, and returns how many that were. They stood
// next to each other in the queue. It stops at a slot that a producer is just filling. Any goroutine; does not block.
func (q *MPMC[T]) PopBatch(dst []T) int {
	pos, n := q.head.claim(len(dst), q.toEmpty)
	first := q.slots[q.index(pos):]
	k := copy(dst[:n], first)
	clear(first[:k])
	clear(q.slots[:copy(dst[k:n], q.slots)])
	q.toFill.give(q.nextLap(pos), n)
	return n
}

// Len returns how many values are queued, those counted that are just being filled. Any goroutine; what it says may be
// past by the time it is read.
func (q *MPMC[T]) Len() int {
	head := q.head.next.Load()
	return between(head, q.tail.next.Load(), len(q.slots))
}

// Cap returns the capacity. Any goroutine.
func (q *MPMC[T]) Cap() int { return len(q.slots) }

func (q *MPMC[T]) index(pos uint64) int { return int(pos & uint64(len(q.slots)-1)) }

func (q *MPMC[T]) nextLap(pos uint64) uint64 { return pos + uint64(len(q.slots)) }

// cursor is how far a side is. Everything before limit is granted to it, everything before next claimed; next never
// overtakes limit.
type cursor struct {
	next  atomic.Uint64 // the first position not claimed
	limit atomic.Uint64 // the end of what is granted without a gap, as the side last looked; the true one is this or further
}

// claim reserves the next positions that g grants, at most n, and returns the run, which is the caller's own.
func (c *cursor) claim(n int, g grants) (pos uint64, got int) {
	for {
		// The order matters: limit only grows, so it is not behind a next that was loaded before.
		pos = c.next.Load()
		limit := c.limit.Load()
		if limit-pos < uint64(n) {
			end := g.follow(limit)
			// What was found is told to the others before any of it is claimed: the marks behind next are stored
			// anew in the next lap, so that who hops from a limit behind it would not find its way.
			if end != limit && !c.limit.CompareAndSwap(limit, end) {
				continue
			}
			limit = end
		}
		got = int(min(limit-pos, uint64(n)))
		if got == 0 {
			// No grant at pos means full or empty only if nobody overtook: otherwise pos was the past.
			if c.next.Load() == pos {
				return pos, 0
			}
			continue
		}
		// Reserves the run. A limit or a missing grant that is out of date makes it fail or does no harm, as next never
		// returns to a value.
		if c.next.CompareAndSwap(pos, pos+uint64(got)) {
			return pos, got
		}
	}
}

// grants are the marks of the runs that one side has passed to the other.
type grants []atomic.Uint64

// give grants the n positions from pos on. The caller has claimed them (a lap before, if it is a consumer).
func (g grants) give(pos uint64, n int) {
	if n > 0 {
		mask := uint64(len(g) - 1)
		g[pos&mask].Store(runMark(pos, n, mask)) // publishes what was done to the slots of the run to Load in follow
	}
}

// follow hops from run to run and returns where the first gap is. It starts at pos, where a run begins or the gap is.
func (g grants) follow(pos uint64) uint64 {
	mask := uint64(len(g) - 1)
	for {
		n := runLength(g[pos&mask].Load(), pos, mask)
		if n == 0 {
			return pos
		}
		pos += n
	}
}
