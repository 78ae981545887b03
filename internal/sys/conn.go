//go:build unix

package sys

import (
	"net"
	"os"
	"sync/atomic"
	"syscall"
	"time"
)

// Conn is the socket of a link. Its RawConn is for waiting. System calls that do not block are made between Acquire and Release, on the number that
// Own has returned: to be called back by the runtime would cost a tenth of passing a descriptor.
type Conn interface {
	syscall.RawConn
	syscall.Conn

	// Acquire keeps the socket open until Release. It returns false if it is closed.
	Acquire() bool
	Release()

	SetReadDeadline(time.Time) error
	SetWriteDeadline(time.Time) error
	LocalAddr() net.Addr

	// Close has those who wait return. While somebody has acquired the socket it stays open.
	Close() error
}

// Own takes the socket fd of c, in which nobody may be at work, away from it: who still has c can do nothing to the socket. It returns the
// new owner, and its number for the socket. Without room for a duplicate c remains in use. Raw is c's. Idle says that the socket is
// hardly ever waited for.
func Own(c *net.UnixConn, raw syscall.RawConn, fd int, idle bool) (Conn, int) {
	if idle {
		if q := newQuiet(c, fd); q != nil {
			return q, q.fd
		}
	}
	p := duplicate(fd)
	if p == nil {
		p = newPolled(c, raw, fd)
	} else {
		c.Close()
	}
	return p, p.fd
}

// guard keeps a descriptor open while it is used.
type guard struct {
	fd    int
	state atomic.Uint32 // how many use fd, and closed
	last  func()        // closes fd
}

const closed = 1 << 31 // in guard.state: nobody begins to use fd any more, the last one closes it

// Acquire implements Conn.
func (g *guard) Acquire() bool {
	for {
		n := g.state.Load()
		if n&closed != 0 {
			return false
		}
		if g.state.CompareAndSwap(n, n+1) {
			return true
		}
	}
}

// Release implements Conn.
func (g *guard) Release() {
	if g.state.Add(^uint32(0)) == closed {
		g.last()
	}
}

// Control implements syscall.RawConn.
func (g *guard) Control(f func(fd uintptr)) error {
	if !g.Acquire() {
		return net.ErrClosed
	}
	defer g.Release()
	f(uintptr(g.fd))
	return nil
}

// shut lets nobody begin any more. If it is the first to do that, and fd is not in use, its caller closes fd.
func (g *guard) shut() (first, unused bool) {
	before := g.state.Or(closed)
	return before&closed == 0, before == 0
}

// polled is a Conn that the runtime polls for all that may happen to it.
type polled struct {
	guard
	conn *net.UnixConn
	raw  syscall.RawConn
}

func (p *polled) SyscallConn() (syscall.RawConn, error) { return p, nil }
func (p *polled) Read(f func(fd uintptr) bool) error    { return p.raw.Read(f) }
func (p *polled) Write(f func(fd uintptr) bool) error   { return p.raw.Write(f) }
func (p *polled) SetReadDeadline(t time.Time) error     { return p.conn.SetReadDeadline(t) }
func (p *polled) SetWriteDeadline(t time.Time) error    { return p.conn.SetWriteDeadline(t) }
func (p *polled) LocalAddr() net.Addr                   { return p.conn.LocalAddr() }

// Close implements Conn.
func (p *polled) Close() error {
	first, unused := p.shut()
	if !first {
		return net.ErrClosed
	}
	if unused {
		p.last()
	}
	return nil
}

func newPolled(c *net.UnixConn, raw syscall.RawConn, fd int) *polled {
	return &polled{guard{fd: fd, last: func() { c.Close() }}, c, raw}
}

// duplicate makes a polled of a duplicate of the socket fd. It returns nil where that is not possible.
func duplicate(fd int) *polled {
	dup := System.Dup(fd)
	if dup < 0 {
		return nil
	}
	f := os.NewFile(uintptr(dup), "socket")
	defer f.Close()
	conn, _ := net.FileConn(f) // another duplicate
	c, ok := conn.(*net.UnixConn)
	if !ok {
		return nil
	}
	raw, err := c.SyscallConn()
	if err == nil {
		err = raw.Control(func(s uintptr) { fd = int(s) })
	}
	if err != nil {
		c.Close()
		return nil
	}
	return newPolled(c, raw, fd)
}
