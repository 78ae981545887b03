//go:build unix && (!linux || fdpass_portable)

package sys

import "golang.org/x/sys/unix"

// poll is poll(2) that does not wait. If it has nothing to tell it may fail because of a signal, as the Go runtime
// sends itself to interrupt what runs for long.
func poll(fds []unix.PollFd) (n int, err error) {
	for {
		if n, err = unix.Poll(fds, 0); err != unix.EINTR {
			return n, err
		}
	}
}
