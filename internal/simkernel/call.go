//go:build linux

package simkernel

import (
	"syscall"

	"example.com/fdpass/cmsgpool"
	"example.com/fdpass/internal/sys"

	"golang.org/x/sys/unix"
)

// call makes a call on the socket fd, with what goes wrong with it.
func (p *Process) call(c Call, fd int, do func(*socket, Fault) (int, syscall.Errno)) (int, syscall.Errno) {
	c.Process = p
	fault := p.fault(&c, fd)
	p.k.mu.Lock()
	s, errno := p.socket(fd)
	n := 0
	if errno == 0 {
		n, errno = do(s, fault)
	}
	if fault.Kill {
		p.kill()
	}
	if p.k.Trace != nil {
		p.k.Trace(c, n, errno)
	}
	p.k.mu.Unlock()
	return n, errno
}

// fault asks what goes wrong with c.
func (p *Process) fault(c *Call, fd int) Fault {
	p.k.mu.Lock()
	s, errno := p.socket(fd)
	if errno == 0 {
		c.Label = s.label
	}
	p.k.mu.Unlock()
	if errno != 0 || p.k.Fault == nil {
		return Fault{}
	}
	return p.k.Fault(*c)
}

// cut is how many of n messages are carried, and what error comes then.
func (f Fault) cut(n int) (int, syscall.Errno) {
	switch {
	case f.Cut > 0 && f.Cut < n:
		return f.Cut, f.Errno
	case f.Cut == 0 && f.Errno != 0:
		return 0, f.Errno
	}
	return n, 0
}

// Send implements sys.Kernel.
func (p *Process) Send(fd int, v *sys.Vector, n int) (int, syscall.Errno) {
	if c := p.connOf(fd); c != nil {
		c.enter()
	}
	return p.call(Call{Op: Send, Messages: n}, fd, func(s *socket, f Fault) (int, syscall.Errno) {
		return p.sendmmsg(s, v, n, f)
	})
}

// connOf returns the Conn of the socket fd, nil if it has none.
func (p *Process) connOf(fd int) *Conn {
	p.k.mu.Lock()
	defer p.k.mu.Unlock()
	if s, errno := p.socket(fd); errno == 0 && s.conn != nil && s.conn.p == p {
		return s.conn
	}
	return nil
}

func (p *Process) sendmmsg(s *socket, v *sys.Vector, n int, fault Fault) (int, syscall.Errno) {
	n, errno := fault.cut(n)
	sent := 0
	for sent < n {
		data, control := v.Message(sent)
		bad := s.beforeSend()
		var files []*File
		if bad == 0 {
			files, bad = p.rights(control)
		}
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

// Write implements sys.Kernel, which looks again after ECONNRESET.
func (p *Process) Write(fd int, b []byte) (int, syscall.Errno) {
	return p.call(Call{Op: Write, Messages: 1}, fd, func(s *socket, f Fault) (int, syscall.Errno) {
		if f.Errno != 0 {
			return 0, f.Errno
		}
		n, errno := s.write(b, f.Bytes)
		if errno == syscall.ECONNRESET {
			n, errno = s.write(b, f.Bytes)
		}
		return n, errno
	})
}

func (s *socket) write(b []byte, most int) (int, syscall.Errno) {
	if errno := s.beforeSend(); errno != 0 {
		return 0, errno
	}
	return s.send(b, nil, -1, most)
}

// Recv implements sys.Kernel.
func (p *Process) Recv(fd int, v *sys.Vector, n, flags int) (int, syscall.Errno) {
	_, control := v.Message(0)
	peek := flags&unix.MSG_PEEK != 0
	c := Call{Op: Recv, Messages: n, Peek: peek, Consume: n == 1 && len(control) == 0}
	return p.call(c, fd, func(s *socket, f Fault) (int, syscall.Errno) { return p.recvmmsg(s, v, n, peek, f) })
}

func (p *Process) recvmmsg(s *socket, v *sys.Vector, n int, peek bool, fault Fault) (int, syscall.Errno) {
	if !p.k.OneByOne {
		if errno := s.takeError(); errno != 0 { // it looks there first, on a stream too
			return 0, errno
		}
	}
	n, errno := fault.cut(n)
	got := 0
	for got < n {
		data, control := v.Message(got)
		var r received
		var e syscall.Errno
		if fault.Early && s.mayEndEarly() {
			s.early = true
		} else if r, e = s.recv(data, peek); e != 0 {
			errno = e
			break
		}
		used, flags := p.deliver(control, r.files)
		if r.truncated {
			flags |= unix.MSG_TRUNC
		}
		if fault.Trunc {
			flags |= unix.MSG_CTRUNC
		}
		v.Deliver(got, r.bytes, used, flags)
		if got++; p.k.OneByOne && (peek || r.bytes == 0) {
			break
		}
	}
	switch {
	case got == 0:
		return 0, errno
	case errno != 0 && errno != syscall.EAGAIN && !p.k.OneByOne:
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
	var fds []int32
	for room := (len(control) - unix.SizeofCmsghdr) / 4; len(fds) < len(files) && len(fds) < room; {
		fd := p.lowest()
		if fd < 0 {
			break
		}
		p.install(fd, files[len(fds)])
		fds = append(fds, int32(fd))
	}
	n := len(fds)
	if n > 0 {
		var b cmsgpool.Buffer
		copy(b.Rights(n), fds)
		used = copy(control, b.Raw()[:cmsgpool.Space(n)])
	}
	for _, f := range files {
		p.k.unref(f) // the reference of the message; the table has its own
	}
	if n < len(files) {
		flags = unix.MSG_CTRUNC
	}
	return used, flags
}
