//go:build unix && (!linux || fdpass_portable)

package sys

import (
	"runtime"
	"sync"

	"golang.org/x/sys/unix"
)

// pollTells is false where poll(2) says POLLNVAL of descriptors that are open: on macOS of devices.
const pollTells = runtime.GOOS != "darwin"

// FreeSlots implements Kernel.
func (*system) FreeSlots(source, want int) int {
	if pollTells {
		if n, ok := probeByPoll(source, want); ok {
			return n
		}
	}
	return probeByDup(source, want)
}

// numbers are those that one call of poll asks for.
var numbers struct {
	sync.Mutex
	fds [maxProbe]unix.PollFd
}

// probeByPoll counts the numbers below the limit that are not open, from the top down, until it has found want: poll(2)
// says POLLNVAL of each, for a thousand in one call. To ask for a thousand takes a quarter of the time of trying 253,
// and no slot from others. It returns false where it cannot tell.
func probeByPoll(source, want int) (free int, ok bool) {
	limit := System.SoftLimit()
	// The number of descriptors may be limited further than RLIMIT_NOFILE says: then this is no number that can be had.
	fd, err := unix.FcntlInt(uintptr(source), unix.F_DUPFD_CLOEXEC, limit-1)
	if err == nil {
		closeFD(fd)
	} else if err != unix.EMFILE {
		return 0, false
	}
	numbers.Lock()
	defer numbers.Unlock()
	for top := limit; top > 0 && free < want; top -= maxProbe {
		fds := numbers.fds[:min(top, maxProbe)]
		for i := range fds {
			fds[i] = unix.PollFd{Fd: int32(top - 1 - i)}
		}
		if _, err := poll(fds); err != nil {
			return 0, false
		}
		for i := range fds {
			if fds[i].Revents&unix.POLLNVAL != 0 {
				free++
			}
		}
	}
	return free, true
}
