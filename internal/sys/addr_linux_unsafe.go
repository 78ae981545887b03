//go:build linux && !fdpass_portable

package sys

import (
	"encoding/binary"
	"unsafe"

	"golang.org/x/sys/unix"
)

// PeerAddress returns a number that stands for the address, without the port, of the peer of the socket fd: the same
// for the same address, 0 if there is none. It does not allocate, as unix.Getpeername does.
func PeerAddress(fd int) uint64 {
	var sa [unix.SizeofSockaddrInet6]byte // v4 is shorter, and a Unix address is cut
	size := uint32(len(sa))
	_, _, errno := unix.RawSyscall(unix.SYS_GETPEERNAME, uintptr(fd), uintptr(unsafe.Pointer(&sa)), uintptr(unsafe.Pointer(&size)))
	if errno != 0 {
		return 0
	}
	switch binary.NativeEndian.Uint16(sa[:]) {
	case unix.AF_INET:
		return uint64(binary.NativeEndian.Uint32(sa[4:]))
	case unix.AF_INET6:
		return binary.NativeEndian.Uint64(sa[8:])*31 + binary.NativeEndian.Uint64(sa[16:])
	}
	return 0
}
