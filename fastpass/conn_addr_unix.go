//go:build unix && !aix

package fastpass

import (
	"net"
	"strconv"
	"syscall"
)

// LocalAddr returns the socket's own address, a *net.TCPAddr or *net.UnixAddr.
//
// The kernel is asked for both addresses when one is wanted first, and never again. What it does not know any more
// is the zero value of its type: the peer of a connection that was reset before the question, and both after Close.
// The result is never nil.
func (c *Conn) LocalAddr() net.Addr {
	local, _ := c.addrs()
	return local
}

// RemoteAddr returns the peer's address; see LocalAddr.
func (c *Conn) RemoteAddr() net.Addr {
	_, remote := c.addrs()
	return remote
}

func (c *Conn) addrs() (local, remote net.Addr) {
	c.lookup.Do(func() {
		c.local, c.remote = &net.TCPAddr{}, &net.TCPAddr{}
		_ = c.raw.Control(func(fd uintptr) {
			// package syscall's: x/sys asks for the protocol of every address too, which is a system call each
			local, _ := syscall.Getsockname(int(fd))
			remote, _ := syscall.Getpeername(int(fd))
			c.local, c.remote = netAddr(local, local), netAddr(remote, local)
		})
	})
	return c.local, c.remote
}

// netAddr converts sa; if that is nil, to the zero address of the family.
func netAddr(sa, family syscall.Sockaddr) net.Addr {
	switch sa := sa.(type) {
	case *syscall.SockaddrInet4:
		return &net.TCPAddr{IP: sa.Addr[:], Port: sa.Port}
	case *syscall.SockaddrInet6:
		return &net.TCPAddr{IP: sa.Addr[:], Port: sa.Port, Zone: zoneName(int(sa.ZoneId))}
	case *syscall.SockaddrUnix:
		return &net.UnixAddr{Name: sa.Name, Net: "unix"}
	}
	if _, ok := family.(*syscall.SockaddrUnix); ok {
		return &net.UnixAddr{Net: "unix"}
	}
	return &net.TCPAddr{}
}

// zoneName names a scope as package net does: the interface's name, or its number if it has gone.
func zoneName(id int) string {
	if id == 0 {
		return ""
	}
	if ifi, err := net.InterfaceByIndex(id); err == nil {
		return ifi.Name
	}
	return strconv.Itoa(id)
}
