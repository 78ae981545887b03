package fastpass

import (
	"net"
	"syscall"
)

// Conn has these methods on every platform. CloseWrite is what crypto/tls and net/http look for.
var _ interface {
	net.Conn
	syscall.Conn
	CloseRead() error
	CloseWrite() error
	Std() (net.Conn, error)
	Tag() uint64
} = (*Conn)(nil)
