//go:build linux && sim

package simkernel

import (
	"syscall"

	"example.com/fdpass/cmsgpool"
	"example.com/fdpass/internal/sys"

	"golang.org/x/sys/unix"
)

// enter begins a call: it returns with k.mu held, and with the fault that the call is to have.
func (p *Process) enter(op Op, fd int, consume bool) (Call, Fault) {
	p.k.mu.Lock()
	c := Call{Process: p, Op: op, FD: fd, Conn: p.conn(fd), Consume: consume}
	if p.dead || p.k.Fault == nil {
		return c, Fault{}
	}
	p.k.mu.Unlock()
	f := p.k.Fault(c)
	p.k.mu.Lock()
	if f.Before {
		p.kill()
	}
	return c, f
}

// leave ends a call.
func (p *Process) leave(c Call, f Fault, n int, errno syscall.Errno) {
	if !p.dead {
		p.last = c
	}
	if f.After {
		p.kill()
	}
	p.k.mu.Unlock()
	if p.k.Trace != nil {
		p.k.Trace(c, n, errno)
	}
}

// socket is the socket with number fd.
func (p *Process) socket(fd int) (*socket, syscall.Errno) {
	switch f := p.file(fd); {
	case p.dead:
		return nil, syscall.EPIPE // nobody is there to see it
	case f == nil:
		return nil, syscall.EBADF
	case f.socket == nil:
		return nil, syscall.ENOTSOCK
	default:
		return f.socket, 0
	}
}

// Send implements sys.Kernel.
func (p *Process) Send(fd int, v *sys.Vector, n int) (int, syscall.Errno) {
	c, fault := p.enter(Send, fd, false)
	sent, errno := p.send(fd, v, n, fault)
	p.leave(c, fault, sent, errno)
	return sent, errno
}

func (p *Process) send(fd int, v *sys.Vector, n int, fault Fault) (int, syscall.Errno) {
	s, errno := p.socket(fd)
	if errno != 0 {
		return 0, errno
	}
	n, errno = fault.cut(n)
	sent := 0
	for sent < n {
		data, control := v.Message(sent)
		files, bad := p.rights(control)
		if bad != 0 {
			errno = bad
			break
		}
		most := 0
		if sent == n-1 {
			most = fault.Bytes
		}
		took, bad := s.send(data, files, p.flight(), most)
		if bad != 0 {
			errno = bad
			break
		}
		v.Deliver(sent, took, len(control), 0)
		if sent++; took < len(data) {
			break
		}
	}
	if sent > 0 {
		return sent, 0 // sendmmsg forgets an error behind the first message
	}
	return 0, errno
}

// cut is how many of n messages are carried, and what error comes then.
func (f Fault) cut(n int) (int, syscall.Errno) {
	if f.Cut > 0 && f.Cut < n {
		return f.Cut, f.Errno
	}
	if f.Errno != 0 && f.Cut == 0 {
		return 0, f.Errno
	}
	return n, 0
}

// flight is how many descriptors may be in flight; negative: any number.
func (p *Process) flight() int {
	if p.Exempt {
		return -1
	}
	return p.limit
}

// rights looks up the descriptors of a control message.
func (p *Process) rights(control []byte) (files []*File, errno syscall.Errno) {
	parser := cmsgpool.Parse(control)
	for m, ok := parser.Next(); ok; m, ok = parser.Next() {
		if !m.IsRights() {
			return nil, syscall.EINVAL
		}
		for _, fd := range m.FDs() {
			f := p.file(int(fd))
			if f == nil {
				return nil, syscall.EBADF
			}
			files = append(files, f)
		}
		if len(files) > cmsgpool.MaxFDs {
			return nil, syscall.EINVAL
		}
	}
	return files, 0
}

// Write implements sys.Kernel.
func (p *Process) Write(fd int, b []byte) (int, syscall.Errno) {
	c, fault := p.enter(Write, fd, false)
	n, s, errno := 0, (*socket)(nil), syscall.Errno(0)
	if s, errno = p.socket(fd); errno == 0 {
		if errno = fault.Errno; errno == 0 {
			n, errno = s.send(b, nil, -1, fault.Bytes)
		}
	}
	p.leave(c, fault, n, errno)
	return n, errno
}

// Recv implements sys.Kernel.
func (p *Process) Recv(fd int, v *sys.Vector, n, flags int) (int, syscall.Errno) {
	_, control := v.Message(0)
	c, fault := p.enter(Recv, fd, n == 1 && len(control) == 0)
	got, errno := p.recv(fd, v, n, flags, fault)
	p.leave(c, fault, got, errno)
	return got, errno
}

func (p *Process) recv(fd int, v *sys.Vector, n, flags int, fault Fault) (int, syscall.Errno) {
	s, errno := p.socket(fd)
	if errno == 0 {
		errno = s.takeError() // recvmmsg looks there first, on a stream too
	}
	if errno != 0 {
		return 0, errno
	}
	n, errno = fault.cut(n)
	got := 0
	for got < n {
		data, control := v.Message(got)
		r, e := s.recv(data, flags&unix.MSG_PEEK != 0)
		if e != 0 {
			errno = e
			break
		}
		used, flags := p.deliver(control, r.files)
		if r.truncated {
			flags |= unix.MSG_TRUNC
		}
		v.Deliver(got, r.bytes, used, flags)
		got++
	}
	switch {
	case got == 0:
		return 0, errno
	case errno != 0 && errno != syscall.EAGAIN:
		s.err = errno // latched for the next call
	}
	return got, 0
}

// deliver installs as many of files as there is room for in the table and in control, and closes the others. It
// returns how many bytes of control are used, and MSG_CTRUNC if not all came.
func (p *Process) deliver(control []byte, files []*File) (used, flags int) {
	if len(files) == 0 {
		return 0, 0
	}
	var b cmsgpool.Buffer
	rights := b.Rights(len(files))
	const header = unix.SizeofCmsghdr
	n := 0
	for room := (len(control) - header) / 4; n < len(files) && n < room; n++ {
		fd := p.lowest()
		if fd < 0 {
			break
		}
		p.install(fd, files[n])
		rights[n] = int32(fd)
	}
	if n > 0 {
		var h cmsgpool.Buffer
		copy(h.Rights(n), rights)
		used = copy(control, h.Raw()[:cmsgpool.Space(n)])
	}
	for _, f := range files {
		p.k.unref(f) // the reference of the message; the table has its own
	}
	if n < len(files) {
		flags = unix.MSG_CTRUNC
	}
	return used, flags
}

// ShutdownRead implements sys.Kernel.
func (p *Process) ShutdownRead(fd int) {
	p.k.mu.Lock()
	defer p.k.mu.Unlock()
	if s, errno := p.socket(fd); errno == 0 {
		s.shutdownRead()
	}
}

// RaiseSendBuffer implements sys.Kernel.
func (p *Process) RaiseSendBuffer(fd int) {
	p.k.mu.Lock()
	defer p.k.mu.Unlock()
	if s, errno := p.socket(fd); errno == 0 {
		s.buffer = 2 * min(s.buffer, DefaultSendBuffer)
	}
}

// Writable implements sys.Kernel.
func (p *Process) Writable(fd int) bool {
	p.k.mu.Lock()
	defer p.k.mu.Unlock()
	s, errno := p.socket(fd)
	return errno != 0 || s.writable()
}

// SetPeekOffset is SO_PEEK_OFF.
func (p *Process) SetPeekOffset(fd, offset int) {
	p.k.mu.Lock()
	defer p.k.mu.Unlock()
	if s, errno := p.socket(fd); errno == 0 {
		s.peek = offset
	}
}

// Queued is how many messages the peer has sent to fd, and how many descriptors are in them.
func (p *Process) Queued(fd int) (messages, files int) {
	p.k.mu.Lock()
	defer p.k.mu.Unlock()
	if s, errno := p.socket(fd); errno == 0 {
		for _, m := range s.queue {
			messages++
			files += len(m.files)
		}
	}
	return messages, files
}
