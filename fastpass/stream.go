//go:build unix

package fastpass

import (
	"sync"
	"sync/atomic"
	"syscall"

	"example.com/fdpass/internal/sys"
	"example.com/fdpass/internal/wire"

	"golang.org/x/sys/unix"
)

// tail is the end of a message that a stream socket took only in part. Its descriptors went with the first bytes;
// nothing else may be sent before the last ones. Socket types that keep messages whole never need it.
type tail struct {
	mu   sync.Mutex // held while anything is sent on a stream socket
	rest []byte
	some atomic.Bool   // rest is not empty
	gone atomic.Uint64 // how often all of it was sent
}

func (t *tail) waiting() bool { return t.some.Load() }

// keep remembers the part that was not sent. The caller holds mu.
func (t *tail) keep(rest []byte) {
	if len(t.rest) > 0 && len(rest) == 0 {
		t.gone.Add(1)
	}
	t.rest = append(t.rest[:0], rest...)
	t.some.Store(len(rest) > 0)
}

// send sends what was kept, and returns 0 once nothing is left. The caller holds mu.
func (t *tail) send(k sys.Kernel, fd int) syscall.Errno {
	for len(t.rest) > 0 {
		n, errno := k.Write(fd, t.rest)
		if errno != 0 {
			return errno
		}
		t.keep(t.rest[n:])
	}
	return 0
}

// flush is send for a caller that does not hold mu.
func (t *tail) flush(k sys.Kernel, fd int) syscall.Errno {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.send(k, fd)
}

// write sends a frame that carries no descriptors, behind what was kept, and returns how many of its bytes the socket
// took: if not all, then the rest is kept, and is sent once gone is above what is returned.
func (t *tail) write(k sys.Kernel, fd int, frame []byte) (n int, gone uint64, errno syscall.Errno) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if errno = t.send(k, fd); errno != 0 {
		return 0, 0, errno
	}
	if n, errno = k.Write(fd, frame); errno == 0 {
		t.keep(frame[n:])
	}
	return n, t.gone.Load(), errno
}

// partialFrame is a frame of a stream socket on its way in. Reading stops at the end of a header and of a body, so
// descriptors never come with a part of another frame than their own.
type partialFrame struct {
	reaper    *reaper // for close
	buf       []byte  // as far as it has come
	want      int     // bytes until the next stop
	fds       []int32
	truncated bool
}

// fillStream takes in the next piece of a frame.
func (in *inbox) fillStream() bool {
	v := in.p.vectors.get()
	defer v.put()
	f := in.partial
	if len(f.buf) == 0 {
		f.want = wire.HeaderSize
	}
	v.Limit(0, len(v.data[0][:f.want-len(f.buf)]), len(v.control[0].Raw()))
	n, ok := in.receive(v, 1, 0)
	if n == 0 {
		return ok
	}
	data, control := v.received(0)
	in.gather(control)
	f.fds = append(f.fds, in.fds...)
	f.buf = append(f.buf, data...)
	f.truncated = f.truncated || v.Flags(0)&unix.MSG_CTRUNC != 0
	switch {
	case len(data) == 0:
		in.fds = append(in.fds[:0], f.fds...)
		in.closeFrom(0)
		in.hangUp()
	case len(f.buf) < f.want && len(f.fds) <= wire.MaxCount && wire.Begins(f.buf):
		return true
	case len(f.buf) == wire.HeaderSize && in.bodyFollows():
		return true
	default:
		in.fds = append(in.fds[:0], f.fds...)
		in.takeFrame(f.buf, f.truncated)
	}
	*f = partialFrame{reaper: f.reaper, buf: f.buf[:0], fds: f.fds[:0]}
	return true
}

// bodyFollows reports whether the header just read is a good one with a body, and then prepares for reading it.
func (in *inbox) bodyFollows() bool {
	var h wire.Header
	if h.Parse(in.partial.buf) != nil || h.Length == 0 || h.Length > in.p.cfg.maxBody() {
		return false // takeFrame says what is wrong
	}
	in.partial.want += h.Length
	return true
}

// close closes what has come.
func (f *partialFrame) close() {
	f.reaper.addAll(f.fds)
	f.buf, f.fds = f.buf[:0], f.fds[:0]
}
