package ring

import (
	"sync"
	"sync/atomic"
)

// Event parks goroutines until something has happened, and costs who makes it happen one atomic load when nobody is
// parked. The zero value is ready to use. It must not be copied.
//
// It knows nothing of what it waits for: state lives elsewhere, in a ring, say, and Wait is given a function that
// looks at it. A full and an empty side take one Event each; so does a deadline (time.AfterFunc that sets a flag and
// notifies) or a shutdown, both of which ready then looks at as well.
//
// No wake-up is lost. The waiter arms the event and then looks at the state; the notifier changes the state and then
// looks whether the event is armed. Whatever order these four operations took, one of the two saw the other (Dekker):
//
//   - The waiter saw the new state. It does not park.
//   - The notifier found the event armed. It takes the mutex, which the waiter holds from before it looks until it is on
//     the list of those to be woken. So the notifier either comes first, and then the waiter sees the new state, or it
//     finds the waiter on the list.
//
// A notifier disarms the event as it wakes everybody. Until one of the woken has run, found nothing and armed it anew,
// further notifiers pass at the price of that load.
type Event struct {
	armed atomic.Bool // somebody may be parked, or be about to; written under mu
	mu    sync.Mutex
	cond  sync.Cond // L is set by the first waiter, which is what makes the zero value usable
}

// Wait blocks until ready returns true; at once if it does so at first. Any number of goroutines may wait.
//
// ready is called with an internal mutex held, by one waiter at a time: it must be cheap, must not block and must not
// call Notify on the same Event. It must look at its state through atomics (as the rings' methods do) or under a lock
// that the one who changes the state holds too. As calls of ready exclude each other, it may take what it waits for,
// a value from an MPMC queue for example.
func (e *Event) Wait(ready func() bool) {
	e.mu.Lock()
	defer e.mu.Unlock() // also when ready panics
	if e.cond.L == nil {
		// Only once, as who wakes up reads it before it has the mutex.
		e.cond.L = &e.mu
	}
	for !ready() {
		e.armed.Store(true) // announces to armed.Load in Notify that ready is about to look
		if ready() {
			return // still armed, which costs the next Notify the mutex and no more
		}
		e.cond.Wait()
	}
}

// Notify makes all waiters call ready again. Call it after the change, not before. Any goroutine, also one that holds
// locks, as long as no ready function takes them; it blocks no longer than the ready functions take.
func (e *Event) Notify() {
	if !e.armed.Load() {
		return
	}
	e.mu.Lock()
	e.armed.Store(false)
	e.cond.Broadcast()
	e.mu.Unlock()
}
