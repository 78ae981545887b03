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

	"example.com/fdpass/cmsgpool"
	"example.com/fdpass/internal/sys"

	"golang.org/x/sys/unix"
)

const (
	serveBatch = cmsgpool.MaxFDs        // connections accepted before they are dispatched
	serveCheck = 250 * time.Millisecond // how often Serve looks whether its listener was closed
)

// servePause is how long Serve pauses in a shortage.
var servePause = backoff{first: acceptPause.first, most: serveCheck}

// Serve accepts connections from ln and dispatches them, until Shutdown or until ln is closed: then it returns
// net.ErrClosed, within a quarter of a second, until which the port stays bound. What it has accepted by then is still
// dispatched. Connections are accepted in batches straight from the descriptor, non-blocking and close-on-exec, without
// a net.Conn or a registration with the runtime's poller for each; so ln must be a *net.TCPListener, a
// *net.UnixListener or another listener that is a syscall.Conn for a listening socket (not one of crypto/tls: the
// workers do TLS). Serve does not close ln.
//
// Options that connections inherit are best set on ln before anybody connects. Serve itself turns TCP_NODELAY and
// keep-alive on there, the latter with the system's times (on Linux after two hours; package net has 15 seconds).
//
// Where another process has put the listening socket into blocking mode, and takes the connection that Serve has seen
// in its queue, Serve waits for the next one, and returns no sooner.
//
// When this process runs out of descriptors, Serve pauses, longer each time, up to a quarter of a second, and the
// clients wait in the queue of the listening socket. Other errors of accept end it, and so does a Policy that picks a
// worker that there is not.
func (p *Pool) Serve(ln net.Listener) error {
	p.mu.Lock()
	if err := p.closedError(); err != nil {
		p.mu.Unlock()
		return err
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
	a := acceptor{pool: p, ds: make([]Desc, 0, serveBatch), pause: servePause, done: make(chan struct{})}
	a.ready = func() bool { return p.backlogReady() || a.isDone() }
	raw.Control(func(fd uintptr) { a.brief = sys.Brief(int(fd)) })
	stop := make(chan struct{})
	defer close(stop)
	go a.watch(alive, func() { f.SetReadDeadline(longAgo) }, stop)
	for accept := a.accept; ; {
		err := raw.Read(accept)
		woken := errors.Is(err, os.ErrDeadlineExceeded)
		if woken {
			f.SetReadDeadline(time.Time{}) // first: who is woken because it is over finds that it is
		}
		switch {
		case a.err != nil:
			return a.err
		case a.isDone():
			if err := p.closedError(); err != nil {
				return err
			}
			return net.ErrClosed
		case woken:
			continue
		case err != nil:
			return fmt.Errorf("fastpass: %w", err)
		}
		if err := a.waitOut(); err != nil {
			return err
		}
	}
}

// dupListener returns a file for the socket of ln, which waits for connections as its own RawConn would not, and a
// function that tells whether ln is still open.
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
			unix.SetNonblock(fd, true) // as package net has it; the acceptor takes all that wait and then looks elsewhere
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
	done  chan struct{} // closed when the pool or the listener is
	ready func() bool   // the pool has a place, or it is over
}

func (a *acceptor) isDone() bool {
	select {
	case <-a.done:
		return true
	default:
		return false
	}
}

// watch finds out when it is over. It wakes the acceptor then, and now and then before, should it wait in vain.
func (a *acceptor) watch(alive func() bool, wake func(), stop <-chan struct{}) {
	check := time.NewTicker(serveCheck)
	defer check.Stop()
	for over := false; !over; wake() {
		select {
		case <-check.C:
			over = !alive() || a.pool.wrong.Load() != nil
		case <-a.pool.closing:
			over = true
		case <-stop:
			return
		}
		if over {
			close(a.done) // first: who is woken looks
			a.pool.freed.Notify()
		}
	}
}

// accept takes what waits in the listening socket's queue, up to a batch, and hands it on. If the queue was empty then,
// it returns false: what has come since makes the socket ready again, so RawConn.Read need not look once more before it
// waits.
func (a *acceptor) accept(fd uintptr) bool {
	empty := a.acceptWaiting(fd)
	a.pool.accepted.Add(uint64(len(a.ds)))
	if empty || len(a.ds) > 0 {
		a.pause.reset()
	}
	a.err = a.dispatch(a.ds)
	return !empty || a.err != nil
}

// dispatch hands what was accepted to the pool. Dispatch's callers have deadlines, clients have none. If it is over
// meanwhile, or the policy fails, what is left is the pool's all the same: delivered, or to be had from Undelivered.
func (a *acceptor) dispatch(ds []Desc) error {
	a.pool.identify(ds)
	for len(ds) > 0 {
		n, err := a.pool.tryDispatch(ds)
		if ds = ds[n:]; n == 0 && err == nil && a.isDone() {
			err = net.ErrClosed
		}
		if err != nil {
			a.pool.adopt(ds)
			return err
		}
		if n == 0 {
			a.pool.freed.Wait(a.ready)
		}
	}
	return nil
}

// acceptWaiting accepts what waits, up to a batch. It returns true if that is all: what comes later makes the socket
// ready again.
//
// It asks first how many there are: to find out by accepting one that is not there takes longer than to accept one that
// is. And whoever else has the listening socket may have put it in blocking mode, as os.File.Fd does, and may need
// that. Then each connection is handed on by itself, as the next accept waits if somebody else takes what was seen.
func (a *acceptor) acceptWaiting(fd uintptr) (empty bool) {
	a.ds, a.errno = a.ds[:0], 0
	most, blocking := cap(a.ds), sys.Blocking(int(fd))
	if blocking {
		most = 1
	}
	n, exactly := sys.Waiting(int(fd))
	for n > 0 && len(a.ds) < most {
		c, errno := sys.Accept(int(fd), blocking)
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
		if n--; n == 0 && !exactly { // there may be more
			n, exactly = sys.Waiting(int(fd))
		}
	}
	return n == 0
}

// waitOut deals with the error that ended a batch: a shortage is waited out.
func (a *acceptor) waitOut() error {
	switch {
	case a.errno == 0:
		return nil
	case isShortage(a.errno):
		a.pool.pauses.Add(1)
		a.pause.wait(context.Background(), a.done) // that it is over Serve sees by itself
		return nil
	}
	return fmt.Errorf("fastpass: %w", os.NewSyscallError("accept", a.errno))
}
