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
	kernel    sys.Kernel
	clock     *clock // read before the caller looks
	spin      time.Duration
	start     time.Duration // when the caller began to look
	vain      int           // how often in a row there was nothing at first
	waits     int           // how often the caller had to wait
	looks     int           // in this wait
	park, gap int           // in which wait to park at once, and how many lie between it and the one before
	hurry     time.Duration // no yield before that
	dear      time.Duration // how many times as long as the last long yield took that is
	wary      time.Duration // until then the clock is read before a yield, too: one may have taken long
	exact     bool          // it was
	end       time.Duration // of that one
	timer     atomic.Bool   // the link has started one
}

const (
	sure      = 16                     // waits
	mostGap   = 1024                   // likewise
	dearYield = 100 * time.Microsecond // longer than a peer takes that only answers
	mostDear  = 20
	mostHurry = time.Second // a yield in which the whole process was stopped says nothing
)

// looksFirst reports whether to look before anything else: unless there was nothing then the last times, but for every
// sixteenth time all the same.
func (h *hesitation) looksFirst() bool { return h.vain < sure || h.waits%sure == 0 }

// saw is told whether there was something then, and returns it.
func (h *hesitation) saw(something bool) bool {
	if h.vain++; something {
		h.vain = 0
	}
	return something
}

// begin is called when there is nothing, as far as the caller knows, who may have looked.
func (h *hesitation) begin(looked bool) {
	h.start, h.looks = h.clock.now, 0
	if h.exact = looked || h.clock.now < h.wary; looked {
		h.looks++
	} else if h.exact {
		h.clock.read()
	}
	h.waits++
}

// again lets others go first, and reports whether to look again; if not, it is time to park.
func (h *hesitation) again() bool {
	if h.looks > 1 && h.clock.now-h.start >= h.spin {
		return false
	}
	h.looks++
	if h.timer.Load() && h.timer.Swap(false) {
		h.park, h.gap = h.waits, 0
	}
	if h.waits >= h.park {
		h.gap = min(4*h.gap+1, mostGap)
		h.park = h.waits + h.gap
		return false
	}
	if h.clock.now < h.hurry {
		return false
	}
	before := h.clock.now
	h.kernel.Yield()
	h.clock.read()
	took := h.clock.now - before
	if h.looks == 1 { // nothing was looked at before
		h.start = h.clock.now
	}
	if took > dearYield {
		h.judge(before, took)
	}
	h.exact = true // from now on
	return true
}

// judge is told when a yield began, and that it took long.
func (h *hesitation) judge(before, took time.Duration) {
	const single = 2 * mostDear // such a yield has none within so many times as long before it
	h.wary = h.clock.now + min(single*took, mostHurry)
	if !h.exact {
		return // before is when the last wait ended, and what took so long may have been the caller's own doing
	}
	if before-h.end > single*took {
		h.dear = 0
	}
	h.dear = min(2*h.dear+1, mostDear)
	h.hurry, h.end = h.clock.now+min(h.dear*took, mostHurry), h.clock.now
}
