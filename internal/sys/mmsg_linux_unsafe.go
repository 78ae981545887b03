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

// Set gives message i its buffers, for what to send or to receive into. Data must not be empty.
func (v *Vector) Set(i int, data, control []byte) {
	h := &v.hdrs[i].Hdr
	v.iovs[i].Base = unsafe.SliceData(data)
	v.iovs[i].SetLen(len(data))
	h.Control = unsafe.SliceData(control)
	h.SetControllen(len(control))
}

// Limit has message i use only so many bytes of its buffers, no more than those have, until the next Limit.
func (v *Vector) Limit(i, data, control int) {
	v.iovs[i].SetLen(data)
	v.hdrs[i].Hdr.SetControllen(control)
}

func (v *Vector) send(fd, n int) (int, syscall.Errno) {
	return v.call(unix.SYS_SENDMMSG, fd, n, unix.MSG_DONTWAIT|unix.MSG_NOSIGNAL)
}

func (v *Vector) recv(fd, n, flags int) (int, syscall.Errno) {
	return v.call(unix.SYS_RECVMMSG, fd, n, flags|unix.MSG_DONTWAIT|unix.MSG_CMSG_CLOEXEC)
}

// shortCall is how many messages a call may carry and still take no more than about 100 µs, if there are about 2,000
// descriptors in them.
const shortCall = 32

// call makes a system call that never blocks. Only if it may take long does it tell the scheduler, which may then give
// the processor to others. That costs 150 ns of processor time, a twelfth of sending, receiving and closing one
// descriptor, and several µs if the runtime's monitor sleeps and is woken by it. (The price of not telling: if the
// table is full, the kernel destroys within the call what does not fit. Where closing that takes long, because of
// SO_LINGER, the processor is held as long, or until the runtime interrupts the call.)
func (v *Vector) call(trap uintptr, fd, n, flags int) (int, syscall.Errno) {
	for {
		var done uintptr
		var errno syscall.Errno
		// The vector is reachable from the caller, and the headers, the iovecs and the buffers from it.
		if n <= shortCall {
			done, _, errno = syscall.RawSyscall6(trap, uintptr(fd), uintptr(unsafe.Pointer(&v.hdrs[0])), uintptr(n), uintptr(flags), 0, 0)
		} else {
			done, _, errno = syscall.Syscall6(trap, uintptr(fd), uintptr(unsafe.Pointer(&v.hdrs[0])), uintptr(n), uintptr(flags), 0, 0)
		}
		if errno != unix.EINTR {
			return max(0, int(done)), errno // -1 with an error
		}
	}
}

// Bytes is how many data bytes of message i were sent or received.
func (v *Vector) Bytes(i int) int { return int(v.hdrs[i].Len) }

// Control is how many control bytes message i brought.
func (v *Vector) Control(i int) int { return int(v.hdrs[i].Hdr.Controllen) }

// Flags are the MSG_ flags that came with message i.
func (v *Vector) Flags(i int) int { return int(v.hdrs[i].Hdr.Flags) }

// Message returns the data and control bytes that message i was given; both are views.
func (v *Vector) Message(i int) (data, control []byte) {
	h := &v.hdrs[i].Hdr
	// The pointers are those of the slices given to Set, which h keeps alive, and the lengths theirs or shorter.
	return unsafe.Slice(v.iovs[i].Base, v.iovs[i].Len), unsafe.Slice(h.Control, h.Controllen)
}

// Deliver notes what message i brought, or how much of it was sent: a simulated kernel does that.
func (v *Vector) Deliver(i, bytes, control, flags int) {
	v.hdrs[i].Len = uint32(bytes)
	v.hdrs[i].Hdr.SetControllen(control)
	v.hdrs[i].Hdr.Flags = int32(flags)
}
