//go:build unix

package fastpass

import (
	"sync/atomic"
	"time"

	"example.com/fdpass/cmsgpool"
	"example.com/fdpass/internal/sys"
)

const (
	// maxCredit is how many descriptors a receiver lets be in flight to it: enough to keep both ends busy.
	maxCredit = 16 << 10

	// unaskedCredit is how many it lets come before the application has asked for any.
	unaskedCredit = 1 << 10

	// probeFor is how long the result of a probe counts. Others, too, open descriptors meanwhile.
	probeFor = 10 * time.Millisecond

	// certainFor is how long it is relied on: in that time somebody may lower the limit.
	certainFor = time.Millisecond

	// minMargin is how many slots must at least be left over by a receive that does not peek first: other threads would
	// have to open that many descriptors during one system call. To peek costs a fifth.
	minMargin = 4096
)

// slotEstimate is how many free slots the table of descriptors has, as far as it is known: so many more can be taken
// in. A probe is at least one system call. So its result is used until it is old, or a quarter of those slots is taken,
// or, where a probe is cheap, as many as a full call takes. What is closed meanwhile is not seen before that.
type slotEstimate struct {
	kernel       sys.Kernel
	clock        *clock        // read just now for certain, and not long ago for available
	source       int           // any open descriptor
	shared       *sys.Slots    // for lock
	taken        uint64        // shared.Taken at the last unlock
	initialLimit int           // the soft limit when the link was made
	cheap        bool          // a probe is: see probeIsCheap
	minMargin    int           // where a probe is cheap; otherwise there is no margin
	processors   int           // how many descriptors may be opened at the same moment
	asked        atomic.Bool   // the application has called Recv
	free         int           // slots at the last probe
	used         int           // of them, since then
	probedLimit  int           // the soft limit at the last probe
	margin       int           // slots that must be left over by a receive that does not peek first
	probedAt     time.Duration // when that was, on the clock
	noneUntil    time.Duration // there is no room before
	doubt        bool          // descriptors were lost although the probe saw room, and nothing has come in since
	pause        backoff       // how long to wait before trying again
}

// creditLimit is how many descriptors may be in flight at most, room or not.
func (s *slotEstimate) creditLimit() int {
	if s.asked.Load() {
		return maxCredit
	}
	return unaskedCredit
}

// available is how many descriptors there is room for, as far as one can know.
func (s *slotEstimate) available() int {
	if s.clock.now < s.noneUntil {
		return 0
	}
	most := s.free / 4
	if s.cheap {
		most = min(most, fullCall)
	}
	if s.used >= most || s.clock.now-s.probedAt > probeFor {
		lookedAt := s.shared.LookedAt()
		if lookedAt { // a probe may take slots for a moment
			s.shared.Lock()
		}
		s.free, s.used, s.probedAt = s.kernel.FreeSlots(s.source, s.creditLimit()), 0, s.clock.now
		if lookedAt {
			s.shared.Unlock()
		}
	}
	return min(s.creditLimit(), s.free-s.used)
}

// lock has no other link of the process take slots until unlock.
func (s *slotEstimate) lock() {
	if !s.shared.TryLock() {
		s.shared.Lock()
		s.clock.read()
	}
	if s.taken != s.shared.Taken {
		s.free = 0 // another has taken some since
	}
}

// unlock says whether slots were taken.
func (s *slotEstimate) unlock(some bool) {
	if some {
		s.shared.Taken++
	}
	s.taken = s.shared.Taken
	s.shared.Unlock()
}

// certain is how many descriptors there is surely room for now; more than want need not be looked for. The result of
// the last probe counts as long as it is enough for want, or for one message where a probe is not cheap. Since then
// others may have opened some, but no faster than the processors can, and during the call that receives no more than
// the margin. After a shortage nothing is certain until something has come in. The caller holds the lock.
func (s *slotEstimate) certain(want int) int {
	if s.doubt {
		return 0
	}
	enough, limit := want, s.probedLimit
	if !s.cheap { // no margin: a lowered limit counts at once
		enough, want = cmsgpool.MaxFDs, min(want, fullCall)
		limit = s.kernel.SoftLimit()
	}
	const fastest = 50 * time.Nanosecond // what installing one takes, at the least
	if age := s.clock.now - s.probedAt; s.free > 0 && age < certainFor && limit == s.probedLimit {
		others := int(age/fastest) * s.processors
		if left := s.free - s.used - others - s.margin; left >= enough {
			return left
		}
	}
	if s.cheap {
		limit = s.kernel.SoftLimit()
		s.margin = max(s.minMargin, limit/4)
	}
	s.probedLimit = limit
	s.free, s.used, s.probedAt = s.kernel.FreeSlots(s.source, want+s.margin), 0, s.clock.now
	return max(s.free-s.margin, 0)
}

// truncated notes that a message did not come in whole for lack of room, and returns how long to wait until there might
// be some.
func (s *slotEstimate) truncated() time.Duration {
	s.free, s.doubt = 0, true
	return s.none()
}

// none notes that there is not enough room, and returns how long to wait until there might be.
func (s *slotEstimate) none() time.Duration {
	pause := s.pause.next()
	s.noneUntil = s.clock.now + pause
	return pause
}

// waits reports whether what there is, if anything, waits for room.
func (s *slotEstimate) waits() bool { return s.doubt || s.clock.now < s.noneUntil }

// cameWhole notes that a message came in whole.
func (s *slotEstimate) cameWhole() {
	s.pause.reset()
	s.doubt = false
}
