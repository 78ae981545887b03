//go:build linux && !fdpass_portable

package sys

import (
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// shortTransfer is how many bytes a call may carry and still be short.
const shortTransfer = 64 << 10

// Read is recv(2).
func (s Stream) Read(b []byte) (n int, errno syscall.Errno) {
	if n, errno = s.transfer(unix.SYS_RECVFROM, b); errno == 0 {
		noteRead(s.FD, b[:n])
	}
	return n, errno
}

// Write is send(2).
func (s Stream) Write(b []byte) (int, syscall.Errno) {
	noteWrite(b)
	return s.transfer(unix.SYS_SENDTO, b)
}

func (s Stream) transfer(trap uintptr, b []byte) (int, syscall.Errno) {
	const flags = unix.MSG_DONTWAIT | unix.MSG_NOSIGNAL
	var n uintptr
	var errno syscall.Errno
	if p := unsafe.Pointer(unsafe.SliceData(b)); s.Brief && len(b) <= shortTransfer {
		n, _, errno = unix.RawSyscall6(trap, uintptr(s.FD), uintptr(p), uintptr(len(b)), flags, 0, 0)
	} else {
		n, _, errno = unix.Syscall6(trap, uintptr(s.FD), uintptr(p), uintptr(len(b)), flags, 0, 0)
	}
	return max(0, int(n)), errno // -1 with an error
}

// Shutdown ends the connection in both directions.
func (s Stream) Shutdown() {
	if s.Brief {
		unix.RawSyscall(unix.SYS_SHUTDOWN, uintptr(s.FD), unix.SHUT_RDWR, 0)
	} else {
		_ = unix.Shutdown(s.FD, unix.SHUT_RDWR)
	}
}

// Close closes it.
func (s Stream) Close() {
	if s.Brief && !s.Lingers() { // that may have been set meanwhile
		System.CloseBriefly(s.FD, s.FD)
	} else {
		System.CloseRange(s.FD, s.FD)
	}
}

// Lingers reports whether Close may wait for the peer.
func (s Stream) Lingers() bool {
	var l unix.Linger
	_, errno := getsockopt(s.FD, unix.SOL_SOCKET, unix.SO_LINGER, unsafe.Pointer(&l), unsafe.Sizeof(l))
	return errno != 0 || l.Onoff != 0
}
