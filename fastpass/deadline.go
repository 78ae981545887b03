package fastpass

import (
	"sync"
	"sync/atomic"
	"time"
)

// deadline is a point in time after which a kind of call fails. The zero value is none.
type deadline struct {
	expired atomic.Bool
	mu      sync.Mutex
	timer   *time.Timer
	over    bool // there is nothing to wake any more
	set     int  // counts the settings, so that the timer of an earlier one does nothing
}

// passed reports whether the deadline has been reached.
func (d *deadline) passed() bool { return d.expired.Load() }

// reset moves the deadline to t, none if t is zero. When it is reached, now or later, wake is called.
func (d *deadline) reset(t time.Time, wake func()) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.timer != nil {
		d.timer.Stop()
		d.timer = nil
	}
	d.set++
	left := time.Until(t)
	d.expired.Store(!t.IsZero() && left <= 0)
	if d.expired.Load() {
		wake()
	} else if !t.IsZero() && !d.over {
		set := d.set
		d.timer = time.AfterFunc(left, func() { d.fire(set, wake) })
	}
}

func (d *deadline) fire(set int, wake func()) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.set == set {
		d.expired.Store(true)
		wake()
	}
}

// end stops the timer for good: it would keep what it wakes from the garbage collector until then.
func (d *deadline) end() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.over = true
	if d.timer != nil {
		d.timer.Stop()
		d.timer = nil
	}
}

func (d *deadline) stop() { d.reset(time.Time{}, nil) }
