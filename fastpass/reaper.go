//go:build unix

package fastpass

import (
	"io"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"example.com/fdpass/internal/sys"
	"example.com/fdpass/ring"
)

const (
	// maxPending is how many descriptors may wait to be closed before a link takes in no more.
	maxPending = unaskedCredit

	// closeTime is how long to wait, where need be, until what a reaper closes is closed.
	closeTime = time.Second
)

// reaper closes what a peer has sent and nobody here wants: descriptors, and sockets in whose queue they may lie.
// Closing may take as long as the peer likes, as does, with SO_LINGER set, the last close of a connection whose other
// end does not read. So a goroutine of its own does it, which exists only while there is something to close.
//
// It does not point to the Passer, so that it can outlive it.
type reaper struct {
	kernel  sys.Kernel
	mu      sync.Mutex
	doomed  []int32      // to be closed: what run has not begun with
	spare   []int32      // the slice that doomed is to use next
	running bool         // the goroutine exists
	work    func()       // run, bound once
	pending atomic.Int32 // how much is not closed yet
	freed   ring.Event   // fewer are pending, or those who wait have another reason to look around
}

func newReaper(k sys.Kernel) *reaper {
	r := &reaper{kernel: k}
	r.work = r.run
	return r
}

// add closes fd. It does not block.
func (r *reaper) add(fd int32) {
	r.pending.Add(1)
	r.mu.Lock()
	r.doomed = append(r.doomed, fd)
	start := !r.running
	r.running = true
	r.mu.Unlock()
	if start {
		r.kernel.Go(r.work)
	}
}

// addAll closes fds. It does not block.
func (r *reaper) addAll(fds []int32) {
	for _, fd := range fds {
		r.add(fd)
	}
}

func (r *reaper) run() {
	c := sys.Closer{Kernel: r.kernel}
	r.mu.Lock()
	defer r.mu.Unlock()
	for len(r.doomed) > 0 {
		fds := r.doomed
		r.doomed = r.spare[:0]
		r.mu.Unlock()
		for _, fd := range fds {
			c.Add(int(fd), false)
		}
		c.Flush()
		r.closed(len(fds))
		r.mu.Lock()
		r.spare = fds
	}
	r.running = false
}

// closed notes that n of what was pending are closed.
func (r *reaper) closed(n int) {
	r.pending.Add(int32(-n))
	r.freed.Notify()
}

// socket owns one: a connection or a listener.
type socket interface {
	syscall.Conn
	io.Closer
}

// closeSocket closes s, and waits for that: closeTime at most, if a peer makes closing take long.
func closeSocket(s socket) {
	r := newReaper(sys.System)
	r.closeSocket(s)
	r.settle()
}

// closeSocket closes s. It does not block.
func (r *reaper) closeSocket(s socket) {
	// With the duplicate the last close is that of this goroutine. Otherwise it would be that of whoever uses s at this
	// moment, a reader that is being woken for example. If the table has no room for a duplicate, that remains so.
	dup := -1
	if raw, err := s.SyscallConn(); err == nil {
		raw.Control(func(fd uintptr) { dup = r.kernel.Dup(int(fd)) })
	}
	r.pending.Add(1)
	r.kernel.Go(func() {
		s.Close()
		if dup >= 0 {
			r.kernel.CloseRange(dup, dup)
		}
		r.closed(1)
	})
}

// full reports whether as much is to be closed as may be.
func (r *reaper) full() bool { return r.pending.Load() >= maxPending }

// wait waits until less than n is to be closed, and returns false if that takes too long. It returns true if stop does.
func (r *reaper) wait(n int32, stop func() bool) bool {
	if r.pending.Load() < n {
		return true
	}
	done := func() bool { return r.pending.Load() < n || stop() }
	waitAtMost(&r.freed, closeTime, done)
	return done()
}

// settle waits until all is closed, or for a while: what is ordinary is closed by then.
func (r *reaper) settle() { r.wait(1, func() bool { return false }) }
