//go:build unix && !linux

package sys

import "golang.org/x/sys/unix"

// EnlargeBuffers makes the buffers of fd large enough: by default a send buffer takes 8 KiB on macOS and FreeBSD and
// 4 KiB on NetBSD, which is less than a frame with two payloads. The receive buffer is larger than the send buffer of
// the other end, since NetBSD counts twice as much for descriptors when they arrive, and drops a message that does not
// fit then (unp_send).
func EnlargeBuffers(fd int) {
	const send, receive = 64 << 10, 128 << 10
	atLeast(fd, unix.SO_RCVBUF, receive)
	atLeast(fd, unix.SO_SNDBUF, send)
}

// KeepRaisable does nothing: what EnlargeBuffers asks for is far below what these systems allow.
func KeepRaisable(int) {}

func atLeast(fd, option, size int) {
	if n, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, option); err == nil && n < size {
		unix.SetsockoptInt(fd, unix.SOL_SOCKET, option, size)
	}
}
