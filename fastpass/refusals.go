//go:build unix

package fastpass

import (
	"sync"
	"sync/atomic"
	"syscall"
)

// refusals remembers the last descriptors that the kernel refused, by window position, so that the Send which queued
// one can return the error.
type refusals struct {
	total atomic.Uint64
	mu    sync.Mutex
	last  [64]struct {
		pos uint64
		err error
	}
}

func (e *entry) refusal() error { return &DescError{int(e.fd), syscall.Errno(e.refused)} }

func (r *refusals) add(pos uint64, err error) {
	r.mu.Lock()
	l := &r.last[r.total.Load()%uint64(len(r.last))]
	l.pos, l.err = pos, err
	r.total.Add(1)
	r.mu.Unlock()
}

// find returns the first refusal among the n positions from pos on, nil if none of them is known to be refused.
func (r *refusals) find(pos uint64, n int) error {
	if r.total.Load() == 0 {
		return nil
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	var first error
	at := pos + uint64(n)
	for i := range r.last {
		if l := &r.last[i]; l.err != nil && l.pos >= pos && l.pos < at {
			first, at = l.err, l.pos
		}
	}
	return first
}
