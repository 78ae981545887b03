//go:build unix

package fastpass

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"os"
	"runtime"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"example.com/fdpass/internal/page"
	"example.com/fdpass/internal/sys"

	"golang.org/x/sys/unix"
)

// Conn is a received stream socket, TCP or Unix, as a net.Conn. It uses the descriptor itself, where net.FileConn makes
// a duplicate and leaves the original to be closed, and tells the runtime's poller of it only when a Read or Write has
// to wait. BenchmarkConn compares them. Reads give the payload that travelled with the descriptor first and the
// socket's bytes after it.
//
// All methods may be called from several goroutines at once. Read and Write block up to their deadline and do not
// allocate, but for the first that has to wait. Errors are those of a net.TCPConn: *net.OpError, which net.ErrClosed,
// os.ErrDeadlineExceeded and the system's errno can be found in, and a bare io.EOF at the end of the stream. A write on
// a connection that was reset returns EPIPE whatever the number of the descriptor; it never raises SIGPIPE.
//
// A Conn is not a net.TCPConn. Socket options are as the sender left them (package net would set TCP_NODELAY
// and keep-alive) and are changed through SyscallConn; net.Buffers are written one by one; io.Copy moves the bytes
// through the process. It has no ReadFrom on purpose: os.File's neither uses sendfile towards a socket nor maps its
// errors, and sendfile was not faster over loopback. Std gives up the advantage and returns the real thing.
//
// A Write from a mapped file may hold up all goroutines until the file's pages have come, as it does when they are read
// by Go code. Do not make one of a file whose filesystem this process serves (FUSE).
//
// A Conn that becomes unreachable is closed by the garbage collector, some time: close it.
type Conn struct {
	socket    lazySocket
	tag       uint64
	shared    bool
	openCount *page.Page  // where it is counted as open; nil: nowhere
	last      *lastCloser // nil: the peer has no copy that it is to close first

	unread  atomic.Bool // false is stored when the payload is used up and spares every later Read the mutex
	mu      sync.Mutex
	payload []byte // guarded by mu: what is unread of it

	addresses atomic.Pointer[addresses] // nil: not asked for yet
}

// NewConn makes a Conn of a received descriptor, which has to be a stream socket, and takes it over together with
// d.Payload: neither is the caller's any more, so a slice that RecvBatch is to fill again must be replaced first. On
// error both stay with the caller, the descriptor open. A listening socket is a stream socket, but no connection: see
// Passer.NetListener. The error is a *DescError: the descriptor is not a stream socket. Should the runtime be unable to
// poll it, each Read and Write that would have to wait says so.
//
// A descriptor in blocking mode is made non-blocking: on Linux when a Read or Write has to wait, elsewhere at once. The
// mode belongs to the open file, not to the descriptor, so every process that holds a duplicate sees the change;
// whichever mode it sets, on Linux no call here waits in the kernel. Descriptors 1 and 2, which package os uses, are
// moved to another number.
//
// NewConn does not block.
func NewConn(d Desc) (*Conn, error) {
	return newConn(d, false)
}

// newConn is NewConn. Brief says that nobody has the socket but processes that could stop this one anyhow.
func newConn(d Desc, brief bool) (*Conn, error) {
	s, err := takeSocket(d.FD, brief)
	if err != nil {
		return nil, &DescError{FD: d.FD, Err: err}
	}
	c := &Conn{socket: lazySocket{stream: s}, tag: d.Tag, shared: d.Shared, payload: d.Payload}
	c.unread.Store(len(d.Payload) > 0)
	runtime.SetFinalizer(c, (*Conn).Close)
	return c, nil
}

// Read reads the rest of the payload, or else from the socket. It never mixes the two in one call.
func (c *Conn) Read(b []byte) (int, error) {
	if c.unread.Load() && len(b) > 0 {
		if n, err := c.readPayload(b); n > 0 || err != nil {
			return n, c.opError("read", err)
		}
	}
	n, err := c.socket.Read(b)
	if err != nil {
		err = c.opError("read", err)
	}
	return n, err
}

// readPayload returns 0 and no error when another goroutine has read the rest.
func (c *Conn) readPayload(b []byte) (int, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.payload) == 0 {
		return 0, nil
	}
	// Close and a deadline that has passed count although the bytes are at hand, as with any net.Conn.
	if err := c.socket.check(&c.socket.readBy); err != nil {
		return 0, err
	}
	n := copy(b, c.payload)
	if c.payload = c.payload[n:]; len(c.payload) == 0 {
		c.payload = nil
		c.unread.Store(false)
	}
	return n, nil
}

// Write writes all of b to the socket, and waits whenever that has no room. The bytes of one call lie together, however
// many goroutines write. On error n bytes of b are with the socket.
func (c *Conn) Write(b []byte) (n int, err error) {
	n, err = c.socket.Write(b)
	if err != nil {
		err = c.opError("write", err)
	}
	return n, err
}

// Close closes the descriptor and unblocks every Read and Write, which return net.ErrClosed, and so does a second
// Close. A descriptor that came as Shared, or from the NetListener of a Framed link, is shut down first, since other
// processes may hold a copy of it that would keep the connection open. From such a NetListener the descriptor itself is
// closed up to 25 ms later, unless a Read or Write has had to wait: the front is to close its copy first.
//
// It does not block, unless SO_LINGER was set on the socket, here or by another process that has it: then it may take
// until the peer has received everything, or until that time is over.
func (c *Conn) Close() error {
	if !c.end(c.shared) {
		return c.wrap("close", net.ErrClosed)
	}
	return nil
}

// end closes c. It returns false if that was done before.
func (c *Conn) end(shut bool) bool {
	if !c.socket.shut() {
		return false
	}
	runtime.SetFinalizer(c, nil)
	c.openCount.Opened(-1) // first: the client may be back at the front before this process runs again
	c.socket.close(shut, c.last)
	return true
}

// CloseRead shuts down the reading side. Payload that is unread can still be read. Errors: net.ErrClosed after Close,
// ENOTCONN if the connection has ended already.
func (c *Conn) CloseRead() error { return c.shutdown(syscall.SHUT_RD) }

// CloseWrite shuts down the writing side: the peer reads to the end and can still send. Errors are those of CloseRead.
func (c *Conn) CloseWrite() error { return c.shutdown(syscall.SHUT_WR) }

func (c *Conn) shutdown(how int) error {
	var err error
	if e := c.socket.Control(func(fd uintptr) { err = os.NewSyscallError("shutdown", syscall.Shutdown(int(fd), how)) }); e != nil {
		err = e
	}
	return c.opError("close", err)
}

// SetDeadline sets the deadline of reads, of the payload too, and of writes, also of calls that wait already. A zero
// time means none. After Close it returns net.ErrClosed.
func (c *Conn) SetDeadline(t time.Time) error {
	if err := c.SetReadDeadline(t); err != nil {
		return err
	}
	return c.SetWriteDeadline(t)
}

// SetReadDeadline sets the deadline of reads, of the payload too. After Close it returns net.ErrClosed.
func (c *Conn) SetReadDeadline(t time.Time) error {
	return c.opError("set", c.socket.SetReadDeadline(t))
}

// SetWriteDeadline sets the deadline of writes. After Close it returns net.ErrClosed.
func (c *Conn) SetWriteDeadline(t time.Time) error {
	return c.opError("set", c.socket.SetWriteDeadline(t))
}

// Tag returns the tag that travelled with the descriptor.
func (c *Conn) Tag() uint64 { return c.tag }

// Std turns c into a *net.TCPConn or *net.UnixConn, for code that insists on one. It costs what net.FileConn costs, a
// duplicate of the descriptor included; then c is closed, and calls that were blocked in it return net.ErrClosed.
// Deadlines are not carried over. On error c stays as it was.
//
// Unread payload is an error, since the standard types have no place for it: read it first. Shared is lost as
// well: call CloseRead and CloseWrite of the result before its Close, which does no harm to a connection of one's own.
func (c *Conn) Std() (net.Conn, error) {
	c.mu.Lock()
	unread := len(c.payload)
	c.mu.Unlock()
	if unread > 0 {
		return nil, c.opError("file", fmt.Errorf("fastpass: %d bytes of payload are unread", unread))
	}
	var std net.Conn
	var err error
	file, e := c.socket.poll(nil)
	if e == nil {
		// Control keeps the number from being closed and given to another file in between.
		e = c.socket.Control(func(uintptr) { std, err = net.FileConn(file.File) })
	}
	if e != nil {
		return nil, c.opError("file", e)
	}
	if err != nil {
		return nil, err
	}
	if !c.end(false) { // the duplicate keeps the connection open
		_ = std.Close()
		return nil, c.wrap("file", net.ErrClosed)
	}
	return std, nil
}

// SyscallConn gives access to the descriptor, for socket options and the like. The descriptor stays the Conn's: to send
// it, call Std and send a duplicate of the result's. Reading through it passes by the payload. The error is always nil;
// after Close the methods of the result return net.ErrClosed.
func (c *Conn) SyscallConn() (syscall.RawConn, error) { return (*rawConn)(c), nil }

// rawConn is Conn's syscall.RawConn: the methods of lazySocket, with the errors of a network connection.
type rawConn Conn

func (r *rawConn) Control(f func(fd uintptr)) error {
	return (*Conn)(r).opError("raw-control", r.socket.Control(f))
}

func (r *rawConn) Read(f func(fd uintptr) (done bool)) error {
	return (*Conn)(r).opError("raw-read", r.socket.rawRead(f))
}

func (r *rawConn) Write(f func(fd uintptr) (done bool)) error {
	return (*Conn)(r).opError("raw-write", r.socket.rawWrite(f))
}

// opError makes an error of the os package one of the net package.
func (c *Conn) opError(op string, err error) error {
	switch {
	case err == nil:
		return nil
	case c.socket.isClosed(): // whatever it looked like: the shutdown of a shared socket is an EOF to a pending Read
		err = net.ErrClosed
	case err == io.EOF:
		return err
	}
	return c.wrap(op, err)
}

func (c *Conn) wrap(op string, err error) error {
	if pe, ok := err.(*fs.PathError); ok {
		err = pe.Err
	}
	if _, ok := err.(syscall.Errno); ok {
		err = os.NewSyscallError(op, err)
	}
	local, remote := c.addrs()
	return &net.OpError{Op: op, Net: local.Network(), Source: local, Addr: remote, Err: err}
}

var errNotStream = errors.New("not a stream socket")

// takeSocket returns fd, which has to be a stream socket, under the number that it has from now on. It is Brief only if
// it may be. On error fd stays open.
func takeSocket(fd int, mayBeBrief bool) (sys.Stream, error) {
	s := sys.Stream{FD: fd}
	if !isNumber(fd) {
		return s, os.NewSyscallError("getsockopt", syscall.EBADF) // the kernel would look at its lowest bits only
	}
	typ, err := sys.SocketType(fd)
	if err != nil {
		return s, os.NewSyscallError("getsockopt", err)
	}
	if typ != syscall.SOCK_STREAM { // netlink and raw sockets have a protocol with the number of TCP's, too
		return s, errNotStream
	}
	if runtime.GOOS != "linux" && sys.Blocking(fd) { // macOS's kernel does not look at MSG_DONTWAIT when it sends
		if err := syscall.SetNonblock(fd, true); err != nil {
			return s, os.NewSyscallError("fcntl", err)
		}
	}
	s.Brief = mayBeBrief && sys.BriefStream(fd)
	if fd != 1 && fd != 2 {
		return s, nil
	}
	// A process that was started with these closed receives its connections there, and package os has the runtime poll
	// them already.
	moved, err := unix.FcntlInt(uintptr(fd), unix.F_DUPFD_CLOEXEC, 3)
	if err != nil {
		return s, os.NewSyscallError("fcntl", err)
	}
	_ = syscall.Close(fd)
	s.FD = moved
	return s, nil
}
