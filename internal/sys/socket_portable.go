//go:build unix && (!linux || fdpass_portable)

package sys

import (
	"syscall"

	"golang.org/x/sys/unix"
)

// acceptNonblock keeps forks away until the connection is close-on-exec. Where it may wait for one they must not wait
// as long.
func acceptNonblock(fd int, blocking bool) (int, syscall.Errno) {
	if !blocking {
		syscall.ForkLock.RLock()
		defer syscall.ForkLock.RUnlock()
	}
	n, _, err := syscall.Accept(fd)
	if err != nil {
		return -1, errnoOf(err)
	}
	syscall.CloseOnExec(n)
	if err := syscall.SetNonblock(n, true); err != nil {
		syscall.Close(n)
		return -1, errnoOf(err)
	}
	return n, 0
}

func queued(int) (n int, known bool) { return 0, false }

func fileFlags(fd int) (int, syscall.Errno) {
	n, err := unix.FcntlInt(uintptr(fd), unix.F_GETFL, 0)
	if err != nil {
		return 0, errnoOf(err)
	}
	return n, 0
}

func pollOnce(fds []unix.PollFd) (int, error) { return unix.Poll(fds, 0) }

func sockopt(fd, level, name int) (int, syscall.Errno) {
	n, err := unix.GetsockoptInt(fd, level, name)
	if err != nil {
		return 0, errnoOf(err)
	}
	return n, 0
}
