//go:build unix

// Package loopback makes TCP connections to pass round, gives the TCP clients of a load addresses of their own, and
// finds the client at the other end of a connection. No address is used twice in a run: that makes it the name of a
// connection, and the load independent of the range of ephemeral ports, which short connections would use up in
// seconds.
package loopback

import (
	"encoding/binary"
	"net"
	"net/netip"
	"os"
	"sync/atomic"
	"time"
)

// label packs a client's address.
func label(ip [4]byte, port uint16) uint64 {
	return uint64(binary.BigEndian.Uint32(ip[:]))<<16 | uint64(port)
}

// Label packs a client's IPv4 address into a number that can be a descriptor's tag. It is not 0.
func Label(a netip.AddrPort) uint64 { return label(a.Addr().As4(), a.Port()) }

// Address returns the address that was packed into a label.
func Address(label uint64) netip.AddrPort {
	var ip [4]byte
	binary.BigEndian.PutUint32(ip[:], uint32(label>>16))
	return netip.AddrPortFrom(netip.AddrFrom4(ip), uint16(label))
}

// Addresses are each given out once. All methods may be called from any number of goroutines.
type Addresses struct {
	ips   [][4]byte
	given atomic.Uint64
	start time.Time
	pace  time.Duration // time for one connection, so that they last as long as the load
}

const firstPort, lastPort = 10_000, 60_000

// NewAddresses takes a network of 127.0.0.0/8 that depends on the process, so that two programs do not get in each
// other's way. Where the system has 127.0.0.1 only, the load is limited by what that offers.
func NewAddresses(last time.Duration) *Addresses {
	a := &Addresses{start: time.Now()}
	pid := os.Getpid()
	for i := range 250 {
		a.ips = append(a.ips, [4]byte{127, byte(pid >> 8), byte(pid), byte(i + 1)})
	}
	ln, err := net.ListenTCP("tcp", &net.TCPAddr{IP: net.IP(a.ips[0][:])})
	if err != nil {
		a.ips = [][4]byte{{127, 0, 0, 1}}
	} else {
		ln.Close()
	}
	a.pace = last / time.Duration(len(a.ips)*(lastPort-firstPort))
	return a
}

// Next waits for its turn, and changes the IP each time: to the Hash policy each is a client of its own.
func (a *Addresses) Next() netip.AddrPort {
	n := a.given.Add(1) - 1
	time.Sleep(time.Until(a.start.Add(time.Duration(n) * a.pace)))
	k := uint64(len(a.ips))
	return netip.AddrPortFrom(netip.AddrFrom4(a.ips[n%k]), uint16(firstPort+n/k%(lastPort-firstPort)))
}
