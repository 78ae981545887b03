//go:build unix

package fastpass

import (
	"net"
	"strconv"
	"syscall"

	"example.com/fdpass/internal/sys"
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
	a := c.addresses.Load()
	if a == nil {
		a = new(addresses)
		a.local, a.remote = &a.tcp[0], &a.tcp[1]
		_ = c.socket.Control(func(uintptr) { a.find(c.socket.stream) }) // if it is closed, that is all
		if !c.addresses.CompareAndSwap(nil, a) {
			a = c.addresses.Load()
		}
	}
	return a.local, a.remote
}

// addresses are those of a Conn, as they were when they were first asked for. All of TCP's are one allocation.
type addresses struct {
	local, remote net.Addr
	tcp           [2]net.TCPAddr
	ends          [2]sys.Addr // the IPs of tcp lie in here
}

// find asks the kernel.
func (a *addresses) find(s sys.Stream) {
	if a.ends[0].Local(s) {
		a.ends[1].Peer(s) // or it stays zero
		for i := range a.ends {
			e := &a.ends[i]
			a.tcp[i] = net.TCPAddr{IP: e.IP(), Port: int(e.Port), Zone: zoneName(int(e.Zone))}
		}
		return
	}
	if a.ends[0].Unix {
		// package syscall's: x/sys asks for the protocol of every address too, which is a system call each
		local, _ := syscall.Getsockname(s.FD)
		remote, _ := syscall.Getpeername(s.FD)
		a.local, a.remote = unixAddr(local), unixAddr(remote)
	}
}

// unixAddr converts sa; if that is nil, to the zero address.
func unixAddr(sa syscall.Sockaddr) net.Addr {
	if sa, ok := sa.(*syscall.SockaddrUnix); ok {
		return &net.UnixAddr{Name: sa.Name, Net: "unix"}
	}
	return &net.UnixAddr{Net: "unix"}
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
