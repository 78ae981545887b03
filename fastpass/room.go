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

	maxCPU = 1 << 10
)

// room estimates how many more descriptors this process can take in. The probe is a system call or two, if not more, so its result is
// used until a quarter of it is taken, or a full call where it is cheap, or it is old: what was closed meanwhile is not seen before.
type room struct {
	kernel     sys.Kernel
	clock      *clock        // certain relies on its having been read just now, left on not long ago
	source     int           // any open descriptor
	initial    int           // the limit when the link was made
	least      int           // the least margin; 0: none
	processors int           // how many descriptors may be opened at the same moment
	asked      atomic.Bool   // the application has called Recv
	free       int           // at the last probe
	used       int           // of them, since
	ceiling    int           // the limit then
	margin     int           // slots that must remain free for what is not looked at first, judging by the limit then
	at         time.Duration // on the clock
	hold       time.Duration // no room before: descriptors were lost although the probe saw room
	doubt      bool          // that happened, and nothing has come in since
	pause      backoff       // how long to wait before trying again
}

// limit is how many descriptors may come at most, room or not.
func (r *room) limit() int {
	if r.asked.Load() {
		return maxCredit
	}
	return unaskedCredit
}

// left is how many descriptors there is room for, as far as one can know.
func (r *room) left() int {
	if r.clock.now < r.hold {
		return 0
	}
	most := r.free / 4
	if r.least > 0 { // it does not take long to find out
		most = min(most, fullCall)
	}
	if r.used >= most || r.clock.now-r.at > probeFor {
		r.free, r.used, r.at = r.kernel.FreeSlots(r.source, r.limit()), 0, r.clock.now
	}
	return min(r.limit(), r.free-r.used)
}

// certain is how many descriptors there is surely room for now, if not more than want. What is known counts as long as it is
// enough, or enough for a message where there is no margin, because it takes long to find out. Since the probe others may
// have opened some, but no faster than the processors can, and during the call that receives no more than the margin.
// After a shortage nothing is certain until something has come in.
func (r *room) certain(want int) int {
	if r.doubt {
		return 0
	}
	enough, ceiling := want, r.ceiling
	if r.least == 0 { // no margin: a lowered limit counts at once
		enough, want = cmsgpool.MaxFDs, min(want, fullCall)
		ceiling = r.kernel.SoftLimit()
	}
	const fastest = 50 * time.Nanosecond // what installing one takes, at the least
	if age := r.clock.now - r.at; r.free > 0 && age < certainFor && ceiling == r.ceiling {
		others := int(age/fastest) * min(r.processors, maxCPU)
		if left := r.free - r.used - others - r.margin; left >= enough {
			return left
		}
	}
	if r.least > 0 {
		ceiling = r.kernel.SoftLimit()
		r.margin = max(r.least, ceiling/4)
	}
	r.ceiling = ceiling
	r.free, r.used, r.at = r.kernel.FreeSlots(r.source, want+r.margin), 0, r.clock.now
	return max(r.free-r.margin, 0)
}

// short notes that a message did not come in whole for want of room, and returns how long to wait until there might be
// some.
func (r *room) short() time.Duration {
	pause := r.pause.next()
	r.free, r.doubt = 0, true
	r.hold = r.clock.now + pause
	return pause
}

// came notes that a message came in whole.
func (r *room) came() {
	r.pause.reset()
	r.doubt = false
}
