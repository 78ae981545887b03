//go:build linux && !fdpass_portable

package sys

import (
	"unsafe"

	"golang.org/x/sys/unix"
)

// poll is poll(2) that does not wait: the scheduler need not hear of it. A sender asks after each burst whether the socket takes
// more, and telling would wake the runtime's monitor each time (see closeBriefly). If the call has nothing to tell it may
// fail because of a signal, as the Go runtime sends itself to interrupt what runs for long.
func poll(fds []unix.PollFd) (int, error) {
	for {
		var now unix.Timespec
		n, _, errno := unix.RawSyscall6(unix.SYS_PPOLL, uintptr(unsafe.Pointer(unsafe.SliceData(fds))), uintptr(len(fds)),
			uintptr(unsafe.Pointer(&now)), 0, 0, 0)
		if errno == 0 {
			return int(n), nil
		}
		if errno != unix.EINTR {
			return 0, errno
		}
	}
}
