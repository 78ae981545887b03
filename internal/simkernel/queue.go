//go:build linux

package simkernel

import "syscall"

// message is one sk_buff.
type message struct {
	data   []byte  // on a stream, what has not been read of it
	files  []*File // on their way; on a stream they go with the first byte
	size   int     // what it takes of the sender's buffer
	from   *socket
	peeked bool // by a reader, who knows of it since
}

// beforeSend is what SEQPACKET looks at before anything else: unix_seqpacket_sendmsg.
func (s *socket) beforeSend() syscall.Errno {
	if s.stream {
		return 0
	}
	return s.takeError()
}

// send sends one message; most, if not 0, is how many of its bytes a stream takes. Files must be what the process has
// open under the numbers sent.
func (s *socket) send(data []byte, files []*File, limit, most int) (int, syscall.Errno) {
	if s.stream {
		return s.sendStream(data, files, limit, most)
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

func (s *socket) sendStream(data []byte, files []*File, limit, most int) (int, syscall.Errno) {
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

// received is what one recvmsg brings.
type received struct {
	bytes     int
	files     []*File // what the message had; the caller has a reference to each
	truncated bool    // MSG_TRUNC
}

func (r *received) take(files []*File) {
	for _, f := range files {
		f.refs++
	}
	r.files = append(r.files, files...)
}

// mayEndEarly reports whether a reader may find the end before the first message: when it comes while the reader looks,
// and the end right behind it. That happens once.
func (s *socket) mayEndEarly() bool {
	return !s.early && !s.stream && s.noRecv && !(len(s.queue) > 0 && s.queue[0].peeked)
}

// recv is one recvmsg without its control part.
func (s *socket) recv(b []byte, peek bool) (r received, errno syscall.Errno) {
	if s.stream {
		return s.recvStream(b, peek)
	}
	if e := s.takeError(); e != 0 {
		return r, e
	}
	if len(s.queue) == 0 {
		return r, s.nothing()
	}
	m := s.queue[0]
	r.bytes = copy(b, m.data)
	r.truncated = r.bytes < len(m.data)
	r.take(m.files)
	if m.peeked = true; !peek {
		s.remove()
	}
	return r, 0
}

// recvStream goes on until the buffer is full, but not from a message with descriptors to another one. A peek goes on
// behind a full buffer until it meets descriptors: those of the next message come with the bytes of the one before.
func (s *socket) recvStream(b []byte, peek bool) (r received, errno syscall.Errno) {
	for i := 0; (r.bytes < len(b) || peek && len(b) > 0) && i < len(s.queue) && len(r.files) == 0; {
		m := s.queue[i]
		n := copy(b[r.bytes:], m.data)
		r.bytes += n
		r.take(m.files)
		if peek {
			i++
			continue
		}
		if m.data = m.data[n:]; len(m.data) > 0 {
			s.detach(m)
			return r, 0
		}
		s.remove()
	}
	if r.bytes > 0 || len(b) == 0 {
		return r, 0
	}
	if e := s.takeError(); e != 0 {
		return r, e
	}
	return r, s.nothing()
}

// nothing is what recvmsg says of an empty queue.
func (s *socket) nothing() syscall.Errno {
	if s.noRecv {
		return 0
	}
	return syscall.EAGAIN
}

// remove takes the first message out of the queue.
func (s *socket) remove() {
	m := s.queue[0]
	s.queue = append(s.queue[:0:0], s.queue[1:]...)
	s.drop(m)
}

// drop frees a message and closes what is in it.
func (s *socket) drop(m *message) {
	m.from.used -= m.size
	s.detach(m)
}

// detach closes the descriptors of a message.
func (s *socket) detach(m *message) {
	s.k.inFlight -= len(m.files)
	for _, f := range m.files {
		s.k.unref(f)
	}
	m.files = nil
}
