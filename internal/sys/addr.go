//go:build unix

package sys

import "encoding/binary"

// Addr is an end of a connection of IPv4 or IPv6.
type Addr struct {
	ip     [16]byte
	length uint8 // of ip; 0: there is none
	Port   uint16
	Zone   uint32 // the number of an interface
	Unix   bool   // there is none, as it is a Unix socket
}

// IP is the address; nil if there is none. It lies in a.
func (a *Addr) IP() []byte {
	if a.length == 0 {
		return nil
	}
	return a.ip[:a.length:a.length]
}

// PeerAddress returns a number that stands for the address, without the port, of the peer of s: the same for the same
// address, 0 if there is none.
func PeerAddress(s Stream) uint64 {
	var a Addr
	a.Peer(s)
	switch a.length {
	case 4:
		return uint64(binary.NativeEndian.Uint32(a.ip[:]))
	case 16:
		return binary.NativeEndian.Uint64(a.ip[:])*31 + binary.NativeEndian.Uint64(a.ip[8:])
	}
	return 0
}
