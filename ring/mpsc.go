package ring

import "golang.org/x/sys/cpu"

// MPSC is a bounded queue from any number of producers to one consumer. Values of one producer come out in its order;
// between two producers the order is that of their claims. It is a [Window] whose entries are released as they are
// read. No method blocks.
type MPSC[T any] struct {
	window    Window[T]
	published uint64 // consumer only: what Window.Published returned last
	_         cpu.CacheLinePad
}

// NewMPSC returns an empty queue for capacity values. It panics unless capacity is a power of two. Like a Window it
// makes its storage as it is first reached.
func NewMPSC[T any](capacity int) *MPSC[T] {
	checkCapacity("NewMPSC", capacity)
	q := new(MPSC[T])
	q.window.init(capacity)
	return q
}

// Push appends v and reports whether there was room. Any goroutine; does not block.
func (q *MPSC[T]) Push(v T) bool {
	pos, got := q.window.Claim(1)
	if got == 0 {
		return false
	}
	q.window.Slots(pos, 1)[0] = v
	q.window.Publish(pos, 1)
	return true
}

// PushBatch appends as many of vs as there is room for, from the front, and returns how many that were. They stand
// next to each other in the queue, and the consumer sees them all at once. Any goroutine; does not block.
func (q *MPSC[T]) PushBatch(vs []T) int {
	pos, got := q.window.Claim(len(vs))
	for n := 0; n < got; {
		n += copy(q.window.Slots(pos+uint64(n), got-n), vs[n:got])
	}
	q.window.Publish(pos, got)
	return got
}

// Pop removes the oldest value. False means that it is not there: the queue is empty, or a producer is just filling
// the next slot. Consumer only; does not block.
func (q *MPSC[T]) Pop() (v T, ok bool) {
	head := q.window.Head()
	if q.available(head, 1) == 0 {
		return v, false
	}
	v = q.window.Slots(head, 1)[0]
	q.window.Release(head + 1)
	return v, true
}

// PopBatch moves the oldest values into dst, as many as are there and fit, and returns how many that were. It stops at
// a slot that a producer is just filling. Consumer only; does not block.
func (q *MPSC[T]) PopBatch(dst []T) int {
	head := q.window.Head()
	got := min(len(dst), q.available(head, len(dst)))
	for n := 0; n < got; {
		n += copy(dst[n:got], q.window.Slots(head+uint64(n), got-n))
	}
	q.window.Release(head + uint64(got))
	return got
}

// Len returns how many values are queued, those counted that are just being filled. Any goroutine; what it says may be
// past by the time it is read.
func (q *MPSC[T]) Len() int { return q.window.Len() }

// Cap returns the capacity. Any goroutine.
func (q *MPSC[T]) Cap() int { return q.window.Cap() }

// available returns how many values are published from head on, looking at the producers' marks only when those
// known do not suffice for want.
func (q *MPSC[T]) available(head uint64, want int) int {
	if int(q.published-head) < want {
		q.published = q.window.Published(q.published)
	}
	return int(q.published - head)
}
