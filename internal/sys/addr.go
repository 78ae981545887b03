//go:build unix && (!linux || fdpass_portable)

package sys

import (
	"encoding/binary"

	"golang.org/x/sys/unix"
)

// PeerAddress returns a number that stands for the address, without the port, of the peer of the socket fd: the same
// for the same address, 0 if there is none.
func PeerAddress(fd int) uint64 {
	sa, err := unix.Getpeername(fd)
	if err != nil {
		return 0
	}
	switch sa := sa.(type) {
	case *unix.SockaddrInet4:
		return uint64(binary.NativeEndian.Uint32(sa.Addr[:]))
	case *unix.SockaddrInet6:
		return binary.NativeEndian.Uint64(sa.Addr[:8])*31 + binary.NativeEndian.Uint64(sa.Addr[8:])
	}
	return 0
}
