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
// No wake-up is lost. The waiter counts itself in and then looks at the state; the notifier changes the state and
// then looks at the count. Whatever order these four operations took, one of the two saw the other (Dekker):
//
//   - The waiter saw the new state. It does not park.
//   - The notifier saw the waiter. It takes the mutex, which the waiter holds from before it looks until it is on
//     the list of those to be woken. So the notifier either comes first, and then the waiter sees the new state, or it
//     finds the waiter on the list.
type Event struct {
	waiters atomic.Int32
	mu      sync.Mutex
	cond    sync.Cond // L is set by the first waiter, which is what makes the zero value usable
}

// Wait blocks until ready returns true; at once if it does so at first. Any number of goroutines may wait.
//
// ready is called with an internal mutex held, by one waiter at a time: it must be cheap, must not block and must not
// call Notify on the same Event. It must look at its state through atomics (as the rings' methods do) or under a lock
// that the one who changes the state holds too. As calls of ready exclude each other, it may take what it waits for,
// a value from an MPMC queue for example.
func (e *Event) Wait(ready func() bool) {
	e.waiters.Add(1) // announces to waiters.Load in Notify that ready is about to look
	e.mu.Lock()
	defer e.leave() // also when ready panics
	if e.cond.L == nil {
		// Only once, as who wakes up reads it before it has the mutex.
		e.cond.L = &e.mu
	}
	for !ready() {
		e.cond.Wait()
	}
}

func (e *Event) leave() {
	e.mu.Unlock()
	e.waiters.Add(-1)
}

// Notify makes all waiters call ready again. Call it after the change, not before. Any goroutine, also one that holds
// locks, as long as no ready function takes them; it blocks no longer than the ready functions take.
func (e *Event) Notify() {
	if e.waiters.Load() == 0 {
		return
	}
	e.mu.Lock()
	e.cond.Broadcast()
	e.mu.Unlock()
}
