//go:build unix && !aix

package fastpass

import (
	"fmt"
	"io"
	"net"
	"os"
	"runtime"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
)

// lazySocket is a stream socket that the runtime's poller learns of only when somebody has to wait for it: until then calls go
// straight to the descriptor. A short connection may never have to wait, because its request has come before the worker gets
// it and there is room for the answer. That halves what a net.Conn costs, and the poller wakes nobody for what is not waited for.
type lazySocket struct {
	fd      int
	writing sync.Mutex              // one Write at a time, so that the bytes of each lie together
	polled  atomic.Pointer[os.File] // the runtime polls it, and it owns the descriptor; nil: nobody has had to wait

	mu              sync.Mutex
	readBy, writeBy time.Time // the deadlines
	users           int       // who uses fd, and its owner until Close: the last one closes it
	closed          bool
}

func (s *lazySocket) init(fd int) { s.fd, s.users = fd, 1 }

// begin keeps the descriptor open until end, unless it is closed, or by has passed.
func (s *lazySocket) begin(by *time.Time) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	err := s.check(by)
	if err == nil {
		s.users++
	}
	return err
}

// check returns net.ErrClosed or os.ErrDeadlineExceeded if nobody may begin any more. A deadline of nil is none. The caller holds mu.
func (s *lazySocket) check(by *time.Time) error {
	switch {
	case s.closed:
		return net.ErrClosed
	case by != nil && !by.IsZero() && time.Until(*by) <= 0:
		return os.ErrDeadlineExceeded
	}
	return nil
}

// end lets go of the descriptor.
func (s *lazySocket) end() {
	s.mu.Lock()
	s.users--
	last := s.users == 0
	s.mu.Unlock()
	if !last {
		return
	}
	if file := s.polled.Load(); file != nil {
		_ = file.Close() // nobody can be told
	} else {
		_ = syscall.Close(s.fd)
	}
}

// poll has the runtime poll the socket from now on, unless it is closed, or by has passed: then nobody is going to wait.
func (s *lazySocket) poll(by *time.Time) (*os.File, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if file := s.polled.Load(); file != nil {
		return file, nil
	}
	if err := s.check(by); err != nil {
		return nil, err
	}
	file := os.NewFile(uintptr(s.fd), "socket")
	s.polled.Store(file) // whatever comes: its finalizer would close the descriptor
	err := file.SetReadDeadline(s.readBy)
	if err == nil {
		err = file.SetWriteDeadline(s.writeBy)
	}
	if err != nil { // os.NewFile does not say so, but what it could not register has no deadlines
		return nil, fmt.Errorf("the runtime cannot poll descriptor %d, or does already: %w", s.fd, err)
	}
	return file, nil
}

// Read reads what there is, or waits.
func (s *lazySocket) Read(b []byte) (int, error) {
	file := s.polled.Load()
	if file == nil {
		n, err := s.readNow(b)
		if err != syscall.EAGAIN {
			return n, err
		}
		runtime.Gosched() // net/http reads beside each handler, and calls that off when the handler has returned: often by now
		if file, err = s.poll(&s.readBy); err != nil {
			return 0, err
		}
	}
	return file.Read(b)
}

// readNow returns EAGAIN if there is nothing.
func (s *lazySocket) readNow(b []byte) (int, error) {
	if err := s.begin(&s.readBy); err != nil {
		return 0, err
	}
	defer s.end()
	if len(b) == 0 {
		return 0, nil
	}
	n, err := transfer(syscall.Read, s.fd, b)
	if n == 0 && err == nil {
		err = io.EOF
	}
	return n, err
}

// Write writes all of b, and waits whenever there is no room.
func (s *lazySocket) Write(b []byte) (n int, err error) {
	s.writing.Lock()
	defer s.writing.Unlock()
	file := s.polled.Load()
	if file == nil {
		if n, err = s.writeNow(b); err != syscall.EAGAIN {
			return n, err
		}
		if file, err = s.poll(&s.writeBy); err != nil {
			return n, err
		}
	}
	m, err := file.Write(b[n:])
	return n + m, err
}

// writeNow returns EAGAIN if there is not room for all of b.
func (s *lazySocket) writeNow(b []byte) (n int, err error) {
	if err := s.begin(&s.writeBy); err != nil {
		return 0, err
	}
	defer s.end()
	for n < len(b) && err == nil {
		var m int
		m, err = transfer(syscall.Write, s.fd, b[n:])
		n += m
	}
	return n, err
}

// transfer makes one system call, again if a signal interrupts it, for no more than all systems take at once.
func transfer(call func(int, []byte) (int, error), fd int, b []byte) (int, error) {
	b = b[:min(len(b), 1<<30)]
	for {
		if n, err := call(fd, b); err != syscall.EINTR {
			return max(0, n), err
		}
	}
}

// readable returns the error that Read has to return even if there are bytes.
func (s *lazySocket) readable() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.check(&s.readBy)
}

// Control is that of syscall.RawConn, as are the next two.
func (s *lazySocket) Control(f func(fd uintptr)) error {
	if err := s.begin(nil); err != nil {
		return err
	}
	defer s.end()
	f(uintptr(s.fd))
	return nil
}

func (s *lazySocket) rawRead(f func(fd uintptr) (done bool)) error {
	return s.raw(&s.readBy, syscall.RawConn.Read, f)
}

func (s *lazySocket) rawWrite(f func(fd uintptr) (done bool)) error {
	return s.raw(&s.writeBy, syscall.RawConn.Write, f)
}

func (s *lazySocket) raw(by *time.Time, call func(syscall.RawConn, func(uintptr) bool) error, f func(uintptr) bool) error {
	file, err := s.poll(by)
	if err != nil {
		return err
	}
	raw, err := file.SyscallConn()
	if err != nil {
		return err
	}
	return call(raw, f)
}

func (s *lazySocket) SetReadDeadline(t time.Time) error {
	return s.setDeadline(&s.readBy, (*os.File).SetReadDeadline, t)
}

func (s *lazySocket) SetWriteDeadline(t time.Time) error {
	return s.setDeadline(&s.writeBy, (*os.File).SetWriteDeadline, t)
}

func (s *lazySocket) setDeadline(by *time.Time, set func(*os.File, time.Time) error, t time.Time) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.check(nil); err != nil {
		return err
	}
	*by = t
	if file := s.polled.Load(); file != nil {
		return set(file, t)
	}
	return nil
}

// Close has everybody return who waits, and the descriptor closed when nobody uses it any more; with shut, it shuts the connection down
// before. It returns false if the socket was closed already.
func (s *lazySocket) Close(shut bool) bool {
	s.mu.Lock()
	again, alone := s.closed, s.users == 1
	s.closed = true
	s.mu.Unlock()
	if again {
		return false
	}
	if shut {
		_ = syscall.Shutdown(s.fd, syscall.SHUT_RDWR) // ENOTCONN: the peer was faster
	}
	if file := s.polled.Load(); file != nil && !alone {
		_ = file.SetDeadline(longAgo) // or who waits would return only when the last user does
	}
	s.end()
	return true
}

func (s *lazySocket) isClosed() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.closed
}
