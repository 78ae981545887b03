package cmsgpool

import (
	"math/bits"
	"sync/atomic"
)

// A Pool is a bounded free list of buffers. Unlike a sync.Pool it survives garbage
// collection, so a warm one never allocates, and it never keeps more than its bound.
//
// All methods may be called from any number of goroutines and do not block: a pool
// is lock-free, and under contention parks no one. (A parked goroutine would take an
// allocation too, now and then: the runtime's wait records are dropped by GC.)
//
// A nil Pool keeps nothing: Get allocates, and Put leaves the buffer to GC.
type Pool struct {
	groups []group
}

// group is 64 slots and two bit sets that say who may touch them. A slot whose bit is
// set in neither belongs to the goroutine that cleared it:
//
//	        Put takes the bit      Put stores, then sets the bit
//	empty ───────────────────► ∅ ───────────────────────────────► full
//	      ◄─────────────────── ∅ ◄───────────────────────────────
//	Get sets the bit                Get takes the bit, then loads
//
// A bit set is the whole state, so there is no ABA to guard against.
type group struct {
	full  atomic.Uint64
	empty atomic.Uint64
	slots [64]*Buffer
}

// New returns a Pool that keeps at most max buffers, and none if max ≤ 0. Buffers are
// made when first needed.
func New(max int) *Pool {
	if max <= 0 {
		return new(Pool)
	}
	p := &Pool{groups: make([]group, (max+63)/64)}
	for i := range p.groups {
		n := min(max-64*i, 64)
		p.groups[i].empty.Store(^uint64(0) >> (64 - n))
	}
	return p
}

// Get returns a buffer with arbitrary contents, from the pool if it has one and
// otherwise new, never nil. It is the caller's alone until it is put back. Not
// putting it back is no error; GC takes it.
func (p *Pool) Get() *Buffer {
	if p != nil {
		for i := range p.groups {
			g := &p.groups[i]
			if s, ok := take(&g.full); ok {
				b := g.slots[s]
				g.slots[s] = nil
				g.empty.Or(1 << s) // publishes the slot as free to the take in Put
				b.owned.get()
				return b
			}
		}
	}
	return new(Buffer)
}

// Put gives b back; the caller must not use it, or a view of it, afterwards. If the
// pool is full, b is left to GC. A nil b is ignored. Any Buffer may be put, also one
// that this pool did not make.
//
// Descriptors that b lists are not closed: they are numbers to it.
//
// With the build tag invariants, putting a buffer twice or using it after Put panics,
// and its contents become -1, so that a view kept by mistake shows no descriptor.
func (p *Pool) Put(b *Buffer) {
	if b == nil {
		return
	}
	b.owned.put(&b.words)
	if p == nil {
		return
	}
	for i := range p.groups {
		g := &p.groups[i]
		if s, ok := take(&g.empty); ok {
			g.slots[s] = b
			g.full.Or(1 << s) // publishes the slot and b's contents to the take in Get
			return
		}
	}
}

// take clears the lowest set bit of set and returns its number; false if there is
// none. It sees what was published by the Or that set the bit.
func take(set *atomic.Uint64) (int, bool) {
	for s := set.Load(); s != 0; {
		bit := s & -s
		old := set.And(^bit)
		if old&bit != 0 {
			return bits.TrailingZeros64(bit), true
		}
		s = old // another goroutine was faster
	}
	return 0, false
}
