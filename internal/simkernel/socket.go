//go:build linux

package simkernel

import (
	"syscall"

	"golang.org/x/sys/unix"
)

// socket is one end of a connected pair.
type socket struct {
	k      *Kernel
	label  any
	conn   *Conn
	stream bool
	peer   *socket
	closed bool
	noRecv bool // RCV_SHUTDOWN
	noSend bool // SEND_SHUTDOWN
	refuse bool // SO_PASSRIGHTS is off: the peer may send no descriptors
	err    syscall.Errno
	queue  []*message // what the peer has sent
	buffer int        // SO_SNDBUF
	used   int        // of it, by what lies in the peer's queue
	early  bool       // the end was reported too early, which happens once
	edge   bool       // something has happened since a reader last found nothing
}

// Socketpair makes a pair of connected sockets of the given type, one end in p and one in q.
func (k *Kernel) Socketpair(sotype int, p, q *Process) (pfd, qfd int, errno syscall.Errno) {
	k.mu.Lock()
	defer k.mu.Unlock()
	a, b := k.newSocket(sotype), k.newSocket(sotype)
	a.socket.peer, b.socket.peer = b.socket, a.socket
	if pfd = p.lowest(); pfd >= 0 {
		p.install(pfd, a)
		if qfd = q.lowest(); qfd >= 0 {
			q.install(qfd, b)
			return pfd, qfd, 0
		}
		p.table[pfd] = nil
	}
	k.files -= 2
	return -1, -1, syscall.EMFILE
}

func (k *Kernel) newSocket(sotype int) *File {
	f := k.newFile()
	f.socket = &socket{k: k, stream: sotype == unix.SOCK_STREAM, buffer: k.SendBuffer}
	if f.socket.buffer == 0 {
		f.socket.buffer = DefaultSendBuffer
	}
	return f
}

// release is what happens when the last descriptor is closed: unix_release_sock.
func (s *socket) release() {
	s.closed = true
	o := s.peer
	if !o.closed {
		o.noRecv, o.noSend = true, true
		if n := len(s.queue); n > 1 || n == 1 && len(s.queue[0].data) > 0 {
			o.err = syscall.ECONNRESET // it will never know what became of that
		}
		o.edge = true
	}
	for _, m := range s.queue {
		s.drop(m)
	}
	s.queue = nil
}

// shutdownRead fences the peer: unix_shutdown.
func (s *socket) shutdownRead() {
	s.noRecv, s.edge = true, true
	s.peer.noSend, s.peer.edge = true, true
}

// takeError returns the pending error, once: sock_error.
func (s *socket) takeError() syscall.Errno {
	e := s.err
	s.err = 0
	return e
}

// sendable is what sock_alloc_send_pskb, unix_attach_fds and the look at the peer say, in this order.
func (s *socket) sendable(limit int, files []*File) syscall.Errno {
	if e := s.takeError(); e != 0 {
		return e
	}
	switch {
	case s.noSend:
		return syscall.EPIPE
	case s.used >= s.buffer:
		return syscall.EAGAIN
	case len(files) > 0 && limit >= 0 && s.k.inFlight > limit:
		return syscall.ETOOMANYREFS
	case s.peer.closed || s.peer.noRecv:
		return syscall.EPIPE
	case len(files) > 0 && s.peer.refuse:
		return syscall.EPERM
	}
	return 0
}

// writable is unix_writable, or that a call would fail at once.
func (s *socket) writable() bool {
	return s.used*4 <= s.buffer || s.noSend && s.noRecv || s.err != 0
}

// ShutdownRead implements sys.Kernel.
func (p *Process) ShutdownRead(fd int) {
	p.k.mu.Lock()
	defer p.k.mu.Unlock()
	if s, errno := p.socket(fd); errno == 0 {
		s.shutdownRead()
	}
}

// RefuseRights is sys.RefuseRights.
func (p *Process) RefuseRights(fd int) {
	p.k.mu.Lock()
	defer p.k.mu.Unlock()
	if s, errno := p.socket(fd); errno == 0 {
		s.refuse = true
	}
}

// RaiseSendBuffer implements sys.Kernel.
func (p *Process) RaiseSendBuffer(fd int) {
	p.k.mu.Lock()
	defer p.k.mu.Unlock()
	if s, errno := p.socket(fd); errno == 0 {
		most := p.k.MaxSendBuffer
		if most == 0 {
			most = DefaultSendBuffer
		}
		s.buffer = 2 * min(2*s.buffer, most) // Linux doubles what it is given
	}
}

// Writable implements sys.Kernel.
func (p *Process) Writable(fd int) bool {
	p.k.mu.Lock()
	defer p.k.mu.Unlock()
	s, errno := p.socket(fd)
	return errno != 0 || s.writable()
}

// MarkMessages implements sys.Kernel.
func (p *Process) MarkMessages(int) bool { return false }

// HungUp implements sys.Kernel.
func (p *Process) HungUp(fd int) bool {
	p.k.mu.Lock()
	defer p.k.mu.Unlock()
	s, errno := p.socket(fd)
	return errno != 0 || s.noRecv
}

// Untaken implements sys.Kernel.
func (p *Process) Untaken(fd int) int {
	p.k.mu.Lock()
	defer p.k.mu.Unlock()
	s, errno := p.socket(fd)
	if errno != 0 {
		return -1
	}
	return s.used
}

// Yield implements sys.Kernel: nothing else happens meanwhile.
func (p *Process) Yield() {}
