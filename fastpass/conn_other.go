//go:build !unix

package fastpass

import (
	"errors"
	"net"
	"syscall"
	"time"
)

// Conn is a received descriptor as a net.Conn. This platform passes none, so there is never one.
type Conn struct{}

// NewConn returns errors.ErrUnsupported on this platform.
func NewConn(Desc) (*Conn, error) { return nil, errors.ErrUnsupported }

// Read returns errors.ErrUnsupported, and so do the other methods.
func (*Conn) Read([]byte) (int, error) { return 0, errors.ErrUnsupported }

// Write returns errors.ErrUnsupported.
func (*Conn) Write([]byte) (int, error) { return 0, errors.ErrUnsupported }

// Close returns errors.ErrUnsupported.
func (*Conn) Close() error { return errors.ErrUnsupported }

// CloseRead returns errors.ErrUnsupported.
func (*Conn) CloseRead() error { return errors.ErrUnsupported }

// CloseWrite returns errors.ErrUnsupported.
func (*Conn) CloseWrite() error { return errors.ErrUnsupported }

// LocalAddr returns the zero address.
func (*Conn) LocalAddr() net.Addr { return &net.TCPAddr{} }

// RemoteAddr returns the zero address.
func (*Conn) RemoteAddr() net.Addr { return &net.TCPAddr{} }

// SetDeadline returns errors.ErrUnsupported.
func (*Conn) SetDeadline(time.Time) error { return errors.ErrUnsupported }

// SetReadDeadline returns errors.ErrUnsupported.
func (*Conn) SetReadDeadline(time.Time) error { return errors.ErrUnsupported }

// SetWriteDeadline returns errors.ErrUnsupported.
func (*Conn) SetWriteDeadline(time.Time) error { return errors.ErrUnsupported }

// SyscallConn returns errors.ErrUnsupported.
func (*Conn) SyscallConn() (syscall.RawConn, error) { return nil, errors.ErrUnsupported }

// Std returns errors.ErrUnsupported.
func (*Conn) Std() (net.Conn, error) { return nil, errors.ErrUnsupported }

// Tag returns 0.
func (*Conn) Tag() uint64 { return 0 }
