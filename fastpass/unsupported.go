//go:build !unix

package fastpass

import (
	"context"
	"errors"
	"net"
	"os"
	"os/exec"
	"syscall"
	"time"
)

// This file is the API on platforms that cannot pass descriptors: programs that embed the package build, and every
// constructor returns errors.ErrUnsupported. So there is never a value to call a method on.

// Passer is one end of a link over which descriptors are passed.
type Passer struct{}

// New returns errors.ErrUnsupported.
func New(*net.UnixConn, *Config) (*Passer, error) { return nil, errors.ErrUnsupported }

// Pair returns errors.ErrUnsupported.
func Pair(*Config) (*Passer, *os.File, error) { return nil, nil, errors.ErrUnsupported }

// Spawn returns errors.ErrUnsupported.
func Spawn(*exec.Cmd, *Config) (*Passer, error) { return nil, errors.ErrUnsupported }

// Inherit returns errors.ErrUnsupported.
func Inherit(*Config) (*Passer, error) { return nil, errors.ErrUnsupported }

// Dial returns errors.ErrUnsupported.
func Dial(context.Context, string, *Config) (*Passer, error) { return nil, errors.ErrUnsupported }

// Send returns errors.ErrUnsupported, and so do the other methods.
func (*Passer) Send(Desc) error { return errors.ErrUnsupported }

// TrySend returns errors.ErrUnsupported.
func (*Passer) TrySend(Desc) error { return errors.ErrUnsupported }

// Push returns errors.ErrUnsupported.
func (*Passer) Push(Desc) error { return errors.ErrUnsupported }

// SendBatch returns errors.ErrUnsupported.
func (*Passer) SendBatch([]Desc) (int, error) { return 0, errors.ErrUnsupported }

// Flush returns errors.ErrUnsupported.
func (*Passer) Flush() error { return errors.ErrUnsupported }

// Recv returns errors.ErrUnsupported.
func (*Passer) Recv() (Desc, error) { return Desc{}, errors.ErrUnsupported }

// RecvBatch returns errors.ErrUnsupported.
func (*Passer) RecvBatch([]Desc) (int, error) { return 0, errors.ErrUnsupported }

// SetDeadline returns errors.ErrUnsupported.
func (*Passer) SetDeadline(time.Time) error { return errors.ErrUnsupported }

// SetReadDeadline returns errors.ErrUnsupported.
func (*Passer) SetReadDeadline(time.Time) error { return errors.ErrUnsupported }

// SetWriteDeadline returns errors.ErrUnsupported.
func (*Passer) SetWriteDeadline(time.Time) error { return errors.ErrUnsupported }

// Shutdown returns errors.ErrUnsupported.
func (*Passer) Shutdown(context.Context) error { return errors.ErrUnsupported }

// Close returns errors.ErrUnsupported.
func (*Passer) Close() error { return errors.ErrUnsupported }

// Done returns nil.
func (*Passer) Done() <-chan struct{} { return nil }

// Err returns errors.ErrUnsupported.
func (*Passer) Err() error { return errors.ErrUnsupported }

// Undelivered returns nil.
func (*Passer) Undelivered() []Desc { return nil }

// Peer returns nothing.
func (*Passer) Peer() Credentials { return Credentials{} }

// Stats returns nothing.
func (*Passer) Stats() Stats { return Stats{} }

// SyscallConn returns errors.ErrUnsupported.
func (*Passer) SyscallConn() (syscall.RawConn, error) { return nil, errors.ErrUnsupported }

// NetListener returns a listener whose Accept returns errors.ErrUnsupported.
func (*Passer) NetListener() net.Listener { return netListener{} }

type netListener struct{}

func (netListener) Accept() (net.Conn, error) { return nil, errors.ErrUnsupported }
func (netListener) Close() error              { return errors.ErrUnsupported }
func (netListener) Addr() net.Addr            { return &net.UnixAddr{} }

// Listener accepts links.
type Listener struct{}

// Listen returns errors.ErrUnsupported.
func Listen(string, *Config) (*Listener, error) { return nil, errors.ErrUnsupported }

// Accept returns errors.ErrUnsupported, and so do the other methods.
func (*Listener) Accept(context.Context) (*Passer, error) { return nil, errors.ErrUnsupported }

// Close returns errors.ErrUnsupported.
func (*Listener) Close() error { return errors.ErrUnsupported }

// Addr returns nothing.
func (*Listener) Addr() net.Addr { return &net.UnixAddr{} }

// Refused returns 0.
func (*Listener) Refused() uint64 { return 0 }

// Pool spreads descriptors over workers.
type Pool struct{}

// NewPool returns errors.ErrUnsupported.
func NewPool(*PoolConfig) (*Pool, error) { return nil, errors.ErrUnsupported }

// Add returns errors.ErrUnsupported, and so do the other methods.
func (*Pool) Add(*Passer) error { return errors.ErrUnsupported }

// Dispatch returns errors.ErrUnsupported.
func (*Pool) Dispatch([]Desc) (int, error) { return 0, errors.ErrUnsupported }

// SetDeadline returns errors.ErrUnsupported.
func (*Pool) SetDeadline(time.Time) error { return errors.ErrUnsupported }

// Serve returns errors.ErrUnsupported.
func (*Pool) Serve(net.Listener) error { return errors.ErrUnsupported }

// Shutdown returns errors.ErrUnsupported.
func (*Pool) Shutdown(context.Context) error { return errors.ErrUnsupported }

// Undelivered returns nil.
func (*Pool) Undelivered() []Desc { return nil }

// Stats returns nothing.
func (*Pool) Stats() PoolStats { return PoolStats{} }

// Workers returns none on this platform.
func (*Pool) Workers() []Worker { return nil }

// CloseFDs does nothing: there are no descriptors here.
func CloseFDs([]int) {}

// member is a worker in a pool: there is none.
type member struct{}
