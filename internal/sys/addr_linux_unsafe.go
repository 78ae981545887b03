//go:build linux && !fdpass_portable

package sys

import (
	"encoding/binary"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Local asks for the socket's own address. It returns false if it has none, of IPv4 or IPv6. It does not allocate, as
// unix.Getsockname does.
func (a *Addr) Local(s Stream) bool { return a.ask(unix.SYS_GETSOCKNAME, s) }

// Peer asks for the address of the other end. It returns false if there is none.
func (a *Addr) Peer(s Stream) bool { return a.ask(unix.SYS_GETPEERNAME, s) }

func (a *Addr) ask(trap uintptr, s Stream) bool {
	var sa [unix.SizeofSockaddrInet6]byte // v4 is shorter, and a Unix address is cut
	size := uint32(len(sa))
	var errno syscall.Errno
	if s.Brief {
		_, _, errno = unix.RawSyscall(trap, uintptr(s.FD), uintptr(unsafe.Pointer(&sa)), uintptr(unsafe.Pointer(&size)))
	} else { // package syscall does not tell the runtime, but the kernel takes the socket's lock
		_, _, errno = unix.Syscall(trap, uintptr(s.FD), uintptr(unsafe.Pointer(&sa)), uintptr(unsafe.Pointer(&size)))
	}
	if errno != 0 {
		return false
	}
	switch binary.NativeEndian.Uint16(sa[:]) {
	case unix.AF_INET:
		a.length = uint8(copy(a.ip[:], sa[4:8]))
	case unix.AF_INET6:
		a.length = uint8(copy(a.ip[:], sa[8:24]))
		a.Zone = binary.NativeEndian.Uint32(sa[24:])
	case unix.AF_UNIX:
		a.Unix = true
		return false
	default:
		return false
	}
	a.Port = binary.BigEndian.Uint16(sa[2:])
	return true
}
