// Package page is the memory in which a receiver acknowledges to a sender without a system call. Both ends map it; the
// sender has made it, and looks at it whenever it sends.
//
// An acknowledgement is one compare-and-swap, and so is taking back what is not acknowledged: whoever comes first has
// the descriptors, at whatever instruction the other one is stopped or killed.
//
// Either end may be hostile. Whatever one writes, the other takes every value for a claim: the sender holds it against
// what it has sent, and the receiver against what it has written itself.
package page

import (
	"runtime"
	"sync/atomic"
)

// Size is how many bytes are mapped.
const Size = 4096

// Words is what lies in the memory: words of 64 bits in the byte order of the machine, each in cache lines of its own.
type Words struct {
	acked atomic.Uint64 // written by the receiver: every number below it has been taken; and fence, by the sender
	_     [120]byte
	limit atomic.Uint64 // written by the receiver: every number below it may be sent; and inUse
	_     [120]byte
	asked atomic.Uint64 // written by the sender, cleared by the receiver: one more than the target of Ask; 0: none
	_     [120]byte
	open  atomic.Int64 // written by the receiver: one more than the connections that it has open; 0: it does not count them
	_     [120]byte
	pulse atomic.Uint64 // written by the receiver: how often it has found that there is no room for more
}

const (
	fenced = 1 << 63 // in acked: nothing is acknowledged any more
	inUse  = 1 << 63 // in limit: the receiver acknowledges here
)

// Page is one end's view of the memory.
type Page struct {
	w     *Words
	alive func() bool
}

// Of returns a view of w, which stays in place as long as the Page is reachable. If alive is not nil, what is written
// while it returns false is not: a simulated process that has been killed writes nothing.
func Of(w *Words, alive func() bool) *Page { return &Page{w, alive} }

func (p *Page) dead() bool { return p.alive != nil && !p.alive() }

// Read returns what the receiver says: every number below acked is its application's, every number below limit may be
// sent. It is nothing yet, or never, unless used. Sender only.
func (p *Page) Read() (acked, limit uint64, used bool) {
	limit = p.w.limit.Load()
	acked = p.w.acked.Load()
	runtime.KeepAlive(p)
	return acked &^ fenced, limit &^ inUse, limit&inUse != 0
}

// InUse is the last result of Read. Without a page, where p is nil, it is false. Any goroutine of the sender.
func (p *Page) InUse() bool {
	if p == nil {
		return false
	}
	_, _, used := p.Read()
	return used
}

// Acked is the first result of Read. Any goroutine of the sender.
func (p *Page) Acked() uint64 {
	acked := p.w.acked.Load()
	runtime.KeepAlive(p)
	return acked &^ fenced
}

// Ask asks the receiver for an ACK frame when it next calls Grant and every number below target is acknowledged by
// then. The caller reads again after asking: what the receiver wrote before that, it wrote without being asked. Sender
// only.
func (p *Page) Ask(target uint64) {
	if v := target + 1; p.w.asked.Load() != v && !p.dead() {
		p.w.asked.Store(v)
	}
	runtime.KeepAlive(p)
}

// Fence ends acknowledging: what Read says from now on stays. Sender only.
func (p *Page) Fence() {
	if !p.dead() {
		p.w.acked.Or(fenced)
	}
	runtime.KeepAlive(p)
}

// Result is what became of an acknowledgement.
type Result int

const (
	Taken  Result = iota // the numbers are the receiver's
	Fenced               // the sender has taken them back
	Broken               // the sender has written what it must not
)

// Take acknowledges the numbers from..to-1, where from is what was acknowledged before. Receiver only.
func (p *Page) Take(from, to uint64) Result {
	defer runtime.KeepAlive(p)
	switch {
	case p.dead():
		return Fenced
	case p.w.acked.CompareAndSwap(from, to):
		return Taken
	case p.w.acked.Load()&fenced != 0:
		return Fenced
	}
	return Broken
}

// Grant lets every number below limit be sent. The first call tells the sender that this end acknowledges here.
// Receiver only.
func (p *Page) Grant(limit uint64) {
	if v := limit | inUse; !p.dead() && p.w.limit.Load() != v {
		p.w.limit.Store(v)
	}
	runtime.KeepAlive(p)
}

// Asked reports, once, whether the sender wants an ACK frame, now that every number below acked is acknowledged and
// Grant has been called. Receiver only.
func (p *Page) Asked(acked uint64) bool {
	defer runtime.KeepAlive(p)
	v := p.w.asked.Load()
	return v != 0 && acked >= v-1 && !p.dead() && p.w.asked.CompareAndSwap(v, 0)
}

// Opened counts n connections more that are open; n may be negative. The first call, which says that they are counted,
// is Opened(1+n). Where there is no page, p is nil and nothing is counted. Any goroutine of the receiver.
func (p *Page) Opened(n int) {
	if p != nil && !p.dead() {
		p.w.open.Add(int64(n))
	}
	runtime.KeepAlive(p)
}

// Open is how many connections the receiver says are open, and whether it counts them. Without a page, where p is nil,
// it does not. Any goroutine of the sender.
func (p *Page) Open() (n int, counted bool) {
	if p == nil {
		return 0, false
	}
	v := p.w.open.Load()
	runtime.KeepAlive(p)
	return int(min(max(v, 1)-1, maxOpen)), v > 0
}

const maxOpen = 1 << 30 // so that sums do not overflow

// Pulse says that this end lives, and waits for room. Without a page, where p is nil, it says nothing. Receiver only.
func (p *Page) Pulse() {
	if p != nil && !p.dead() {
		p.w.pulse.Add(1)
	}
	runtime.KeepAlive(p)
}

// Pulses changes with each Pulse. Without a page, where p is nil, it does not. Any goroutine of the sender.
func (p *Page) Pulses() uint64 {
	if p == nil {
		return 0
	}
	n := p.w.pulse.Load()
	runtime.KeepAlive(p)
	return n
}
