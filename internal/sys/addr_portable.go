//go:build unix && (!linux || fdpass_portable)

package sys

import "syscall"

// Local asks for the socket's own address. It returns false if it has none, of IPv4 or IPv6.
func (a *Addr) Local(s Stream) bool { return a.take(syscall.Getsockname(s.FD)) }

// Peer asks for the address of the other end. It returns false if there is none.
func (a *Addr) Peer(s Stream) bool { return a.take(syscall.Getpeername(s.FD)) }

func (a *Addr) take(sa syscall.Sockaddr, err error) bool {
	switch sa := sa.(type) {
	case *syscall.SockaddrInet4:
		a.length, a.Port = uint8(copy(a.ip[:], sa.Addr[:])), uint16(sa.Port)
	case *syscall.SockaddrInet6:
		a.length, a.Port, a.Zone = uint8(copy(a.ip[:], sa.Addr[:])), uint16(sa.Port), sa.ZoneId
	case *syscall.SockaddrUnix:
		a.Unix = true
		return false
	default:
		return false
	}
	return err == nil
}
