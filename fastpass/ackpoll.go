//go:build unix

package fastpass

import (
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

const (
	// pollAfter is how soon acknowledgements are read that nobody waits for, to close the copies of what the peer has,
	// if nothing is sent meanwhile; and then after four times as long, and so on: what took the peer long may take
	// longer here. Where a process has just become idle the timer costs more than all else, so each poll counts.
	pollAfter = time.Millisecond

	// pollAtMost is what the timer's pause grows to while those who send poll as often as that anyhow.
	pollAtMost = 32 * pollAfter

	// callsPerPoll is how many times somebody sends, or finds nothing to send, before asking the clock whether it is
	// time to poll.
	callsPerPoll = 8
)

// ackPoller has flushers look for acknowledgements on their pages although they have nothing to send. A link has its
// own until it joins a pool, whose links share one: with many workers each gets little, and a timer for each of them
// would cost more than passing.
//
// A timer that ends wakes two threads of the Go runtime, the one that waits for it and the monitor, which takes as long
// as to pass ten connections (50 µs of processor time on a virtual machine). So whoever sends over one of the links has
// all of them polled that are due, and the timer's pause grows meanwhile: it is for the time when nobody sends any
// more.
//
// What a poll finds is done on the goroutine that polls, as far as that holds up nobody: see flushLightly. A link with
// callbacks, or with copies to close that Serve has not accepted, for those may linger, has an ackPoller of its own.
type ackPoller struct {
	calls atomic.Uint32 // since the timer ended last

	mu        sync.Mutex
	links     []pollDue
	timer     *time.Timer
	timerEnds time.Time // zero: the timer does not run
	lastEnd   time.Time // when the timer ended last
	pause     backoff
}

// pollDue says when a link is to be polled.
type pollDue struct {
	o  *outbox
	at time.Time
}

func newAckPoller() *ackPoller {
	return &ackPoller{pause: backoff{first: pollAfter, most: pollAtMost}}
}

// schedule has o polled when d has passed, and no more when an earlier call has said. It reports whether the timer had
// to be set for that.
func (l *ackPoller) schedule(o *outbox, d time.Duration) bool {
	now := time.Now()
	l.mu.Lock()
	defer l.mu.Unlock()
	l.remove(o)
	l.links = append(l.links, pollDue{o, now.Add(d)})
	return l.setTimer(now, d)
}

// cancel takes back what schedule was told of o.
func (l *ackPoller) cancel(o *outbox) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.remove(o); len(l.links) == 0 && l.timer != nil {
		l.timer.Stop()
		l.timerEnds = time.Time{}
	}
}

func (l *ackPoller) remove(o *outbox) {
	l.links = slices.DeleteFunc(l.links, func(d pollDue) bool { return d.o == o })
}

// setTimer has the timer end after d, or sooner, but for its pause. The caller holds mu.
func (l *ackPoller) setTimer(now time.Time, d time.Duration) bool {
	if l.timerEnds.IsZero() && now.Sub(l.lastEnd) > pollAfter { // nobody has needed it
		l.pause.reset()
		l.pause.next()
	}
	d = inOneWait(max(d, l.pause.last))
	ends := now.Add(d)
	if !l.timerEnds.IsZero() && !ends.Before(l.timerEnds) {
		return false
	}
	if l.timerEnds = ends; l.timer == nil {
		l.timer = time.AfterFunc(d, l.fire)
	} else {
		l.timer.Reset(d)
	}
	return true
}

// overMillisecond is how much longer than whole milliseconds the pause of a timer is best: a thread of the Go runtime
// that has nothing to do waits for the next timer with epoll_wait, for whole milliseconds, rounded down, and what it
// comes back too early for it waits for once more. To wake twice costs twice as much, and it is a millisecond late.
// This is more than it takes from starting the timer to waiting, mostly, and less than the kernel takes longer over
// each wait (up to 50 µs). No other pause is as long: of two timers that end at once a simulated run could not say
// which comes first.
const overMillisecond = 20 * time.Microsecond

// inOneWait is the least pause from d on that the runtime most probably waits for in one go.
func inOneWait(d time.Duration) time.Duration {
	whole := (d - overMillisecond + time.Millisecond - 1).Truncate(time.Millisecond)
	return max(whole, time.Millisecond) + overMillisecond
}

// fire is called by the timer.
func (l *ackPoller) fire() {
	calls := l.calls.Swap(0)
	l.mu.Lock()
	if time.Duration(calls)*pollAfter < l.pause.last {
		l.pause.reset()
	}
	l.pause.next()
	l.timerEnds, l.lastEnd = time.Time{}, time.Now()
	l.mu.Unlock()
	l.poll()
	l.mu.Lock()
	now := time.Now()
	for _, d := range l.links {
		l.setTimer(now, d.at.Sub(now))
	}
	l.mu.Unlock()
}

// noteSend is told that the flusher of one of the links has looked, after it has sent n descriptors. Who sends many at
// once comes back later: that counts for several calls.
func (l *ackPoller) noteSend(n int) {
	calls := uint32(min(max(1, n/8), callsPerPoll))
	if l.calls.Add(calls)%callsPerPoll < calls {
		l.poll()
	}
}

// poll polls the links that are due, or almost.
func (l *ackPoller) poll() {
	var few [32]*outbox
	for n := len(few); n == len(few); {
		n = 0
		now := time.Now().Add(pollAfter / 2)
		l.mu.Lock()
		l.links = slices.DeleteFunc(l.links, func(d pollDue) bool {
			if n == len(few) || d.at.After(now) {
				return false
			}
			few[n] = d.o
			n++
			return true
		})
		l.mu.Unlock()
		for _, o := range few[:n] {
			o.polls.due.Store(true) // first of all: whoever sends over it sees that as well
		}
		for _, o := range few[:n] {
			o.flushLightly()
		}
	}
}
