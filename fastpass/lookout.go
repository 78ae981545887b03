//go:build unix

package fastpass

import (
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

const (
	// lookAfter is how soon acknowledgements are read that nobody waits for, to close the copies of what the peer has, if
	// nothing is sent meanwhile; and then after four times as long, and so on: what took the peer long may take longer here. Where
	// a process has just become idle the timer costs more than all else, so each look counts.
	lookAfter = time.Millisecond

	// manyLooks is after how many of them the pause grows no more, and the sender stops looking, if there is nothing
	// new, and asks for a frame.
	manyLooks = 2

	// lookAtMost is what the timer's pause grows to while those who send look as often as that anyhow.
	lookAtMost = 32 * lookAfter

	// lookSeldom is how soon a sender looks all the same if somebody waits: the kernel may refuse to take the frame, and the peer is
	// not in Recv any more when it would.
	lookSeldom = 100 * time.Millisecond

	// callsPerLook is how many times somebody sends, or finds nothing to send, before asking the clock whether it is time to look.
	callsPerLook = 8
)

// lookout has flushers look for acknowledgements although they have nothing to send. A link has its own until it joins a
// pool, whose links share one: with many workers each gets little, and a timer for each of them would cost more than passing.
//
// A timer that ends wakes two threads of the Go runtime, the one that waits for it and the monitor, which takes as long as to
// pass ten connections (50 µs of processor time on a virtual machine). So whoever sends over one of the links has all of them
// looked at that are due, and the timer's pause grows meanwhile: it is for the time when nobody sends any more.
//
// What a look finds is done on the goroutine that looks. So a link shares a lookout only while that holds up nobody: it has no
// callbacks, and copies to close only of connections that Serve has accepted, for others may linger.
type lookout struct {
	calls atomic.Uint32 // since the timer ended last

	mu    sync.Mutex
	links []due
	timer *time.Timer
	ends  time.Time // zero: the timer does not run
	ended time.Time // when it did last
	pause backoff
}

// due says when a link is to be looked at.
type due struct {
	o  *outbox
	at time.Time
}

func newLookout() *lookout {
	return &lookout{pause: backoff{first: lookAfter, most: lookAtMost}}
}

// after has o looked at when d has passed, and no more when an earlier call has said. It reports whether the timer had to be set for that.
func (l *lookout) after(o *outbox, d time.Duration) bool {
	now := time.Now()
	l.mu.Lock()
	defer l.mu.Unlock()
	l.remove(o)
	l.links = append(l.links, due{o, now.Add(d)})
	return l.set(now, d)
}

// forget takes back what after was told of o.
func (l *lookout) forget(o *outbox) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.remove(o); len(l.links) == 0 && l.timer != nil {
		l.timer.Stop()
		l.ends = time.Time{}
	}
}

func (l *lookout) remove(o *outbox) {
	l.links = slices.DeleteFunc(l.links, func(d due) bool { return d.o == o })
}

// set has the timer end after d, or sooner, but for its pause. The caller holds mu.
func (l *lookout) set(now time.Time, d time.Duration) bool {
	if l.ends.IsZero() && now.Sub(l.ended) > lookAfter { // nobody has needed it
		l.pause.reset()
		l.pause.next()
	}
	d = inOneWait(max(d, l.pause.last))
	ends := now.Add(d)
	if !l.ends.IsZero() && !ends.Before(l.ends) {
		return false
	}
	if l.ends = ends; l.timer == nil {
		l.timer = time.AfterFunc(d, l.fire)
	} else {
		l.timer.Reset(d)
	}
	return true
}

// overMillisecond is how much longer than whole milliseconds the pause of a timer is best: a thread of the Go runtime that has
// nothing to do waits for the next timer with epoll_wait, for whole milliseconds, rounded down, and what it comes back too early for it
// waits for once more. To wake twice costs twice as much, and it is a millisecond late. This is more than it takes from starting the timer
// to waiting, mostly, and less than the kernel takes longer over each wait (up to 50 µs). No other pause is as long: of two timers that
// end at once a simulated run could not say which comes first.
const overMillisecond = 20 * time.Microsecond

// inOneWait is the least pause from d on that the runtime most probably waits for in one go.
func inOneWait(d time.Duration) time.Duration {
	whole := (d - overMillisecond + time.Millisecond - 1).Truncate(time.Millisecond)
	return max(whole, time.Millisecond) + overMillisecond
}

// fire is called by the timer.
func (l *lookout) fire() {
	calls := l.calls.Swap(0)
	l.mu.Lock()
	if time.Duration(calls)*lookAfter < l.pause.last {
		l.pause.reset()
	}
	l.pause.next()
	l.ends, l.ended = time.Time{}, time.Now()
	l.mu.Unlock()
	l.look()
	l.mu.Lock()
	now := time.Now()
	for _, d := range l.links {
		l.set(now, d.at.Sub(now))
	}
	l.mu.Unlock()
}

// called is told that the flusher of one of the links has looked, after it has sent n descriptors. Who sends many at once
// comes back later: that counts for several calls.
func (l *lookout) called(n int) {
	calls := uint32(min(max(1, n/8), callsPerLook))
	if l.calls.Add(calls)%callsPerLook < calls {
		l.look()
	}
}

// look has the links looked at that are due, or almost.
func (l *lookout) look() {
	var few [32]*outbox
	for n := len(few); n == len(few); {
		n = 0
		now := time.Now().Add(lookAfter / 2)
		l.mu.Lock()
		l.links = slices.DeleteFunc(l.links, func(d due) bool {
			if n == len(few) || d.at.After(now) {
				return false
			}
			few[n] = d.o
			n++
			return true
		})
		l.mu.Unlock()
		for _, o := range few[:n] {
			o.looks.due.Store(true) // first of all: whoever sends over it sees that as well
		}
		for _, o := range few[:n] {
			o.flush()
		}
	}
}

// looks is when a link is looked at, as its flusher knows it.
type looks struct {
	own      *lookout                // nil where there is no page
	pool     atomic.Pointer[lookout] // to be shared
	alone    atomic.Bool             // something that was queued may take long to close
	by       *lookout                // who has been told; nil: nobody
	within   time.Duration           // it was told so
	due      atomic.Bool             // it is time
	count    int                     // how often it was since something was sent, up to manyLooks
	seq      uint64                  // how much was sent when the flusher looked last
	progress uint64                  // and seen of it when it was time last
	heeded   uint64                  // one more than progress when await last found news; 0: never
}

// pause is how long it is to the next look.
func (l *looks) pause() time.Duration { return lookAfter << (2 * l.count) }

// lookout is the one that looks at o.
func (o *outbox) lookout() *lookout {
	c := &o.p.cfg
	if shared := o.looks.pool.Load(); shared != nil && !o.looks.alone.Load() && c.OnSent == nil && c.OnRefused == nil {
		return shared
	}
	return o.looks.own
}
