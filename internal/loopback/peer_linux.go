package loopback

import (
	"encoding/binary"

	"golang.org/x/sys/unix"
)

// PeerLabel returns the label of the client at the other end of the accepted connection fd. SO_PEERNAME is cut to the
// size asked for: family, port and IPv4 address fit into eight bytes, so this neither allocates nor needs package
// unsafe. Unlike getpeername(2) it also knows the peer of a connection that was reset meanwhile.
func PeerLabel(fd int) uint64 {
	v, err := unix.GetsockoptUint64(fd, unix.SOL_SOCKET, unix.SO_PEERNAME)
	if err != nil {
		return 0
	}
	var sa [8]byte
	binary.NativeEndian.PutUint64(sa[:], v)
	return label([4]byte(sa[4:]), binary.BigEndian.Uint16(sa[2:]))
}
