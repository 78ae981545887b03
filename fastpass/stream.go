//go:build unix

package fastpass

import (
	"sync"
	"sync/atomic"
	"syscall"

	"example.com/fdpass/internal/sys"
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

// flush is send for who does not hold mu.
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
