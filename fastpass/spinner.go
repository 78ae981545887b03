//go:build unix

package fastpass

import (
	"sync/atomic"
	"time"

	"example.com/fdpass/internal/sys"
)

// spinner says what a caller of Recv that has found nothing does before it parks. To park and to be woken takes longer
// than the kernel needs to pass a descriptor: as long again on the same processor, and some ten times as long where an
// idle one has to be woken.
//
// So the caller first yields the processor to other threads, and looks once more. If the peer runs on the same one, it
// answers meanwhile, and neither parks; if it does not, nobody else wants the processor, and the call costs next to
// nothing. With Config.Spin this goes on for a while. Where the first look was in vain many times in a row, the caller
// yields without having looked: a look in vain takes a twentieth of the time there and back.
//
// A thread that computes and never waits would keep the processor for milliseconds, whereas a thread that is woken is
// scheduled before it. So after a long yield there is none for as long again, and for longer each time that another one
// follows soon. A single one, as when the scheduler moves a thread, then costs little, and a thread that computes
// hardly a twentieth of the time. To read the clock takes as long as to parse a message. So before a yield it is read
// only for a while after two readings lay far apart.
//
// The Go runtime keeps a thread in epoll_wait while others run, if a timer was started or another descriptor is waited
// for, and each message wakes that thread, too. Parking puts the caller in its place. So after the link has started a
// timer a caller parks at once, again soon, in case it came before that thread did, and then ever more rarely.
type spinner struct {
	kernel          sys.Kernel
	clock           *clock // read before the caller looks
	spin            time.Duration
	start           time.Duration // when the caller began to look
	misses          int           // how often in a row the first look found nothing
	waits           int           // how often the caller had to wait
	tries           int           // looks in this wait
	parkAt          int           // in this wait the caller parks at once
	parkGap         int           // how many waits lie between that one and the last in which it did
	noYieldUntil    time.Duration // there is no yield before that
	penalty         time.Duration // noYieldUntil is so many times as far ahead as the last long yield took
	timeYieldsUntil time.Duration // until then the clock is read before a yield, too: one may have taken long
	timed           bool          // it has been read for the next one
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
func (s *spinner) triesFirst() bool { return s.misses < enoughMisses || s.waits%enoughMisses == 0 }

// saw is told whether there was something then, and returns it.
func (s *spinner) saw(something bool) bool {
	if s.misses++; something {
		s.misses = 0
	}
	return something
}

// begin begins a wait. The caller has found nothing, or, if it has not looked, expects to find nothing.
func (s *spinner) begin(looked bool) {
	s.start, s.tries = s.clock.now, 0
	if s.timed = looked || s.clock.now < s.timeYieldsUntil; looked {
		s.tries++
	} else if s.timed {
		s.clock.read()
	}
	s.waits++
}

// again yields, and reports whether to look again; if not, it is time to park.
func (s *spinner) again() bool {
	if s.tries > 1 && s.clock.now-s.start >= s.spin {
		return false
	}
	s.tries++
	if s.timerStarted.Load() && s.timerStarted.Swap(false) {
		s.parkAt, s.parkGap = s.waits, 0
	}
	if s.waits >= s.parkAt {
		s.parkGap = min(4*s.parkGap+1, maxParkGap)
		s.parkAt = s.waits + s.parkGap
		return false
	}
	if s.clock.now < s.noYieldUntil {
		return false
	}
	before := s.clock.now
	s.kernel.Yield()
	s.clock.read()
	took := s.clock.now - before
	if s.tries == 1 { // nothing was looked at before
		s.start = s.clock.now
	}
	if took > longYield {
		s.noteLongYield(before, took)
	}
	s.timed = true // from now on
	return true
}

// noteLongYield is told when a yield began, and that it took long.
func (s *spinner) noteLongYield(before, took time.Duration) {
	const single = 2 * maxPenalty // a yield is a single one if none has ended within so many times its length before it
	s.timeYieldsUntil = s.clock.now + min(single*took, maxNoYield)
	if !s.timed {
		return // before is when the last wait ended, and what took so long may have been the caller's own doing
	}
	if before-s.lastLongYield > single*took {
		s.penalty = 0
	}
	s.penalty = min(2*s.penalty+1, maxPenalty)
	s.noYieldUntil, s.lastLongYield = s.clock.now+min(s.penalty*took, maxNoYield), s.clock.now
}
