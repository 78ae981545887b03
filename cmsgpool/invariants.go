//go:build invariants

package cmsgpool

import "sync/atomic"

// guard notices misuse of a Buffer. Atomic, because misuse is often a race.
type guard struct {
	pooled atomic.Bool
}

func (g *guard) put(words *[bufferWords]uint64) {
	if g.pooled.Swap(true) {
		panic("cmsgpool: Put: buffer put twice")
	}
	for i := range words {
		words[i] = ^uint64(0)
	}
}

func (g *guard) get() { g.pooled.Store(false) }

func (g *guard) check() {
	if g.pooled.Load() {
		panic("cmsgpool: buffer used after Put")
	}
}
