//go:build unix && !linux

package loopback

import "golang.org/x/sys/unix"

// PeerLabel returns the label of the client at the other end of the accepted connection fd.
func PeerLabel(fd int) uint64 {
	if sa, err := unix.Getpeername(fd); err == nil {
		if sa, ok := sa.(*unix.SockaddrInet4); ok {
			return label(sa.Addr, uint16(sa.Port))
		}
	}
	return 0
}
