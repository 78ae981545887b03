//go:build unix

package sys

import (
	"net"
	"os"
	"sync/atomic"
	"syscall"
	"time"
)

// Conn is the socket of a link. Its RawConn is for waiting. System calls that do not block are made on the number that
// Own has returned: to be called back by the runtime would cost a tenth of passing a descriptor. They are made between
// Acquire and Release, or where it is sure that nobody closes the Conn meanwhile.
type Conn interface {
	syscall.RawConn
	syscall.Conn

	// Acquire keeps the socket open until Release. It returns false if it is closed.
	Acquire() bool
	Release()

	SetReadDeadline(time.Time) error
	SetWriteDeadline(time.Time) error
	LocalAddr() net.Addr

	// Close has those who wait return, waits until nobody has acquired the socket any more, and closes it.
	Close() error
}

// Own makes a Conn of the socket of c, whose RawConn is raw, and returns it with its number for the socket. Nobody may
// be at work in c. The Conn has a duplicate, and c is closed, so that whoever still has c can do nothing to the socket.
// If there is no room for a duplicate, or the socket is in blocking mode, the Conn uses c itself. Idle says that the
// socket is hardly ever waited for.
func Own(c *net.UnixConn, raw syscall.RawConn, idle bool) (Conn, int) {
	fd, dup := -1, -1
	raw.Control(func(s uintptr) {
		fd = int(s)
		dup = System.Dup(fd)
	})
	if dup >= 0 {
		if own := newConn(dup, c.LocalAddr(), idle); own != nil {
			c.Close()
			return own, dup
		}
	}
	return newPolled(c, raw, c.LocalAddr(), fd), fd
}

// newConn makes a Conn of the socket fd. Where that is not possible it closes fd and returns nil. It does not touch the
// mode of the socket, which other processes may share.
func newConn(fd int, addr net.Addr, idle bool) Conn {
	if idle {
		if q := newQuiet(fd, addr); q != nil {
			return q
		}
	}
	f := os.NewFile(uintptr(fd), "socket")
	raw, err := f.SyscallConn()
	if err == nil {
		err = f.SetDeadline(time.Time{}) // fails if it is not polled
	}
	if err != nil {
		f.Close()
		return nil
	}
	return newPolled(f, raw, addr, fd)
}

// guard keeps a descriptor open while it is used.
type guard struct {
	fd     int
	state  atomic.Uint32 // how many use fd, and closed
	unused chan struct{} // closed when fd is closed to all and the last one has let go of it
}

const closed = 1 << 31 // in guard.state: nobody begins to use fd any more

func (g *guard) init(fd int) { g.fd, g.unused = fd, make(chan struct{}) }

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

// Release implements Conn. It closes nothing: whoever is the last may hold what the rest of the link needs, and to
// close may take long.
func (g *guard) Release() {
	if g.state.Add(^uint32(0)) == closed {
		close(g.unused)
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

// shut lets nobody begin any more. It returns false if that was done before.
func (g *guard) shut() bool {
	before := g.state.Or(closed)
	if before == 0 {
		close(g.unused)
	}
	return before&closed == 0
}

func (g *guard) isShut() bool { return g.state.Load()&closed != 0 }

// polled is a Conn that the runtime polls for all that may happen to it.
type polled struct {
	guard
	addr  net.Addr
	owner owner
	raw   syscall.RawConn // the owner's
}

// owner has the runtime poll a socket: an *os.File or a *net.UnixConn.
type owner interface {
	SetDeadline(time.Time) error
	SetReadDeadline(time.Time) error
	SetWriteDeadline(time.Time) error
	Close() error
}

func newPolled(o owner, raw syscall.RawConn, addr net.Addr, fd int) *polled {
	p := &polled{addr: addr, owner: o, raw: raw}
	p.init(fd)
	return p
}

func (p *polled) SyscallConn() (syscall.RawConn, error) { return p, nil }
func (p *polled) SetReadDeadline(t time.Time) error     { return p.owner.SetReadDeadline(t) }
func (p *polled) SetWriteDeadline(t time.Time) error    { return p.owner.SetWriteDeadline(t) }
func (p *polled) LocalAddr() net.Addr                   { return p.addr }

// Read implements syscall.RawConn.
func (p *polled) Read(f func(fd uintptr) bool) error { return p.wait(p.raw.Read, f) }

// Write implements syscall.RawConn.
func (p *polled) Write(f func(fd uintptr) bool) error { return p.wait(p.raw.Write, f) }

func (p *polled) wait(until func(func(fd uintptr) bool) error, f func(fd uintptr) bool) error {
	if p.isShut() {
		return net.ErrClosed
	}
	err := until(f)
	if err != nil && p.isShut() { // Close had it return
		return net.ErrClosed
	}
	return err
}

// Close implements Conn.
func (p *polled) Close() error {
	if !p.shut() {
		return net.ErrClosed
	}
	p.owner.SetDeadline(time.Unix(1, 0)) // the calls that wait return, although others may still use the socket
	<-p.unused
	return p.owner.Close()
}
