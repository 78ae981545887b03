package ring

import (
	"sync/atomic"

	"golang.org/x/sys/cpu"
)

// segmentSize is how many slots are made at a time. It bounds both what an idle window costs (one pointer per
// segment) and what its first use costs.
const segmentSize = 512

// Window is a ring from many producers to one consumer whose entries stay where they are, readable, until they are
// released: the retransmission window of a sender. Nothing is copied between a queue and a list of what may have to be
// sent again.
//
//	     head              the consumer's own         Published          tail
//	──────┼──────────────────────┼────────────────────────┼────────────────┼──────
//	free  │  sent, not released  │  published, not sent   │  claimed only  │  free
//
// Positions count entries since the start and never wrap in practice (2^64 entries). A producer claims a run, fills
// it and publishes it:
//
//	pos, got := w.Claim(len(vs))
//	for n := 0; n < got; {
//		n += copy(w.Slots(pos+uint64(n), got-n), vs[n:got])
//	}
//	w.Publish(pos, got)
//
// The consumer asks how far entries are published, reads them in place as often as it likes, and releases them:
//
//	end = w.Published(end)
//	for pos := sent; pos != end; {
//		s := w.Slots(pos, int(end-pos))
//		pos += uint64(len(s))
//	}
//	w.Release(acknowledged)
//
// Producers never wait for each other: each marks its own run, and the consumer hops from run to run. A claimed run
// must be published, though, since the consumer cannot pass it; a producer that changed its mind publishes values
// that mean nothing.
//
// Which methods are whose is said at each. The consumer is one goroutine at a time; the role may move when something
// (a mutex, say) orders the two. No method blocks.
type Window[T any] struct {
	_    cpu.CacheLinePad
	segs []atomic.Pointer[segment[T]] // made on first use, never removed
	mask uint64                       // capacity - 1

	_     cpu.CacheLinePad
	tail  atomic.Uint64 // the next position to claim
	limit atomic.Uint64 // head + capacity as some producer last saw it; the true one is this or further

	_    cpu.CacheLinePad
	head atomic.Uint64 // the first position not released; written by the consumer

	_ cpu.CacheLinePad
}

type segment[T any] struct {
	runs  []atomic.Uint64 // runs[i] is the mark of the run that starts at slots[i]
	slots []T
}

// NewWindow returns an empty window for capacity entries. It panics unless capacity is a power of two. The storage
// is made as it is first reached, in segments of 512 slots.
func NewWindow[T any](capacity int) *Window[T] {
	checkCapacity("NewWindow", capacity)
	w := new(Window[T])
	w.init(capacity)
	return w
}

func (w *Window[T]) init(capacity int) {
	w.segs = make([]atomic.Pointer[segment[T]], max(1, capacity/segmentSize))
	w.mask = uint64(capacity - 1)
	w.limit.Store(uint64(capacity))
}

// Claim reserves the next slots, at most n, and returns the position of the first and how many there are; 0 means that
// the window is full. The run is the caller's to fill (Slots) until it publishes it. Any goroutine; does not block.
func (w *Window[T]) Claim(n int) (pos uint64, got int) {
	if n < 1 {
		return w.tail.Load(), 0
	}
	for {
		// The order matters: head only grows, so a head loaded after tail proves that the window was full then.
		pos = w.tail.Load()
		seen := w.limit.Load()
		// Signed, as a slow producer may have put back an old limit, one behind the tail.
		room := int64(seen - pos)
		if room < int64(n) {
			limit := w.head.Load() + w.mask + 1
			if limit != seen {
				w.limit.Store(limit) // hands what head.Load observed on to limit.Load of the others
			}
			room = int64(limit - pos)
			if room == 0 {
				return pos, 0
			}
		}
		got = int(min(room, int64(n)))
		// Reserves the run. A pos or room that is out of date makes it fail, as tail never returns to a value.
		if w.tail.CompareAndSwap(pos, pos+uint64(got)) {
			return pos, got
		}
	}
}

// Slots returns the slots from pos on, at most n: fewer at the end of a segment or of the ring, so callers loop
// until they have n. A producer may ask for what it has claimed and not published, and write; the consumer for what
// is published and not released, and read or write. The slice is valid that long. Does not block.
//
// Preconditions: n ≥ 1.
func (w *Window[T]) Slots(pos uint64, n int) []T {
	i := pos & w.mask
	s := w.segs[i/segmentSize].Load()
	if s == nil {
		s = w.makeSegment(i / segmentSize)
	}
	from := int(i % segmentSize)
	to := from + min(n, len(s.slots)-from)
	return s.slots[from:to:to]
}

// Publish makes the n slots from pos on visible to the consumer, with one atomic store however many they are. A claim
// may be published in parts, in any order. After it the slots belong to the consumer. The goroutine that claimed
// them, or one ordered after it; does not block.
//
// Preconditions: all n were claimed, and none is published yet.
func (w *Window[T]) Publish(pos uint64, n int) {
	if n < 1 {
		return
	}
	if invariants {
		w.checkPublish(pos, n)
	}
	i := pos & w.mask
	s := w.segs[i/segmentSize].Load()
	if s == nil {
		s = w.makeSegment(i / segmentSize)
	}
	s.runs[i%segmentSize].Store(runMark(pos, n, w.mask)) // publishes the values of the whole run to runs.Load in Published
}

// Published returns the end of the region that is published without a gap. It starts looking at from, which is what it
// returned last, or 0 at first. Consumer only; does not block.
//
// Preconditions: from is the start of a run or the end of the last; nothing from there on is released.
func (w *Window[T]) Published(from uint64) uint64 {
	if invariants {
		w.checkPublished(from)
	}
	for {
		i := from & w.mask
		s := w.segs[i/segmentSize].Load()
		if s == nil {
			return from
		}
		n := runLength(s.runs[i%segmentSize].Load(), from, w.mask)
		if n == 0 {
			return from
		}
		from += n
	}
}

// Release zeroes the slots before to, so that the garbage collector can have what they pointed to, and gives them
// back to the producers. Consumer only; does not block.
//
// Preconditions: Head() ≤ to ≤ what Published returned last. It panics when to is not within a lap of Head().
func (w *Window[T]) Release(to uint64) {
	head := w.head.Load()
	if to-head > w.mask+1 {
		panic("ring: Window.Release: position outside the window")
	}
	if invariants {
		w.checkRelease(head, to)
	}
	if to == head {
		return
	}
	for head != to {
		s := w.Slots(head, int(to-head))
		clear(s)
		head += uint64(len(s))
	}
	w.head.Store(to) // hands the zeroed slots to head.Load in Claim
}

// Head returns the first position that is not released. Any goroutine; for all but the consumer it may be past by the
// time it is read.
func (w *Window[T]) Head() uint64 { return w.head.Load() }

// Tail returns the first position that is not claimed. Any goroutine; it may be past by the time it is read.
func (w *Window[T]) Tail() uint64 { return w.tail.Load() }

// Len returns how many slots are claimed and not released. Any goroutine; it may be past by the time it is read.
func (w *Window[T]) Len() int {
	head := w.head.Load()
	return between(head, w.tail.Load(), w.Cap())
}

// Cap returns the capacity. Any goroutine.
func (w *Window[T]) Cap() int { return int(w.mask) + 1 }

// makeSegment installs segment k. Of several goroutines that reach it first one wins, and the others take its segment.
func (w *Window[T]) makeSegment(k uint64) *segment[T] {
	size := min(w.Cap(), segmentSize)
	w.segs[k].CompareAndSwap(nil, &segment[T]{
		runs:  make([]atomic.Uint64, size),
		slots: make([]T, size),
	}) // publishes the zeroed segment to every segs.Load
	return w.segs[k].Load()
}
