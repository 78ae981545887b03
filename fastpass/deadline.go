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
	at      time.Time // what it is set to
	over    bool      // there is nothing to wake any more: late takes the timer's place
	set     int       // counts the settings, so that the timer of an earlier one does nothing
	late    atomic.Pointer[time.Time]
}

// passed reports whether the deadline has been reached.
func (d *deadline) passed() bool {
	if d.expired.Load() {
		return true
	}
	late := d.late.Load()
	return late != nil && !time.Now().Before(*late)
}

// reset moves the deadline to t, none if t is zero. When it is reached, now or later, wake is called.
func (d *deadline) reset(t time.Time, wake func()) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.stopTimer()
	d.set++
	d.at = t
	d.late.Store(nil)
	left := time.Until(t)
	d.expired.Store(!t.IsZero() && left <= 0)
	if d.expired.Load() {
		wake()
	} else if d.over {
		d.goByClock()
	} else if !t.IsZero() {
		set := d.set
		d.timer = time.AfterFunc(left, func() { d.fire(set, wake) })
	}
}

// stopTimer is for a caller that holds mu.
func (d *deadline) stopTimer() {
	if d.timer != nil {
		d.timer.Stop()
		d.timer = nil
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

// end stops the timer for good: it would keep what it wakes from the garbage collector until then. The deadline still
// holds, for what is left to be taken.
func (d *deadline) end() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.over = true
	d.stopTimer()
	d.goByClock()
}

// goByClock has passed ask the clock, where there is no timer any more. The caller holds mu.
func (d *deadline) goByClock() {
	if at := d.at; !at.IsZero() {
		d.late.Store(&at)
	}
}

// stop takes the deadline back. It wakes nobody.
func (d *deadline) stop() { d.reset(time.Time{}, nil) }
