//go:build unix

package fastpass

import (
	"math"
	"sync/atomic"
	"time"
)

const (
	// manyPolls is after how many polls the pause between them grows no more, and the sender stops polling if there is
	// nothing new, and asks for a frame.
	manyPolls = 2

	// pollSeldom is how soon a sender polls all the same if somebody waits: the kernel may refuse to take the frame,
	// and the peer is not in Recv any more when it would.
	pollSeldom = 100 * time.Millisecond
)

// ackPolls is when a link's page is polled (see ackPoller), as its flusher knows it.
type ackPolls struct {
	own      *ackPoller                // nil where there is no page
	pool     atomic.Pointer[ackPoller] // to be shared
	alone    atomic.Bool               // something that was queued may take long to close
	poller   *ackPoller                // who has been told to poll; nil: nobody
	within   time.Duration             // poller was told to do it within this time
	due      atomic.Bool               // it is time
	count    int                       // how often it was time since something was sent, up to manyPolls
	seq      uint64                    // how much was sent when the flusher looked last
	progress uint64                    // that, and how much of it was acknowledged, when it was time last
	heeded   uint64                    // one more than progress when await last found news; 0: never
}

// pause is how long it is to the next poll.
func (l *ackPolls) pause() time.Duration { return pollAfter << (2 * l.count) }

// await sees to it that acknowledgements to come are read: when there are enough, if somebody waits for them, and
// otherwise soon. It reports whether there is something new by now.
func (o *outbox) await() bool {
	if o.page == nil || !o.established.Load() || o.p.ending.Load() != nil {
		return false
	}
	target, urgent := o.waitsFor()
	if !urgent && o.flow.InFlight() == 0 {
		return false
	}
	progress := o.flow.Seq() + o.acked.Load()
	idle := o.countPoll(progress)
	switch {
	case !idle:
		o.pollIn(o.polls.pause())
	case urgent:
		o.pollIn(pollSeldom)
	}
	if idle { // whatever the peer says next is news
		target = min(target, o.acked.Load()+1)
	}
	return (urgent || idle) && o.ask(target, progress)
}

// waitsFor is up to which number somebody waits for acknowledgements now, or math.MaxUint64 and false. Who waits for
// credit waits for whatever the peer says next.
func (o *outbox) waitsFor() (target uint64, urgent bool) {
	acked := o.acked.Load()
	switch {
	case o.sent != o.end && o.flow.Allowance() == 0:
		return acked, true
	case o.flow.InFlight() == 0:
	case o.closing.Load() || o.awaited.Load():
		return o.flow.Seq(), true
	case !o.hasMuchRoom() && (o.waiters.all.Load() > 0 || o.onFreed.Load() != nil):
		return min(acked+uint64(max(1, o.window.Len()-o.muchRoom())), o.flow.Seq()), true
	}
	return math.MaxUint64, false
}

// poolWaits reports whether a pool may wait for room, or until all is delivered.
func (o *outbox) poolWaits() bool {
	return o.awaited.Load() || o.onFreed.Load() != nil && !o.hasMuchRoom()
}

// countPoll notes that the flusher has looked at the page, and how much progress it has found. It reports whether the
// timer has had it look often enough without anything new.
func (o *outbox) countPoll(progress uint64) (idle bool) {
	l, seq := &o.polls, o.flow.Seq()
	sent := int(seq - l.seq) // less than 0 if it is to send again
	if l.seq = seq; sent > 0 {
		l.count = 0
	}
	if !l.due.Swap(false) {
		o.ackPoller().noteSend(sent)
		return false
	}
	l.poller = nil
	l.count = min(l.count+1, manyPolls)
	idle, l.progress = l.count == manyPolls && progress == l.progress, progress
	return idle
}

// ask asks the peer, in the page, for an ACK frame once it has acknowledged up to target. It reports whether the page
// has news already: what the peer wrote before it was asked, it wrote without sending a frame.
func (o *outbox) ask(target, progress uint64) bool {
	o.page.Ask(target)
	acked, limit, used := o.page.Read()
	if !used && !o.paged || acked == o.acked.Load() && limit == o.limit {
		return false
	}
	l := &o.polls
	if l.heeded == progress+1 {
		// It has said something new before, and nothing has come of it. A peer may go on like that for ever.
		o.pollIn(pollAfter)
		return false
	}
	l.heeded = progress + 1
	return true
}

// pollIn has the page polled after d at the latest, if not by the timer.
func (o *outbox) pollIn(d time.Duration) {
	l, out := &o.polls, o.ackPoller()
	if l.poller == out && l.within <= d {
		return
	}
	if l.poller != nil && l.poller != out {
		l.poller.cancel(o)
	}
	l.poller, l.within = out, d
	if out.schedule(o, d) {
		o.p.in.role.spinner.timerStarted.Store(true)
	}
}

// ackPoller is the one that polls o.
func (o *outbox) ackPoller() *ackPoller {
	if shared := o.polls.pool.Load(); shared != nil && !o.mayHoldUp() {
		return shared
	}
	return o.polls.own
}
