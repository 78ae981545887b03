//go:build unix && !aix

package fastpass

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"os"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"example.com/fdpass/internal/page"

	"golang.org/x/sys/unix"
)

// Conn is a received stream socket, TCP or Unix, as a net.Conn. It uses the descriptor itself, where net.FileConn
// makes a duplicate and leaves the original to be closed, and costs a third of it. Reads give the payload that
// travelled with the descriptor first and the socket's bytes after it.
//
// All methods may be called from several goroutines at once. Read and Write block up to their deadline and do not
// allocate. Errors are those of a net.TCPConn: *net.OpError, which net.ErrClosed, os.ErrDeadlineExceeded and
// the system's errno can be found in, and a bare io.EOF at the end of the stream. A write on a connection that was reset
// returns EPIPE whatever the number of the descriptor; it never raises SIGPIPE.
//
// A Conn is not a net.TCPConn. Socket options are as the sender left them (package net would set TCP_NODELAY
// and keep-alive) and are changed through SyscallConn; net.Buffers are written one by one; io.Copy moves the bytes
// through the process. It has no ReadFrom on purpose: os.File's neither uses sendfile towards a socket nor maps its
// errors, and sendfile was not faster over loopback. Std gives up the advantage and returns the real thing.
//
// A Conn that becomes unreachable is closed by the garbage collector some time, without the shutdown of a
// shared one: close it.
type Conn struct {
	file   *os.File        // a socket registered with the runtime's poller
	raw    syscall.RawConn // file's
	tag    uint64
	shared bool
	open   *page.Page // where it is counted as open; nil: nowhere

	closed atomic.Bool // set before the descriptor is touched, so whoever fails because of Close finds it set

	unread  atomic.Bool // false is stored when the payload is used up and spares every later Read the mutex
	mu      sync.Mutex
	payload []byte // guarded by mu: what is unread of it

	addresses atomic.Pointer[addresses] // nil: nobody has asked
}

// NewConn makes a Conn of a received descriptor, which has to be a stream socket, and takes it over together with
// d.Payload: neither is the caller's any more, so a slice that RecvBatch is to fill again must be replaced first.
// On error both stay with the caller, the descriptor open. The error is a *DescError: the descriptor is not a stream
// socket, or the runtime cannot poll it, for instance because it belongs to another Conn already.
//
// A descriptor in blocking mode is made non-blocking. The mode belongs to the open file, not to the descriptor, so
// every process that holds a duplicate sees the change. Descriptors 1 and 2 are moved to another number,
// because the os package answers EPIPE there by killing the process.
//
// NewConn does not block.
func NewConn(d Desc) (*Conn, error) {
	file, err := openSocket(d.FD)
	if err != nil {
		return nil, &DescError{FD: d.FD, Err: err}
	}
	c := &Conn{file: file, tag: d.Tag, shared: d.Shared, payload: d.Payload}
	c.raw, _ = file.SyscallConn() // fails on a nil file only
	c.unread.Store(len(d.Payload) > 0)
	return c, nil
}

// Read reads the rest of the payload, or else from the socket. It never mixes the two in one call.
func (c *Conn) Read(b []byte) (int, error) {
	if c.unread.Load() && len(b) > 0 {
		if n, err := c.readPayload(b); n > 0 || err != nil {
			return n, c.opError("read", err)
		}
	}
	n, err := c.file.Read(b)
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
	// Close and a deadline that has passed count although the bytes are at hand, as with any net.Conn. The poller knows
	// of both; it is asked without a system call. No reader can be waiting in it while there is payload left.
	if err := c.raw.Read(isReady); err != nil {
		return 0, err
	}
	n := copy(b, c.payload)
	if c.payload = c.payload[n:]; len(c.payload) == 0 {
		c.payload = nil
		c.unread.Store(false)
	}
	return n, nil
}

func isReady(uintptr) bool { return true }

// Write writes b to the socket.
func (c *Conn) Write(b []byte) (int, error) {
	n, err := c.file.Write(b)
	if err != nil {
		err = c.opError("write", err)
	}
	return n, err
}

// Close closes the descriptor and unblocks every Read and Write, which return net.ErrClosed, and so does a second
// Close. A descriptor that came as Shared is shut down first, since other processes may hold a copy of it that
// would keep the connection open.
func (c *Conn) Close() error {
	if c.closed.Swap(true) {
		return c.opError("close", net.ErrClosed)
	}
	c.open.Opened(-1)
	if c.shared {
		_ = c.raw.Control(func(fd uintptr) { _ = syscall.Shutdown(int(fd), syscall.SHUT_RDWR) }) // ENOTCONN: the peer was faster
	}
	if err := c.file.Close(); err != nil {
		return c.wrap("close", err)
	}
	return nil
}

// CloseRead shuts down the reading side. Payload that is unread can still be read.
func (c *Conn) CloseRead() error { return c.shutdown(syscall.SHUT_RD) }

// CloseWrite shuts down the writing side: the peer reads to the end and can still send.
func (c *Conn) CloseWrite() error { return c.shutdown(syscall.SHUT_WR) }

func (c *Conn) shutdown(how int) error {
	var err error
	if e := c.raw.Control(func(fd uintptr) { err = os.NewSyscallError("shutdown", syscall.Shutdown(int(fd), how)) }); e != nil {
		err = e
	}
	return c.opError("close", err)
}

// SetDeadline sets the deadline of reads, of the payload too, and of writes.
func (c *Conn) SetDeadline(t time.Time) error { return c.opError("set", c.file.SetDeadline(t)) }

// SetReadDeadline sets the deadline of reads, of the payload too.
func (c *Conn) SetReadDeadline(t time.Time) error { return c.opError("set", c.file.SetReadDeadline(t)) }

// SetWriteDeadline sets the deadline of writes.
func (c *Conn) SetWriteDeadline(t time.Time) error {
	return c.opError("set", c.file.SetWriteDeadline(t))
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
	// Control keeps the number from being closed and given to another file in between.
	if e := c.raw.Control(func(uintptr) { std, err = net.FileConn(c.file) }); e != nil {
		return nil, c.opError("file", e)
	}
	if err != nil {
		return nil, err
	}
	if c.closed.Swap(true) {
		_ = std.Close()
		return nil, c.opError("file", net.ErrClosed)
	}
	c.open.Opened(-1)
	_ = c.file.Close() // the duplicate keeps the connection open, and nobody can be told
	return std, nil
}

// SyscallConn gives access to the descriptor, for socket options and the like. Reading through it passes by the payload.
func (c *Conn) SyscallConn() (syscall.RawConn, error) { return (*rawConn)(c), nil }

// rawConn is Conn's syscall.RawConn: the file's with the errors of a network connection.
type rawConn Conn

func (r *rawConn) Control(f func(fd uintptr)) error {
	return (*Conn)(r).opError("raw-control", r.raw.Control(f))
}

func (r *rawConn) Read(f func(fd uintptr) (done bool)) error {
	return (*Conn)(r).opError("raw-read", r.raw.Read(f))
}

func (r *rawConn) Write(f func(fd uintptr) (done bool)) error {
	return (*Conn)(r).opError("raw-write", r.raw.Write(f))
}

// opError makes an error of the os package one of the net package.
func (c *Conn) opError(op string, err error) error {
	switch {
	case err == nil:
		return nil
	case c.closed.Load(): // whatever it looked like: the shutdown of a shared socket is an EOF to a pending Read
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

var (
	errNotStream = errors.New("not a stream socket")

	// unpolled are the files of descriptors that NewConn gave back because the poller refused them. An os.File cannot
	// be parted from its finalizer, which would close the caller's descriptor, so it must stay reachable for ever.
	// It takes a full epoll table, or a descriptor that is polled already, to get here.
	unpolled sync.Map // *os.File → nothing
)

// openSocket makes a pollable file of a stream socket. On error fd stays open and the caller's.
func openSocket(fd int) (*os.File, error) {
	// os.NewFile would take anything, and have it closed by a finalizer: look before.
	typ, err := syscall.GetsockoptInt(fd, syscall.SOL_SOCKET, syscall.SO_TYPE)
	if err != nil {
		return nil, os.NewSyscallError("getsockopt", err)
	}
	if typ != syscall.SOCK_STREAM {
		return nil, errNotStream
	}
	// os.NewFile asks again, but it must not meet a blocking descriptor: it would own it without polling it.
	flags, err := unix.FcntlInt(uintptr(fd), syscall.F_GETFL, 0)
	if err == nil && flags&syscall.O_NONBLOCK == 0 {
		_, err = unix.FcntlInt(uintptr(fd), syscall.F_SETFL, flags|syscall.O_NONBLOCK)
	}
	if err != nil {
		return nil, os.NewSyscallError("fcntl", err)
	}
	if fd == 1 || fd == 2 {
		return moveSocket(fd)
	}
	file := os.NewFile(uintptr(fd), "socket")
	if err := checkPolled(file); err != nil {
		unpolled.Store(file, nil)
		return nil, err
	}
	return file, nil
}

// moveSocket is openSocket for the numbers of standard output and error: os.File.Write raises SIGPIPE for them. A process
// that was started with these closed receives its connections there.
func moveSocket(fd int) (*os.File, error) {
	moved, err := unix.FcntlInt(uintptr(fd), unix.F_DUPFD_CLOEXEC, 3)
	if err != nil {
		return nil, os.NewSyscallError("fcntl", err)
	}
	file := os.NewFile(uintptr(moved), "socket")
	if err := checkPolled(file); err != nil {
		_ = file.Close()
		return nil, err
	}
	_ = syscall.Close(fd)
	return file, nil
}

// checkPolled finds out, without a system call, whether os.NewFile could register the file with the runtime's poller:
// if it could not, it has no deadlines, and reads fail with EAGAIN.
func checkPolled(file *os.File) error {
	if err := file.SetDeadline(time.Time{}); err != nil {
		return fmt.Errorf("the runtime cannot poll it, or does already: %w", err)
	}
	return nil
}
