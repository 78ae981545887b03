//go:build linux && !fdpass_portable

package sys

import (
	"os"
	"strings"
	"sync"

	"golang.org/x/sys/unix"
)

func closeRange(lo, hi int) {
	// It does not tell of a number that is not open. It fails before Linux 5.9, and where a seccomp filter forbids it.
	if invariants || unix.CloseRange(uint(lo), uint(hi), 0) != nil {
		closeEach(lo, hi)
	}
}

// closeBriefly closes without telling the Go runtime, which wakes the thread of its monitor on every system call that
// may block. In a process that sleeps, and wakes for a few connections at a time, that costs more than to close them.
func closeBriefly(lo, hi int) {
	if lo == hi {
		unix.RawSyscall(unix.SYS_CLOSE, uintptr(lo), 0, 0)
	} else if _, _, errno := unix.RawSyscall(unix.SYS_CLOSE_RANGE, uintptr(lo), uintptr(hi), 0); errno != 0 {
		closeEach(lo, hi)
	}
}

// BriefStream reports whether the connection fd may be a Brief Stream: it is TCP's.
func BriefStream(fd int) bool { return interrupts() && isTCP(fd) }

// Brief reports whether CloseBriefly may close the connections that the listening socket fd accepts: they are TCP's,
// and do not linger.
//
// Whoever has such a connection as well can have it linger all the same, with SO_LINGER. If its own copy is closed
// before the one here, this thread waits then, until the client has everything or the time is over, but not longer than
// the runtime does for the thread: the signal with which that interrupts goroutines ends the wait.
func Brief(fd int) bool { return BriefStream(fd) && !Stream{FD: fd}.Lingers() }

// interrupts reports whether the runtime interrupts goroutines with signals. A test for invariants wants no Brief.
var interrupts = sync.OnceValue(func() bool {
	return !invariants && !strings.Contains(os.Getenv("GODEBUG"), "asyncpreemptoff=1")
})

func isTCP(fd int) bool {
	protocol, errno := sockopt(fd, unix.SOL_SOCKET, unix.SO_PROTOCOL)
	return errno == 0 && (protocol == unix.IPPROTO_TCP || protocol == unix.IPPROTO_MPTCP)
}
