//go:build linux && sim

package simkernel

import (
	"syscall"

	"golang.org/x/sys/unix"
)

// socket is one end of a connected pair.
type socket struct {
	k      *Kernel
	stream bool
	peer   *socket
	closed bool
	noRecv bool // RCV_SHUTDOWN
	noSend bool // SEND_SHUTDOWN
	err    syscall.Errno
	queue  []*message // what the peer has sent
	buffer int        // SO_SNDBUF
	used   int        // of it, by what lies in the peer's queue
	peek   int        // SO_PEEK_OFF; negative: none
	edge   bool       // something has happened since a reader last found nothing
}

// message is one sk_buff.
type message struct {
	data  []byte  // on a stream, what has not been read of it
	files []*File // on their way; on a stream they go with the first byte
	size  int     // what it takes of the sender's buffer
	from  *socket
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
		p.close(pfd)
	}
	k.files -= 2
	return -1, -1, syscall.EMFILE
}

func (k *Kernel) newSocket(sotype int) *File {
	f := k.newFile()
	f.socket = &socket{k: k, stream: sotype == unix.SOCK_STREAM, buffer: k.SendBuffer, peek: -1}
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
		if len(s.queue) > 0 {
			o.err = syscall.ECONNRESET // it will never know what became of that
		}
		o.edge = true
	}
	for _, m := range s.queue {
		s.drop(m)
	}
	s.queue = nil
}

// drop frees a message and closes what is in it.
func (s *socket) drop(m *message) {
	m.from.used -= m.size
	s.k.inFlight -= len(m.files)
	for _, f := range m.files {
		s.k.unref(f)
	}
	m.files = nil
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

// send sends one message; most, if not 0, is how many of its bytes a stream takes. Files must be what the process has
// open under the numbers sent.
func (s *socket) send(data []byte, files []*File, limit, most int) (int, syscall.Errno) {
	if !s.stream {
		if e := s.takeError(); e != 0 {
			return 0, e
		}
		if len(data) > s.buffer-32 {
			return 0, syscall.EMSGSIZE
		}
		size := packetSize(len(data))
		if errno := s.sendable(limit, files); errno != 0 {
			return 0, errno
		}
		s.put(data, files, size)
		return len(data), 0
	}
	if s.noSend {
		return 0, syscall.EPIPE
	}
	if most > 0 && most < len(data) {
		data = data[:most]
	}
	sent := 0
	for sent < len(data) {
		n := min(len(data)-sent, s.buffer/2-64, maxPiece)
		if errno := s.sendable(limit, files); errno != 0 {
			if sent > 0 {
				return sent, 0
			}
			return 0, errno
		}
		s.put(data[sent:sent+n], files, pieceSize(n))
		files = nil
		sent += n
	}
	return sent, 0
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
	}
	return 0
}

func (s *socket) put(data []byte, files []*File, size int) {
	m := &message{data: append([]byte(nil), data...), files: append([]*File(nil), files...), size: size, from: s}
	for _, f := range files {
		f.refs++
	}
	s.k.inFlight += len(files)
	s.used += size
	s.peer.queue = append(s.peer.queue, m)
	s.peer.edge = true
}

// writable is unix_writable, or that a call would fail at once.
func (s *socket) writable() bool {
	return s.used*4 <= s.buffer || s.noSend && s.noRecv || s.err != 0
}

// received is what one recvmsg brings.
type received struct {
	bytes     int
	files     []*File // what the message had; the caller has a reference to each
	truncated bool    // MSG_TRUNC
}

// recv is one recvmsg without its control part.
func (s *socket) recv(b []byte, peek bool) (r received, errno syscall.Errno) {
	if s.stream {
		return s.recvStream(b, peek)
	}
	if e := s.takeError(); e != 0 {
		return r, e
	}
	i, skip := 0, 0
	if peek {
		for skip = max(s.peek, 0); i < len(s.queue) && skip > 0 && skip >= len(s.queue[i].data); i++ {
			skip -= len(s.queue[i].data)
		}
	}
	if i == len(s.queue) {
		return r, s.nothing()
	}
	m := s.queue[i]
	r.bytes = copy(b, m.data[skip:])
	r.truncated = r.bytes < len(m.data)-skip
	r.files = m.files
	for _, f := range m.files {
		f.refs++
	}
	if peek {
		s.forward(r.bytes)
	} else {
		s.backward(len(m.data))
		s.remove(0)
	}
	return r, 0
}

func (s *socket) recvStream(b []byte, peek bool) (r received, errno syscall.Errno) {
	i, skip := 0, 0
	if peek {
		for skip = max(s.peek, 0); i < len(s.queue) && skip >= len(s.queue[i].data); i++ {
			skip -= len(s.queue[i].data)
		}
	}
	// A peek goes on behind the end of the buffer until it meets descriptors: those of the next message come with bytes
	// of the one before.
	for (r.bytes < len(b) || peek && len(b) > 0) && i < len(s.queue) {
		m := s.queue[i]
		n := copy(b[r.bytes:], m.data[skip:])
		skip = 0
		r.bytes += n
		rights := len(m.files) > 0
		for _, f := range m.files {
			f.refs++
		}
		r.files = append(r.files, m.files...)
		switch {
		case peek:
			s.forward(n)
			i++
		default:
			s.backward(n)
			if m.data = m.data[n:]; len(m.data) == 0 {
				s.remove(0)
				break
			}
			s.detach(m)
			return r, 0
		}
		if rights {
			return r, 0 // what carries descriptors merges with nothing behind it
		}
	}
	if r.bytes == 0 && len(b) > 0 {
		if e := s.takeError(); e != 0 {
			return r, e
		}
		return r, s.nothing()
	}
	return r, 0
}

// detach takes the descriptors out of a message of which bytes are left.
func (s *socket) detach(m *message) {
	s.k.inFlight -= len(m.files)
	for _, f := range m.files {
		s.k.unref(f)
	}
	m.files = nil
}

// nothing is what recvmsg says of an empty queue.
func (s *socket) nothing() syscall.Errno {
	if s.noRecv {
		return 0
	}
	return syscall.EAGAIN
}

func (s *socket) remove(i int) {
	m := s.queue[i]
	s.queue = append(s.queue[:i:i], s.queue[i+1:]...)
	s.drop(m)
}

func (s *socket) forward(n int) {
	if s.peek >= 0 {
		s.peek += n
	}
}

func (s *socket) backward(n int) {
	if s.peek >= 0 {
		s.peek = max(0, s.peek-n)
	}
}

// Sizes of what the allocator gives (x86-64).
const (
	page     = 4096
	skb      = 256              // an sk_buff
	shared   = 320              // its skb_shared_info, behind the data
	maxAlloc = 4*page - shared  // SKB_MAX_ALLOC
	maxHead  = page - shared    // SKB_MAX_HEAD(0)
	maxPiece = maxHead + 8*page // of a stream, in one sk_buff
)

// slab is what kmalloc gives for the linear part of a message with n bytes in it.
func slab(n int) int {
	size := 512
	for size < (n+63)&^63+shared {
		size *= 2
	}
	return skb + size
}

// packetSize is the truesize of a message of n bytes on SEQPACKET: unix_dgram_sendmsg.
func packetSize(n int) int {
	if n <= maxAlloc {
		return slab(n)
	}
	pages := (n - maxAlloc + page - 1) &^ (page - 1)
	return slab(n-pages) + pages
}

// pieceSize is the truesize of n bytes on STREAM: unix_stream_sendmsg.
func pieceSize(n int) int {
	pages := (max(0, n-maxHead) + page - 1) &^ (page - 1)
	return slab(n-min(n, pages)) + pages
}
