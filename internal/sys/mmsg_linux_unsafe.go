//go:build linux && !fdpass_portable

package sys

import (
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Implementation names what carries the messages.
const Implementation = "sendmmsg/recvmmsg"

// Vector is a set of messages for one system call. It is not safe for concurrent use, and keeps the buffers it is
// given alive and in place until they are replaced.
type Vector struct {
	hdrs []unix.Mmsghdr // as the kernel wants them; they point into iovs and the buffers
	iovs []unix.Iovec
}

// NewVector returns a vector of n messages, without buffers.
func NewVector(n int) *Vector {
	v := &Vector{hdrs: make([]unix.Mmsghdr, n), iovs: make([]unix.Iovec, n)}
	for i := range v.hdrs {
		v.hdrs[i].Hdr.Iov = &v.iovs[i]
		v.hdrs[i].Hdr.SetIovlen(1)
	}
	return v
}

// Set gives message i its data and control bytes: what to send, or the room to receive into. Data must not be empty.
func (v *Vector) Set(i int, data, control []byte) {
	h := &v.hdrs[i].Hdr
	v.iovs[i].Base = unsafe.SliceData(data)
	v.iovs[i].SetLen(len(data))
	h.Control = unsafe.SliceData(control)
	h.SetControllen(len(control))
}

// Send sends messages from..to-1 in order and returns how many the kernel took. On a stream the last of those may
// have been taken in part: see Bytes. An errno other than 0 comes only when none was taken.
func (v *Vector) Send(fd, from, to int) (int, syscall.Errno) {
	for {
		// The vector is reachable from the caller, and the headers, the iovecs and the buffers from it.
		n, _, errno := unix.Syscall6(unix.SYS_SENDMMSG, uintptr(fd), uintptr(unsafe.Pointer(&v.hdrs[from])),
			uintptr(to-from), unix.MSG_DONTWAIT|unix.MSG_NOSIGNAL, 0, 0)
		if errno == 0 {
			return int(n), 0
		}
		if errno != unix.EINTR {
			return 0, errno
		}
	}
}

// Recv receives up to n messages into the first n places and returns how many came. Received descriptors are
// close-on-exec from the start.
func (v *Vector) Recv(fd, n int, flags int) (int, syscall.Errno) {
	for {
		got, _, errno := unix.Syscall6(unix.SYS_RECVMMSG, uintptr(fd), uintptr(unsafe.Pointer(&v.hdrs[0])),
			uintptr(n), uintptr(flags|unix.MSG_DONTWAIT|unix.MSG_CMSG_CLOEXEC), 0, 0)
		if errno == 0 {
			return int(got), 0
		}
		if errno != unix.EINTR {
			return 0, errno
		}
	}
}

// Bytes is how many data bytes of message i were sent or received.
func (v *Vector) Bytes(i int) int { return int(v.hdrs[i].Len) }

// Control is how many control bytes message i brought.
func (v *Vector) Control(i int) int { return int(v.hdrs[i].Hdr.Controllen) }

// Flags are the MSG_ flags that came with message i.
func (v *Vector) Flags(i int) int { return int(v.hdrs[i].Hdr.Flags) }

func acceptNonblock(fd int) (int, syscall.Errno) {
	n, _, errno := unix.Syscall6(unix.SYS_ACCEPT4, uintptr(fd), 0, 0, unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0, 0)
	return int(n), errno
}
