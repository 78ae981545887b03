//go:build linux

package simkernel

import (
	"bytes"
	"fmt"
	"net"
	"os"
	"runtime"
	"syscall"
	"time"

	"example.com/fdpass/internal/sys"
)

// Conn stands for the sys.Conn of a socket.
//
// The goroutine that made it drives the simulation, and is never blocked: a Read of its own that finds nothing calls
// Idle and returns nil, as if it had been woken for nothing, and a Write that would wait panics with [ErrWouldBlock].
// Other goroutines do wait: in Write, first of all, until the driver calls Wake; and where Acquire lets them in, or
// [Process.Send] without that, while the driver rests, until it lets one of them go on. So what they do follows from
// what the driver does.
type Conn struct {
	// Idle is called when Read finds nothing.
	Idle func()

	p       *Process
	fd      int
	number  int // of the Conn
	driver  string
	uses    int  // calls that hold the descriptor
	closed  bool // by Close
	gone    bool // the descriptor is closed as well
	passed  bool // the read deadline
	late    bool // the write deadline
	parked  bool // Read has found nothing, and waits for an edge
	writers []chan struct{}
}

var _ sys.Conn = (*Conn)(nil)

// ErrWouldBlock is what Write panics with when the driver would have to wait in it. It comes through functions that
// hold no lock while they wait.
type ErrWouldBlock struct{}

func (ErrWouldBlock) Error() string {
	return "simkernel: the driver would have to wait until the socket takes something"
}

// NewConn makes a Conn of the socket fd, and owns it from then on. Calls on the socket carry the label. The caller is
// the driver.
func (p *Process) NewConn(fd int, label any) *Conn {
	p.k.mu.Lock()
	defer p.k.mu.Unlock()
	p.k.conns++
	c := &Conn{p: p, fd: fd, number: p.k.conns, driver: goroutine()}
	if s, errno := p.socket(fd); errno == 0 {
		s.label, s.conn = label, c
	}
	return c
}

// goroutine names the one that calls: "goroutine 17".
func goroutine() string {
	var b [64]byte
	s := b[:runtime.Stack(b[:], false)]
	if i := bytes.IndexByte(s, '['); i > 0 {
		s = s[:i]
	}
	return string(s)
}

// use begins a call that holds the descriptor, and returns false if the Conn is closed.
func (c *Conn) use() bool {
	c.p.k.mu.Lock()
	defer c.p.k.mu.Unlock()
	if c.closed {
		return false
	}
	c.uses++
	return true
}

// Release implements sys.Conn.
func (c *Conn) Release() {
	c.p.k.mu.Lock()
	defer c.p.k.mu.Unlock()
	c.uses--
	c.letGo()
}

// letGo closes the descriptor of a closed Conn once nobody uses it. The caller holds k.mu.
func (c *Conn) letGo() {
	if c.closed && c.uses == 0 && !c.gone {
		c.gone = true
		if !c.p.dead {
			c.p.close(c.fd)
		}
	}
}

// Acquire implements sys.Conn.
func (c *Conn) Acquire() bool {
	c.enter()
	return c.use()
}

// Control implements syscall.RawConn.
func (c *Conn) Control(f func(fd uintptr)) error {
	if !c.Acquire() {
		return net.ErrClosed
	}
	defer c.Release()
	f(uintptr(c.fd))
	return nil
}

// Read implements syscall.RawConn; it calls f once.
func (c *Conn) Read(f func(fd uintptr) bool) error {
	if !c.use() {
		return net.ErrClosed
	}
	defer c.Release()
	if !c.prepareRead() {
		return os.ErrDeadlineExceeded
	}
	found := f(uintptr(c.fd))
	c.p.k.mu.Lock()
	c.parked = !found
	c.p.k.mu.Unlock()
	if !found && c.Idle != nil {
		c.Idle()
	}
	return nil
}

// prepareRead forgets past edges, as the runtime's poller does, and returns false if the deadline has passed.
func (c *Conn) prepareRead() bool {
	c.p.k.mu.Lock()
	defer c.p.k.mu.Unlock()
	if c.passed {
		c.parked = false // the reader returns, and comes again
		return false
	}
	if s, errno := c.p.socket(c.fd); errno == 0 {
		s.edge = false
	}
	return true
}

// Write implements syscall.RawConn.
func (c *Conn) Write(f func(fd uintptr) bool) error {
	if !c.use() {
		return net.ErrClosed
	}
	defer c.Release()
	if c.isDriver() {
		switch err := c.writeError(); {
		case err != nil:
			return err
		case !f(uintptr(c.fd)):
			panic(ErrWouldBlock{})
		}
		return nil
	}
	for {
		if err := c.park(); err != nil {
			return err
		}
		if f(uintptr(c.fd)) {
			return nil
		}
	}
}

func (c *Conn) isDriver() bool {
	c.p.k.mu.Lock()
	resting := c.p.k.resting
	c.p.k.mu.Unlock()
	return !resting && goroutine() == c.driver
}

// park waits until Wake, Close or the write deadline.
func (c *Conn) park() error {
	if err := c.writeError(); err != nil {
		return err
	}
	ch := make(chan struct{})
	c.p.k.mu.Lock()
	c.writers = append(c.writers, ch)
	c.p.k.mu.Unlock()
	<-ch
	return c.writeError()
}

// writeError is why nobody may wait in Write.
func (c *Conn) writeError() error {
	c.p.k.mu.Lock()
	defer c.p.k.mu.Unlock()
	switch {
	case c.closed:
		return net.ErrClosed
	case c.late:
		return os.ErrDeadlineExceeded
	}
	return nil
}

// Waiting reports whether a goroutine waits in Write that Wake would serve.
func (c *Conn) Waiting() bool {
	c.p.k.mu.Lock()
	defer c.p.k.mu.Unlock()
	return len(c.writers) > 0 && !c.p.stopped && c.writable()
}

func (c *Conn) writable() bool {
	s, errno := c.p.socket(c.fd)
	return errno != 0 || c.gone || s.writable()
}

// Wake lets the goroutines that wait in Write try again.
func (c *Conn) Wake() {
	c.p.k.mu.Lock()
	defer c.p.k.mu.Unlock()
	c.wakeAll()
}

// Ready reports whether a reader that waited for the socket would be woken: it has found something last time, or
// something has happened since, be it only that the deadline was set.
func (c *Conn) Ready() bool {
	c.p.k.mu.Lock()
	defer c.p.k.mu.Unlock()
	s, errno := c.p.socket(c.fd)
	return !c.parked || c.passed || c.closed || c.gone || errno != 0 || s.edge
}

// SetReadDeadline implements what a link needs of net.Conn: a time in the past makes Read fail until it is set to none.
func (c *Conn) SetReadDeadline(t time.Time) error {
	c.p.k.mu.Lock()
	defer c.p.k.mu.Unlock()
	c.passed = !t.IsZero()
	return nil
}

// SetWriteDeadline is SetReadDeadline for Write.
func (c *Conn) SetWriteDeadline(t time.Time) error {
	c.p.k.mu.Lock()
	defer c.p.k.mu.Unlock()
	if c.late = !t.IsZero(); c.late {
		c.wakeAll()
	}
	return nil
}

// wakeAll wakes all who wait in Write. The caller holds k.mu.
func (c *Conn) wakeAll() {
	for _, ch := range c.writers {
		close(ch)
	}
	c.writers = nil
}

// Close implements sys.Conn, but does not wait: whoever lets go of the descriptor last closes it.
func (c *Conn) Close() error {
	c.p.k.mu.Lock()
	defer c.p.k.mu.Unlock()
	if c.closed {
		return net.ErrClosed
	}
	c.closed = true
	c.wakeAll()
	c.letGo()
	return nil
}

// Open reports whether the descriptor is still open.
func (c *Conn) Open() bool {
	c.p.k.mu.Lock()
	defer c.p.k.mu.Unlock()
	return !c.gone && !c.p.dead
}

// FD is the number of the descriptor.
func (c *Conn) FD() int { return c.fd }

// SyscallConn implements syscall.Conn.
func (c *Conn) SyscallConn() (syscall.RawConn, error) { return c, nil }

// LocalAddr implements net.Conn.
func (c *Conn) LocalAddr() net.Addr { return &net.UnixAddr{Net: "unixpacket"} }

func (c *Conn) String() string {
	c.p.k.mu.Lock()
	defer c.p.k.mu.Unlock()
	s, errno := c.p.socket(c.fd)
	if errno != 0 || c.gone {
		return "closed"
	}
	return fmt.Sprintf("%d messages to read, %d of %d bytes of the buffer in use, a reader parked %v, edge %v, %d writers wait",
		len(s.queue), s.used, s.buffer, c.parked, s.edge, len(c.writers))
}
