//go:build linux && !fdpass_portable

package sys

import (
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// write is Write. A frame of a few bytes takes less time than telling the scheduler of a system call.
func write(fd int, b []byte) (int, syscall.Errno) {
	for {
		n, _, errno := syscall.RawSyscall6(unix.SYS_SENDTO, uintptr(fd), uintptr(unsafe.Pointer(unsafe.SliceData(b))),
			uintptr(len(b)), unix.MSG_DONTWAIT|unix.MSG_NOSIGNAL, 0, 0)
		if errno == 0 {
			return int(n), 0
		}
		if errno != unix.EINTR {
			return 0, errno
		}
	}
}

// acceptNonblock accepts a connection, which is made non-blocking. Blocking says that the listening socket is in
// blocking mode: only then may the call take long, and the scheduler hears of it.
func acceptNonblock(fd int, blocking bool) (int, syscall.Errno) {
	call := syscall.RawSyscall6
	if blocking {
		call = syscall.Syscall6
	}
	n, _, errno := call(unix.SYS_ACCEPT4, uintptr(fd), 0, 0, unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0, 0)
	return int(n), errno
}

// queued asks TCP's own count: accept takes five times as long to find out that there is nothing.
func queued(fd int) (n int, known bool) {
	const listening = 10 // TCP_LISTEN
	var info struct {
		state uint8
		_     [23]byte
		count uint32 // tcpi_unacked, which is this for a listening socket
	}
	size, errno := getsockopt(fd, unix.IPPROTO_TCP, unix.TCP_INFO, unsafe.Pointer(&info), unsafe.Sizeof(info))
	return int(info.count), errno == 0 && info.state == listening && size == unsafe.Sizeof(info)
}

func fileFlags(fd int) (int, syscall.Errno) {
	n, _, errno := syscall.RawSyscall(unix.SYS_FCNTL, uintptr(fd), unix.F_GETFL, 0)
	return int(n), errno
}

// pollOnce does not block. A sender asks after each burst whether the socket takes more, and telling the scheduler
// would wake the runtime's monitor each time (see closeBriefly).
func pollOnce(fds []unix.PollFd) (int, error) {
	var now unix.Timespec
	n, _, errno := syscall.RawSyscall6(unix.SYS_PPOLL, uintptr(unsafe.Pointer(unsafe.SliceData(fds))), uintptr(len(fds)),
		uintptr(unsafe.Pointer(&now)), 0, 0, 0)
	if errno != 0 {
		return 0, errno
	}
	return int(n), nil
}

// sockopt is getsockopt(2) for a number. What it is used for takes no lock.
func sockopt(fd, level, name int) (n int, errno syscall.Errno) {
	var value int32
	_, errno = getsockopt(fd, level, name, unsafe.Pointer(&value), unsafe.Sizeof(value))
	return int(value), errno
}

// getsockopt is getsockopt(2), of which the runtime is not told. It returns the length of what it has found.
func getsockopt(fd, level, name int, value unsafe.Pointer, length uintptr) (uintptr, syscall.Errno) {
	size := uint32(length)
	_, _, errno := unix.RawSyscall6(unix.SYS_GETSOCKOPT, uintptr(fd), uintptr(level), uintptr(name), uintptr(value),
		uintptr(unsafe.Pointer(&size)), 0)
	return uintptr(size), errno
}
