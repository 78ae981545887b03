package fastpass

import (
	"net"
	"syscall"
)

// The same on every platform; crypto/tls and net/http look for CloseWrite, net/http for the network's own errors.
var _ interface {
	net.Conn
	syscall.Conn
	CloseRead() error
	CloseWrite() error
	Std() (net.Conn, error)
	Tag() uint64
} = (*Conn)(nil)
