//go:build unix

package fastpass

import (
	"math"
	"runtime"
	"time"

	"example.com/fdpass/internal/sys"
)

const (
	// maxCredit is how many descriptors a receiver lets be in flight to it: enough to keep both ends busy.
	maxCredit = 16 << 10

	// unaskedCredit is how many it lets come before the application has asked for any.
	unaskedCredit = 1 << 10

	// probeFor is how long the result of a probe counts. Others, too, open descriptors meanwhile.
	probeFor = 10 * time.Millisecond

	maxCPU = 1 << 10

	minPause = time.Millisecond
	maxPause = 50 * time.Millisecond
)

// room estimates how many more descriptors this process can take in. The probe is a system call or two, so its result is
// used until a quarter of it is taken or it is old.
type room struct {
	kernel  sys.Kernel
	source  int  // any open descriptor
	asked   bool // the application has called Recv
	free    int  // at the last probe
	used    int  // of them, since
	ceiling int  // the limit then
	at      time.Time
	hold    time.Time     // no room before: descriptors were lost although the probe saw room
	doubt   bool          // that happened, and nothing has come in since
	pause   time.Duration // how long to wait before trying again
}

// limit is how many descriptors may come at most, room or not.
func (r *room) limit() int {
	if r.asked {
		return maxCredit
	}
	return unaskedCredit
}

// left is how many descriptors there is room for, as far as one can know.
func (r *room) left() int {
	now := time.Now()
	if now.Before(r.hold) {
		return 0
	}
	if 4*r.used >= r.free || now.Sub(r.at) > probeFor {
		r.free, r.used, r.at = r.kernel.FreeSlots(r.source, r.limit()), 0, now
	}
	return min(r.limit(), r.free-r.used)
}

// certain is how many descriptors there is surely room for now, if not more than want. Since the probe others may have
// opened some, but no faster than the processors can. After a shortage nothing is certain until something has come in.
func (r *room) certain(want int) int {
	if r.doubt {
		return 0
	}
	const fastest = 50 * time.Nanosecond // what installing one takes, at the least
	ceiling := r.kernel.SoftLimit()
	if r.free > 0 && ceiling == r.ceiling {
		others := int(min(time.Since(r.at)/fastest, math.MaxInt32/maxCPU)) * min(runtime.NumCPU(), maxCPU)
		if left := r.free - r.used - others; left >= want {
			return left
		}
	}
	r.free, r.used, r.at = r.kernel.FreeSlots(r.source, want), 0, time.Now()
	r.ceiling = ceiling
	return r.free
}

// short notes that descriptors were lost for want of room.
func (r *room) short() {
	r.free, r.doubt = 0, true
	r.hold = time.Now().Add(r.nextPause())
}

// nextPause is how long to wait before looking again: twice as long each time until something comes in.
func (r *room) nextPause() time.Duration {
	r.pause = min(max(2*r.pause, minPause), maxPause)
	return r.pause
}

// came notes that a message came in whole.
func (r *room) came() { r.pause, r.doubt = 0, false }
