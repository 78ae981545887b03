//go:build unix

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

	"example.com/fdpass/internal/sys"
)

// lazySocket is a stream socket that the runtime's poller learns of only when somebody has to wait for it: until then
// calls go straight to the descriptor. A short connection may never have to wait, because its request has come before
// the worker gets it and there is room for the answer. That halves what a net.Conn costs, and the poller wakes nobody
// for what is not waited for.
type lazySocket struct {
	stream  sys.Stream
	writing sync.Mutex                 // one Write at a time, so that the bytes of each lie together
	polled  atomic.Pointer[polledFile] // the runtime polls it, and it owns the descriptor; nil: nobody has had to wait

	mu              sync.Mutex
	readBy, writeBy time.Time     // the deadlines
	users           int32         // calls that use the descriptor, without those that wait in polled
	closed          bool          // nobody begins any more
	idle            chan struct{} // closed with the last of the users; nil: Close does not wait for them
	refused         *refusedPoll  // nil: the runtime has not refused to poll it
}

// refusedPoll is a file that the runtime cannot poll, and why. It owns the descriptor all the same, which its finalizer
// would close.
type refusedPoll struct {
	file *os.File
	err  error
}

// polledFile is a file that the runtime polls. It is read and written through raw only, by calls that never wait:
// another process that has the socket may put it into blocking mode at any time.
type polledFile struct {
	*os.File
	raw    syscall.RawConn
	stream sys.Stream
}

func (f *polledFile) read(b []byte) (int, error)  { return f.do(syscall.RawConn.Read, read, b) }
func (f *polledFile) write(b []byte) (int, error) { return f.do(syscall.RawConn.Write, writeAll, b) }

// do makes calls until one returns something else than EAGAIN, and waits in between.
func (f *polledFile) do(wait func(syscall.RawConn, func(uintptr) bool) error, call func(sys.Stream, []byte) (int, error), b []byte) (int, error) {
	t := transfers.Get().(*transferring)
	t.stream, t.call, t.b, t.n, t.err = f.stream, call, b, 0, nil
	err := wait(f.raw, t.attempt)
	n := t.n
	if err == nil {
		err = t.err
	}
	t.call, t.b = nil, nil
	transfers.Put(t)
	return n, err
}

// transferring is a call of polledFile.do at work.
type transferring struct {
	stream  sys.Stream
	call    func(sys.Stream, []byte) (int, error)
	b       []byte
	n       int
	err     error
	attempt func(uintptr) bool // try, bound once
}

var transfers = sync.Pool{New: func() any {
	t := new(transferring)
	t.attempt = t.try
	return t
}}

func (t *transferring) try(uintptr) bool {
	var n int
	n, t.err = t.call(t.stream, t.b[t.n:])
	t.n += n
	return t.err != syscall.EAGAIN
}

// begin keeps the descriptor open until end, unless it is closed, or by has passed.
func (s *lazySocket) begin(by *time.Time) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	err := s.checkLocked(by)
	if err == nil {
		s.users++
	}
	return err
}

// check returns net.ErrClosed if the socket is closed, or os.ErrDeadlineExceeded if by has passed. A deadline of nil is
// none.
func (s *lazySocket) check(by *time.Time) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.checkLocked(by)
}

// checkLocked is check for a caller that holds mu.
func (s *lazySocket) checkLocked(by *time.Time) error {
	switch {
	case s.closed:
		return net.ErrClosed
	case by != nil && !by.IsZero() && time.Until(*by) <= 0:
		return os.ErrDeadlineExceeded
	}
	return nil
}

func (s *lazySocket) end() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.users--; s.users == 0 && s.idle != nil {
		close(s.idle)
	}
}

// poll returns the file that waits for the socket, and has the runtime poll it if that is the first time: not if it is
// closed or by has passed, since nobody is going to wait then.
func (s *lazySocket) poll(by *time.Time) (*polledFile, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if file := s.polled.Load(); file != nil {
		return file, nil
	}
	if err := s.checkLocked(by); err != nil {
		return nil, err
	}
	if s.refused != nil {
		return nil, s.refused.err
	}
	// os.NewFile does not have a blocking one polled, and another process may have made it that.
	if sys.Blocking(s.stream.FD) {
		if err := syscall.SetNonblock(s.stream.FD, true); err != nil {
			return nil, os.NewSyscallError("fcntl", err)
		}
	}
	file := os.NewFile(uintptr(s.stream.FD), "socket")
	raw, err := file.SyscallConn()
	if err == nil {
		err = file.SetReadDeadline(s.readBy)
	}
	if err == nil {
		err = file.SetWriteDeadline(s.writeBy)
	}
	if err != nil { // os.NewFile does not say so, but what it could not register has no deadlines
		s.refused = &refusedPoll{file, fmt.Errorf("the runtime cannot poll descriptor %d, or does already: %w", s.stream.FD, err)}
		return nil, s.refused.err
	}
	p := &polledFile{file, raw, s.stream}
	s.polled.Store(p)
	return p, nil
}

// Read reads what there is, or waits.
func (s *lazySocket) Read(b []byte) (int, error) {
	if len(b) == 0 {
		return 0, s.check(nil)
	}
	file := s.polled.Load()
	if file == nil {
		n, err := s.readNow(b)
		if err != syscall.EAGAIN {
			return n, err
		}
		runtime.Gosched() // net/http reads beside a handler until that returns: after this it often has
		if file, err = s.poll(&s.readBy); err != nil {
			return 0, err
		}
	}
	return file.read(b)
}

// readNow returns EAGAIN if there is nothing.
func (s *lazySocket) readNow(b []byte) (int, error) {
	if err := s.begin(&s.readBy); err != nil {
		return 0, err
	}
	defer s.end()
	return read(s.stream, b)
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
	m, err := file.write(b[n:])
	return n + m, err
}

// writeNow returns EAGAIN if there is not room for all of b.
func (s *lazySocket) writeNow(b []byte) (int, error) {
	if err := s.begin(&s.writeBy); err != nil {
		return 0, err
	}
	defer s.end()
	return writeAll(s.stream, b)
}

// read returns io.EOF at the end, and EAGAIN if there is nothing.
func read(s sys.Stream, b []byte) (int, error) {
	n, err := transfer(s.Read, b)
	if n == 0 && err == nil {
		err = io.EOF
	}
	return n, err
}

// writeAll returns EAGAIN if there is not room for all of b.
func writeAll(s sys.Stream, b []byte) (n int, err error) {
	for {
		m, err := transfer(s.Write, b[n:])
		if n += m; err != nil || n == len(b) {
			return n, err
		}
	}
}

// transfer makes one system call, again if a signal interrupts it, for no more than all systems take at once.
func transfer(call func([]byte) (int, syscall.Errno), b []byte) (int, error) {
	b = b[:min(len(b), 1<<30)]
	for {
		switch n, errno := call(b); errno {
		case 0:
			return n, nil
		case syscall.EINTR:
		default:
			return 0, errno
		}
	}
}

// Control, rawRead and rawWrite are the three methods of a syscall.RawConn.
func (s *lazySocket) Control(f func(fd uintptr)) error {
	if err := s.begin(nil); err != nil {
		return err
	}
	defer s.end()
	f(uintptr(s.stream.FD))
	return nil
}

func (s *lazySocket) rawRead(f func(fd uintptr) (done bool)) error {
	return s.raw(&s.readBy, syscall.RawConn.Read, f)
}

func (s *lazySocket) rawWrite(f func(fd uintptr) (done bool)) error {
	s.writing.Lock()
	defer s.writing.Unlock()
	return s.raw(&s.writeBy, syscall.RawConn.Write, f)
}

func (s *lazySocket) raw(by *time.Time, call func(syscall.RawConn, func(uintptr) bool) error, f func(uintptr) bool) error {
	file, err := s.poll(by)
	if err != nil {
		return err
	}
	return call(file.raw, f)
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
	if err := s.checkLocked(nil); err != nil {
		return err
	}
	if !t.IsZero() {
		t = time.Now().Add(time.Until(t)) // like the poller's it does not move with the clock on the wall
	}
	*by = t
	if file := s.polled.Load(); file != nil {
		return set(file.File, t)
	}
	return nil
}

// shut has nobody begin any more. It returns false if that was done before.
func (s *lazySocket) shut() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return false
	}
	s.closed = true
	if s.users > 0 {
		s.idle = make(chan struct{})
	}
	return true
}

// close is called once, after shut. It has all calls that wait return, and closes the descriptor when nobody uses it
// any more; with shut, it shuts the connection down first, and leaves the descriptor to last, if there is one.
func (s *lazySocket) close(shut bool, last *lastCloser) {
	if shut {
		s.stream.Shutdown()
	}
	s.mu.Lock()
	idle := s.idle
	var file *os.File
	if p := s.polled.Load(); p != nil {
		file = p.File
	} else if s.refused != nil {
		file = s.refused.file
	}
	s.mu.Unlock()
	if idle != nil {
		if file != nil {
			_ = file.SetDeadline(longAgo) // otherwise those that wait would return only after the last of the users
		}
		<-idle
	}
	switch {
	case file != nil:
		_ = file.Close() // nobody can do anything about an error
	case shut && last != nil:
		last.add(s.stream)
	default:
		s.stream.Close()
	}
}

func (s *lazySocket) isClosed() bool { return s.check(nil) != nil }
