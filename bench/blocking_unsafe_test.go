//go:build linux

package bench

import (
	"unsafe"

	"golang.org/x/sys/unix"
)

// blockingLink passes one descriptor at a time over a blocking socket, by system calls that the scheduler does not
// see. The headers point into the same object, which the garbage collector does not move.
type blockingLink struct {
	fd      int
	msg     unix.Msghdr
	iov     unix.Iovec
	data    [1]byte
	control [8]uint64 // a cmsghdr and more than one descriptor's room, aligned
}

func newBlockingLink(fd int) *blockingLink {
	l := &blockingLink{fd: fd}
	l.iov.Base = &l.data[0]
	l.iov.SetLen(1)
	l.msg.Iov = &l.iov
	l.msg.SetIovlen(1)
	l.msg.Control = (*byte)(unsafe.Pointer(&l.control)) // kept alive by l
	return l
}

func (l *blockingLink) header() (*unix.Cmsghdr, *int32) {
	h := (*unix.Cmsghdr)(unsafe.Pointer(&l.control)) // aligned by its type
	return h, (*int32)(unsafe.Add(unsafe.Pointer(&l.control), unix.CmsgLen(0)))
}

// send passes fd on and closes it.
func (l *blockingLink) send(fd int) error {
	h, right := l.header()
	h.Level, h.Type = unix.SOL_SOCKET, unix.SCM_RIGHTS
	h.SetLen(unix.CmsgLen(4))
	*right = int32(fd)
	l.msg.SetControllen(unix.CmsgSpace(4))
	if _, _, errno := unix.RawSyscall(unix.SYS_SENDMSG, uintptr(l.fd), uintptr(unsafe.Pointer(&l.msg)), unix.MSG_NOSIGNAL); errno != 0 {
		return errno
	}
	if _, _, errno := unix.RawSyscall(unix.SYS_CLOSE, uintptr(fd), 0, 0); errno != 0 {
		return errno
	}
	return nil
}

// recv returns the next descriptor, or -1 at the end.
func (l *blockingLink) recv() (int, error) {
	l.msg.SetControllen(unix.CmsgSpace(4))
	n, _, errno := unix.RawSyscall(unix.SYS_RECVMSG, uintptr(l.fd), uintptr(unsafe.Pointer(&l.msg)), unix.MSG_CMSG_CLOEXEC)
	if errno != 0 {
		return -1, errno
	}
	if n == 0 {
		return -1, nil
	}
	_, right := l.header()
	return int(*right), nil
}

func (l *blockingLink) echoed(fd int) (int, error) {
	if err := l.send(fd); err != nil {
		return -1, err
	}
	return l.recv()
}
