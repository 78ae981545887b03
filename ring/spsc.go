package ring

import (
	"sync/atomic"

	"golang.org/x/sys/cpu"
)

// SPSC is a bounded queue from one producer to one consumer. At any moment at most one goroutine may be pushing and at
// most one popping; the role may move to another goroutine when something (a mutex, a channel) orders the two.
// No method blocks.
type SPSC[T any] struct {
	_     cpu.CacheLinePad
	slots []T
	mask  uint64

	_        cpu.CacheLinePad
	tail     atomic.Uint64 // written by the producer
	headSeen uint64        // producer only: the head it last loaded; the true one is this or further

	_        cpu.CacheLinePad
	head     atomic.Uint64 // written by the consumer
	tailSeen uint64        // consumer only: the tail it last loaded; the true one is this or further

	_ cpu.CacheLinePad
}

// NewSPSC returns an empty queue for capacity values. It panics unless capacity is a power of two.
func NewSPSC[T any](capacity int) *SPSC[T] {
	checkCapacity("NewSPSC", capacity)
	return &SPSC[T]{slots: make([]T, capacity), mask: uint64(capacity - 1)}
}

// Push appends v and reports whether there was room. Producer only; does not block.
func (q *SPSC[T]) Push(v T) bool {
	tail := q.tail.Load()
	if q.room(tail, 1) == 0 {
		return false
	}
	q.slots[tail&q.mask] = v
	q.tail.Store(tail + 1) // publishes v to tail.Load in available
	return true
}

// PushBatch appends as many of vs as there is room for, from the front, and returns how many that were. The consumer
// sees them all at once. Producer only; does not block.
func (q *SPSC[T]) PushBatch(vs []T) int {
	tail := q.tail.Load()
	n := min(len(vs), q.room(tail, len(vs)))
	if n == 0 {
		return 0
	}
	k := copy(q.slots[tail&q.mask:], vs[:n])
	copy(q.slots, vs[k:n])
	q.tail.Store(tail + uint64(n)) // publishes the n values to tail.Load in available
	return n
}

// Pop removes the oldest value; false means that the queue is empty. Consumer only; does not block.
func (q *SPSC[T]) Pop() (v T, ok bool) {
	head := q.head.Load()
	if q.available(head, 1) == 0 {
		return v, false
	}
	var zero T
	slot := &q.slots[head&q.mask]
	v, *slot = *slot, zero
	q.head.Store(head + 1) // hands the zeroed slot back to head.Load in room
	return v, true
}

// PopBatch moves the oldest values into dst, as many as there are and fit, and returns how many that were; 0 means that
// the queue is empty (or dst is). Consumer only; does not block.
func (q *SPSC[T]) PopBatch(dst []T) int {
	head := q.head.Load()
	n := min(len(dst), q.available(head, len(dst)))
	if n == 0 {
		return 0
	}
	first := q.slots[head&q.mask:]
	k := copy(dst[:n], first)
	clear(first[:k])
	clear(q.slots[:copy(dst[k:n], q.slots)])
	q.head.Store(head + uint64(n)) // hands the zeroed slots back to head.Load in room
	return n
}

// Len returns how many values are queued. Any goroutine; what it says may be past by the time it is read.
func (q *SPSC[T]) Len() int {
	head := q.head.Load()
	return between(head, q.tail.Load(), len(q.slots))
}

// Cap returns the capacity. Any goroutine.
func (q *SPSC[T]) Cap() int { return len(q.slots) }

// room returns how many slots are free at tail, looking at the consumer's index, and so at its cache line, only
// when what is known does not suffice for want.
func (q *SPSC[T]) room(tail uint64, want int) int {
	free := len(q.slots) - int(tail-q.headSeen)
	if free < want {
		q.headSeen = q.head.Load()
		free = len(q.slots) - int(tail-q.headSeen)
	}
	return free
}

// available is room's mirror image: how many values are queued at head.
func (q *SPSC[T]) available(head uint64, want int) int {
	n := int(q.tailSeen - head)
	if n < want {
		q.tailSeen = q.tail.Load()
		n = int(q.tailSeen - head)
	}
	return n
}
