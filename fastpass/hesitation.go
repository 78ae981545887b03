//go:build unix

package fastpass

import (
	"sync/atomic"
	"time"

	"example.com/fdpass/internal/sys"
)

// hesitation is what a caller of Recv does before parking who has found nothing. To park and to be woken takes longer than
// the kernel needs to pass a descriptor: as long again on the same processor, and some ten times that if an idle one is woken.
//
// So the caller first lets other threads have the processor, and looks once more. If the peer runs on the same one, it
// answers meanwhile, and neither parks; if it does not, there is nobody to go first, and the call costs next to nothing.
// With Config.Spin this goes on for a while. Where there was nothing at first so often that there will be nothing this time,
// the caller lets others go first without having looked: to look in vain takes a twentieth of the time there and back.
//
// A thread that computes and never waits would keep the processor for milliseconds, where who is woken comes before it.
// After a yield that took long there is none for as long again, and for longer each time that one does soon after: a
// single one, as when the scheduler moves a thread, costs little, and such a thread hardly a twentieth of the time. To read the clock before
// each yield as well as after it would take as long as to parse a message, so that is done only for a while after there was a long time
// between two readings.
//
// The Go runtime keeps a thread in epoll_wait while others run, if a timer was started or another descriptor is waited for, and each
// message wakes that one, too. Parking puts the caller in its place. So after the link has started a timer a caller parks at
// once, again soon, in case it came before that thread did, and then ever more rarely.
type hesitation struct {
	kernel          sys.Kernel
	clock           *clock // read before the caller looks
	spin            time.Duration
	start           time.Duration // when the caller began to look
	misses          int           // how often in a row the first look found nothing
	waits           int           // how often the caller had to wait
	tries           int           // looks in this wait
	parkAt          int           // in this wait the caller parks at once
	parkGap         int           // how many waits lie between that and the one before
	noYieldUntil    time.Duration // there is no yield before that
	penalty         time.Duration // how many times as long as the last long yield took noYieldUntil is after it
	timeYieldsUntil time.Duration // until then the clock is read before a yield, too: one may have taken long
	timed           bool          // it was read before the next one
	lastLongYield   time.Duration // when the last long yield ended
	timerStarted    atomic.Bool   // the link has started a timer
}

const (
	enoughMisses = 16                     // in a row: then only one wait in as many begins with a look
	maxParkGap   = 1024                   // waits
	longYield    = 100 * time.Microsecond // longer than a peer takes that only answers
	maxPenalty   = 20
	maxNoYield   = time.Second // a yield in which the whole process was stopped says nothing
)

// triesFirst reports whether to look before anything else: unless there was nothing then the last times, but for every
// sixteenth time all the same.
func (h *hesitation) triesFirst() bool { return h.misses < enoughMisses || h.waits%enoughMisses == 0 }

// saw is told whether there was something then, and returns it.
func (h *hesitation) saw(something bool) bool {
	if h.misses++; something {
		h.misses = 0
	}
	return something
}

// begin is called when there is nothing, as far as the caller knows, who may have looked.
func (h *hesitation) begin(looked bool) {
	h.start, h.tries = h.clock.now, 0
	if h.timed = looked || h.clock.now < h.timeYieldsUntil; looked {
		h.tries++
	} else if h.timed {
		h.clock.read()
	}
	h.waits++
}

// again lets others go first, and reports whether to look again; if not, it is time to park.
func (h *hesitation) again() bool {
	if h.tries > 1 && h.clock.now-h.start >= h.spin {
		return false
	}
	h.tries++
	if h.timerStarted.Load() && h.timerStarted.Swap(false) {
		h.parkAt, h.parkGap = h.waits, 0
	}
	if h.waits >= h.parkAt {
		h.parkGap = min(4*h.parkGap+1, maxParkGap)
		h.parkAt = h.waits + h.parkGap
		return false
	}
	if h.clock.now < h.noYieldUntil {
		return false
	}
	before := h.clock.now
	h.kernel.Yield()
	h.clock.read()
	took := h.clock.now - before
	if h.tries == 1 { // nothing was looked at before
		h.start = h.clock.now
	}
	if took > longYield {
		h.noteLongYield(before, took)
	}
	h.timed = true // from now on
	return true
}

// noteLongYield is told when a yield began, and that it took long.
func (h *hesitation) noteLongYield(before, took time.Duration) {
	const single = 2 * maxPenalty // such a yield has none within so many times as long before it
	h.timeYieldsUntil = h.clock.now + min(single*took, maxNoYield)
	if !h.timed {
		return // before is when the last wait ended, and what took so long may have been the caller's own doing
	}
	if before-h.lastLongYield > single*took {
		h.penalty = 0
	}
	h.penalty = min(2*h.penalty+1, maxPenalty)
	h.noYieldUntil, h.lastLongYield = h.clock.now+min(h.penalty*took, maxNoYield), h.clock.now
}
