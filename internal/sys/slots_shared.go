//go:build unix

package sys

import (
	"sync"
	"sync/atomic"
)

// Slots is how the links of a process share the free slots of its descriptor table. A link whose peer does not send
// again what is lost looks how many slots are free, and then receives no more descriptors than that. From the look to
// the end of the receive it holds the lock: the others see the same slots free, and two could take the same ones. While
// there is such a link all others hold the lock while they receive.
//
// With the lock held nobody waits for anything else, closes what may take long, or calls the application.
type Slots struct {
	sync.Mutex
	Taken uint64 // changes whenever a link takes slots; guarded by the mutex

	lookers atomic.Int32
}

// Looker is a link that looks before it receives.
type Looker struct {
	slots *Slots
	left  atomic.Bool
}

// NewLooker says that there is one more.
func (s *Slots) NewLooker() *Looker {
	s.lookers.Add(1) // read by LookedAt
	return &Looker{slots: s}
}

// Leave says that it receives no more. It may be called twice.
func (l *Looker) Leave() {
	if !l.left.Swap(true) {
		l.slots.lookers.Add(-1)
	}
}

// LookedAt reports whether there is a Looker.
func (s *Slots) LookedAt() bool { return s.lookers.Load() > 0 }
