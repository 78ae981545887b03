//go:build linux && !fdpass_portable

package sys

import (
	"errors"
	"net"
	"os"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// quiet is a Conn that wakes the process only for what is waited for, or was when a deadline ended the last Write.
//
// The Go runtime asks its poller for everything that may happen to a socket. So whenever the peer takes a message, and
// with that makes room for another one, a thread is woken that finds nobody waiting for room. That is a context switch
// for each message that is sent. A quiet asks a poller of its own: always for what comes in, but for room only in
// Write. The runtime asks that poller, as an epoll instance can itself be polled.
//
// Errors are those of package os, except net.ErrClosed.
type quiet struct {
	guard
	addr net.Addr
	in   interest
	out  interest
}

// newQuiet makes a quiet of the socket fd. It returns nil where that is not possible, for lack of descriptors for
// example, and leaves fd as it is.
func newQuiet(fd int, addr net.Addr) *quiet {
	q := &quiet{addr: addr}
	q.guard.init(fd)
	if q.in.init(fd, unix.EPOLLIN|unix.EPOLLRDHUP|unix.EPOLLET) != nil {
		return nil
	}
	if q.out.init(fd, 0) != nil {
		q.in.file.Close()
		return nil
	}
	return q
}

// SyscallConn implements syscall.Conn.
func (q *quiet) SyscallConn() (syscall.RawConn, error) { return q, nil }

// Read implements syscall.RawConn.
func (q *quiet) Read(f func(fd uintptr) (done bool)) error { return q.wait(&q.in, f) }

// Write implements syscall.RawConn.
func (q *quiet) Write(f func(fd uintptr) (done bool)) error { return q.wait(&q.out, f) }

// wait calls f until it is done, whenever there is something of interest.
func (q *quiet) wait(i *interest, f func(fd uintptr) bool) error {
	w := waits.Get().(*waiting)
	w.q, w.i, w.f = q, i, f
	err := i.raw.Read(w.try)
	if w.gone || err != nil && q.isShut() {
		err = net.ErrClosed
	}
	*w = waiting{try: w.try}
	waits.Put(w)
	return err
}

// SetReadDeadline implements Conn.
func (q *quiet) SetReadDeadline(t time.Time) error { return q.in.file.SetReadDeadline(t) }

// SetWriteDeadline implements Conn.
func (q *quiet) SetWriteDeadline(t time.Time) error { return q.out.file.SetReadDeadline(t) }

// LocalAddr implements Conn.
func (q *quiet) LocalAddr() net.Addr { return q.addr }

// Close implements Conn.
func (q *quiet) Close() error {
	if !q.shut() {
		return net.ErrClosed
	}
	err := errors.Join(q.in.file.Close(), q.out.file.Close()) // the calls that wait there return
	<-q.unused
	closeFD(q.fd)
	return err
}

// interest is an epoll instance with the socket, and something that may happen to it.
type interest struct {
	fd    int
	file  *os.File // which the runtime polls
	raw   syscall.RawConn
	asked bool // within raw.Read: for room
}

func (i *interest) init(socket int, events uint32) error {
	fd, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	if err != nil {
		return err
	}
	err = unix.EpollCtl(fd, unix.EPOLL_CTL_ADD, socket, &unix.EpollEvent{Events: events})
	if err == nil {
		err = unix.SetNonblock(fd, true) // or else the runtime does not poll it
	}
	if err != nil {
		closeFD(fd)
		return err
	}
	i.fd, i.file = fd, os.NewFile(uintptr(fd), "epoll")
	if i.raw, err = i.file.SyscallConn(); err == nil {
		err = i.file.SetReadDeadline(time.Time{}) // fails if it is not polled
	}
	if err != nil {
		i.file.Close()
	}
	return err
}

// waiting is a call of Read or Write.
type waiting struct {
	q    *quiet
	i    *interest
	f    func(fd uintptr) bool
	gone bool                  // q is closed
	try  func(fd uintptr) bool // again of this one; bound once
}

var waits = sync.Pool{New: func() any {
	w := new(waiting)
	w.try = w.again
	return w
}}

// again calls f, and if it is not done has itself called again when there is something of interest.
func (w *waiting) again(uintptr) bool {
	if !w.q.Acquire() {
		w.gone = true
		return true
	}
	defer w.q.Release()
	done := w.f(uintptr(w.q.fd))
	if !done && w.i == &w.q.out && !w.i.asked { // for room it has to ask each time
		w.want(unix.EPOLLOUT)
		done = w.f(uintptr(w.q.fd)) // what has happened before may not be reported
	}
	if done && w.i.asked {
		w.want(0) // nobody takes events from this poller, so it would go on reporting them
	}
	return done || w.gone
}

// want says what is of interest from now on.
func (w *waiting) want(events uint32) {
	e := unix.EpollEvent{Events: events}
	if err := unix.EpollCtl(w.i.fd, unix.EPOLL_CTL_MOD, w.q.fd, &e); err != nil {
		w.gone = true
	}
	w.i.asked = events != 0
}
