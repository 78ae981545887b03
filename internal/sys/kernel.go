//go:build unix

package sys

import (
	"syscall"

	"example.com/fdpass/internal/page"
)

// Kernel is what a link asks of the operating system. Nothing of it blocks, except what closes, and Yield. System is
// the real one; tests put a simulated one in its place, to see what faults do.
type Kernel interface {
	// Send sends the first n messages of v on fd in order, and returns how many were taken. On a stream the last of
	// those may have been taken in part: see Vector.Bytes. An errno other than 0 comes only when none was taken.
	Send(fd int, v *Vector, n int) (int, syscall.Errno)

	// Recv receives up to n messages into the first places of v and returns how many came. Their descriptors are
	// close-on-exec.
	Recv(fd int, v *Vector, n, flags int) (int, syscall.Errno)

	// Write sends one message without descriptors; on a stream perhaps only its first bytes.
	Write(fd int, b []byte) (int, syscall.Errno)

	// ShutdownRead fences the peer: from now on it can send nothing more, and what it sent stays readable. That is so
	// on Linux; elsewhere what it sent may be gone, and what it sends now may seem to have arrived.
	ShutdownRead(fd int)

	// RaiseSendBuffer makes room for at least one more message in a send buffer that is full, if KeepRaisable was
	// called before it was.
	RaiseSendBuffer(fd int)

	// Writable reports whether fd would take a message now, or never again.
	Writable(fd int) bool

	// HungUp reports whether the other end of fd sends nothing more, whether or not all that it has sent is read. Where
	// the system does not tell it is true.
	HungUp(fd int) bool

	// MarkMessages has every message that comes on fd from now on bring a control message, where the system can: so an
	// empty one is told from the end. Others that have the socket see the mark, and may have no room for it. So if
	// messages with bytes are queued it does nothing, and returns true.
	MarkMessages(fd int) (more bool)

	// Untaken is how much of what was sent on fd the other end has not taken, in bytes as the system counts them; -1
	// where it does not tell.
	Untaken(fd int) int

	// FreeSlots is how many descriptors this process could open now. A caller that needs want of them may be told fewer
	// than there are, but not fewer than want, or than those of a full message. Source is any open descriptor. Any
	// answer races with other goroutines and threads.
	FreeSlots(source, want int) int

	// Slots is how the links of this process share the slots that FreeSlots counts.
	Slots() *Slots

	// SoftLimit is the number of descriptors that this process may have open (RLIMIT_NOFILE).
	SoftLimit() int

	// CloseRange closes the descriptors lo to hi. That may take as long as whoever made them likes.
	CloseRange(lo, hi int)

	// CloseBriefly is CloseRange for descriptors of which Brief is true.
	CloseBriefly(lo, hi int)

	// Dup returns a duplicate of fd, close-on-exec, or -1 if there is no room for one.
	Dup(fd int) int

	// NewPage makes memory that can be shared, and a descriptor to pass it with. It returns nil where there is none.
	NewPage() (*page.Page, int)

	// MapPage maps the memory that came as fd, which can be closed then; nil if it is none that can be trusted.
	MapPage(fd int) *page.Page

	// Yield lets other threads have the processor that want it. It takes as long as they do, or as the scheduler lets
	// them.
	Yield()

	// Go runs f, which may block, beside the caller.
	Go(f func())
}

// System is the operating system.
var System Kernel = new(system)

type system struct{}

// slots are those of this process.
var slots Slots

func (*system) Slots() *Slots                                      { return &slots }
func (*system) Send(fd int, v *Vector, n int) (int, syscall.Errno) { return v.send(fd, n) }
func (*system) Yield()                                             { yield() }
func (*system) Go(f func())                                        { go f() }
func (*system) Recv(fd int, v *Vector, n, flags int) (int, syscall.Errno) {
	return v.recv(fd, n, flags)
}

// Write implements Kernel. ECONNRESET tells once of what has happened; the next call says whether the peer is there.
func (*system) Write(fd int, b []byte) (int, syscall.Errno) {
	n, errno := write(fd, b)
	if errno == syscall.ECONNRESET {
		n, errno = write(fd, b)
	}
	return n, errno
}
