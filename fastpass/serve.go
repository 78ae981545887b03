//go:build unix

package fastpass

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"syscall"
	"time"

	"example.com/fdpass/internal/sys"

	"golang.org/x/sys/unix"
)

const (
	serveBatch = 253                    // connections accepted before they are dispatched
	serveLook  = 250 * time.Millisecond // how often an idle Serve looks whether its listener was closed
)

// servePause is how long Serve pauses in a shortage.
var servePause = backoff{first: acceptPause.first, most: serveLook}

// Serve accepts connections from ln and dispatches them, until Shutdown or until ln is closed: then it returns net.ErrClosed.
// Connections are accepted in batches straight from the descriptor, non-blocking and close-on-exec, without a net.Conn or
// a registration with the runtime's poller for each; so ln must be a *net.TCPListener, a *net.UnixListener or
// another listener that is a syscall.Conn for a listening socket (not one of crypto/tls: the workers do TLS). Options that
// connections inherit are best set on ln; Serve itself turns TCP_NODELAY and keep-alive on, as package net does for each
// connection that it accepts. Serve does not close ln.
//
// When this process runs out of descriptors, Serve pauses, longer each time, up to a quarter of a second, and the clients wait in the queue of the
// listening socket. Other errors of accept end it.
func (p *Pool) Serve(ln net.Listener) error {
	p.mu.Lock()
	if p.closed.Load() {
		p.mu.Unlock()
		return net.ErrClosed
	}
	p.serving.Add(1)
	p.mu.Unlock()
	defer p.serving.Done()
	f, alive, err := dupListener(ln)
	if err != nil {
		return err
	}
	defer f.Close()
	sys.GrowTable() // or else clients wait each time that it doubles
	raw, err := f.SyscallConn()
	if err != nil {
		return fmt.Errorf("fastpass: %w", err)
	}
	stop := make(chan struct{})
	defer close(stop)
	go func() {
		select {
		case <-p.closing:
			f.SetReadDeadline(longAgo) // wakes the accepter
		case <-stop:
		}
	}()
	a := acceptor{pool: p, ds: make([]Desc, 0, serveBatch), pause: servePause}
	raw.Control(func(fd uintptr) { a.brief = sys.Brief(int(fd)) })
	accept := a.accept
	for look := true; ; {
		if look {
			f.SetReadDeadline(time.Now().Add(serveLook)) // first: Shutdown sets one to be noticed
			if p.closed.Load() || !alive() {
				return net.ErrClosed
			}
		}
		err := raw.Read(accept)
		if look = errors.Is(err, os.ErrDeadlineExceeded); look {
			continue
		}
		if err != nil {
			return fmt.Errorf("fastpass: %w", err)
		}
		if a.err != nil {
			return a.err
		}
		if err := a.settle(p.closing); err != nil {
			return err
		}
	}
}

// hand dispatches what was accepted. When the pool is closed meanwhile, that is still delivered, or to be had from Undelivered.
func (p *Pool) hand(ds []Desc) error {
	n, err := p.Dispatch(ds)
	for errors.Is(err, os.ErrDeadlineExceeded) { // Dispatch's callers have deadlines, clients have none
		ds = ds[n:]
		p.room.Wait(func() bool { return p.hasPlace() || !p.write.passed() })
		n, err = p.Dispatch(ds)
	}
	if errors.Is(err, net.ErrClosed) {
		p.adopt(ds[n:])
		return net.ErrClosed
	}
	for _, d := range ds[n:] {
		sys.Close(d.FD)
	}
	return err
}

// dupListener returns a file for the socket of ln, which waits for connections as its own RawConn would not, and a function
// that tells whether ln is still open.
func dupListener(ln net.Listener) (f *os.File, alive func() bool, err error) {
	c, ok := ln.(syscall.Conn)
	if !ok {
		return nil, nil, fmt.Errorf("fastpass: Serve takes listeners that are a syscall.Conn, such as *net.TCPListener, not %T", ln)
	}
	raw, err := c.SyscallConn()
	if err != nil {
		return nil, nil, fmt.Errorf("fastpass: %w", err)
	}
	fd := -1
	cerr := raw.Control(func(s uintptr) {
		if fd, err = unix.FcntlInt(s, unix.F_DUPFD_CLOEXEC, 0); err == nil {
			unix.SetNonblock(fd, true) // as package net has it; the accepter takes all that wait and then looks elsewhere
		}
		unix.SetsockoptInt(int(s), unix.IPPROTO_TCP, unix.TCP_NODELAY, 1) // fails where it means nothing
		unix.SetsockoptInt(int(s), unix.SOL_SOCKET, unix.SO_KEEPALIVE, 1)
	})
	if cerr != nil {
		return nil, nil, fmt.Errorf("fastpass: %w", cerr)
	}
	if err != nil {
		return nil, nil, fmt.Errorf("fastpass: %w", os.NewSyscallError("fcntl", err))
	}
	alive = func() bool { return raw.Control(func(uintptr) {}) == nil }
	return os.NewFile(uintptr(fd), "listener"), alive, nil
}

// acceptor accepts connections in batches, and hands them to the pool.
type acceptor struct {
	pool  *Pool
	ds    []Desc
	brief bool          // sys.Brief of the listener
	errno syscall.Errno // why accept has failed last; 0: it has not
	err   error         // why the pool takes no more
	pause backoff
}

// accept takes what waits in the listening socket's queue, up to a batch, and hands it on. If the queue was empty then, it returns
// false: what has come since makes the socket ready again, so RawConn.Read need not look once more before it waits.
func (a *acceptor) accept(fd uintptr) bool {
	empty := a.take(fd)
	if empty || len(a.ds) > 0 {
		a.pause.reset()
	}
	a.err = a.pool.hand(a.ds)
	return !empty || a.err != nil
}

// take accepts up to a batch. It returns true if the queue is empty.
func (a *acceptor) take(fd uintptr) (empty bool) {
	a.ds, a.errno = a.ds[:0], 0
	for len(a.ds) < cap(a.ds) {
		c, errno := sys.Accept(int(fd))
		switch errno {
		case 0:
			a.ds = append(a.ds, Desc{FD: c, brief: a.brief})
		case syscall.ECONNABORTED, syscall.EPROTO: // that client is gone
		case syscall.EAGAIN:
			return true
		default:
			a.errno = errno
			return false
		}
	}
	return false
}

// settle deals with the error that ended a batch: it waits out a shortage.
func (a *acceptor) settle(closing <-chan struct{}) error {
	switch {
	case a.errno == 0:
		return nil
	case isShortage(a.errno):
		return a.pause.wait(context.Background(), closing)
	}
	return fmt.Errorf("fastpass: %w", os.NewSyscallError("accept", a.errno))
}
