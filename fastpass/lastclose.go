//go:build unix

package fastpass

import (
	"sync"
	"time"

	"example.com/fdpass/internal/sys"
)

const (
	// maxHeld is how many connections a lastCloser holds: as many as a busy worker is done with until the peer has polled
	// for acknowledgements (pollAfter) and closed its copies. It is never more than a sixteenth of the table.
	maxHeld = 64

	// holdFor is how long it holds one, at most, if no others come.
	holdFor = 25 * time.Millisecond
)

// lastCloser closes connections that came over a Framed link and have been shut down, but not at once: the peer is to
// close its copies first. Whoever closes the last one takes the connection apart, which costs as much as half of
// accepting it, and a front is one process, where workers are many. Those that are held are closed together.
//
// It does not point to the Passer, so that it can outlive it.
type lastCloser struct {
	reaper *reaper // for those that linger
	most   int     // how many are held
	mu     sync.Mutex
	closer sys.Closer
	held   []sys.Stream // the oldest first
	timer  *time.Timer  // runs while any is held; nil: there never was one
}

func newLastCloser(r *reaper) *lastCloser {
	return &lastCloser{reaper: r, closer: sys.Closer{Kernel: r.kernel}, most: min(maxHeld, r.kernel.SoftLimit()/16)}
}

// add closes s. It does not wait for any peer.
func (l *lastCloser) add(s sys.Stream) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.held = append(l.held, s)
	switch n := len(l.held); {
	case n > l.most:
		l.release((n + 1) / 2) // half of them, as the peer may still have the others
	case n > 1: // the timer runs
	case l.timer == nil:
		l.timer = time.AfterFunc(holdFor, l.releaseAll)
	default:
		l.timer.Reset(holdFor)
	}
}

// release closes the n oldest. The caller holds mu.
func (l *lastCloser) release(n int) {
	for _, s := range l.held[:n] {
		if s.Lingers() {
			l.reaper.add(int32(s.FD))
		} else {
			l.closer.Add(s.FD, s.Brief)
		}
	}
	l.closer.Flush()
	l.held = append(l.held[:0], l.held[n:]...)
}

// releaseAll is called by the timer.
func (l *lastCloser) releaseAll() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.release(len(l.held))
}
