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
// With Config.Spin this goes on for a while.
//
// A thread that computes and never waits would keep the processor for milliseconds, where who is woken comes before it.
// After a yield that took long there is none for twenty times as long, so that hardly a twentieth of the time is lost.
//
// The Go runtime keeps a thread in epoll_wait while others run, if a timer was started or another descriptor is waited for, and each
// message wakes that one, too. Parking puts the caller in its place. So after the link has started a timer, and
// once in a while, a caller parks at once.
type hesitation struct {
	kernel     sys.Kernel
	spin       time.Duration
	start, now time.Time
	waits      int         // how often there was nothing
	looks      int         // since
	hurry      time.Time   // no yield before that
	timer      atomic.Bool // the link has started one
}

const parkEvery = 128 // waits

const dearYield = 100 * time.Microsecond // longer than a peer takes that only answers

// begin is called when there is nothing.
func (h *hesitation) begin() {
	h.start = time.Now()
	h.now, h.looks = h.start, 0
	h.waits++
}

// again lets others go first, and reports whether to look again; if not, it is time to park.
func (h *hesitation) again() bool {
	if h.looks++; h.looks > 1 && h.now.Sub(h.start) >= h.spin {
		return false
	}
	if h.timer.Load() && h.timer.Swap(false) || h.waits%parkEvery == 0 || h.now.Before(h.hurry) {
		return false
	}
	before := h.now
	h.kernel.Yield()
	h.now = time.Now()
	if took := h.now.Sub(before); took > dearYield {
		h.hurry = h.now.Add(20 * took)
	}
	return true
}
