//go:build unix

package fastpass

import (
	"errors"
	"runtime"
	"syscall"
)

// isShortage reports whether errno is that of a shortage of descriptors or memory, which passes.
func isShortage(errno syscall.Errno) bool {
	return errno == syscall.EMFILE || errno == syscall.ENFILE || isMemoryShortage(errno)
}

// isMemoryShortage reports whether errno is that of a shortage of the kernel's memory, which passes.
func isMemoryShortage(errno syscall.Errno) bool {
	return errno == syscall.ENOBUFS || errno == syscall.ENOMEM
}

// isPeerGone reports whether errno is what sending says when the peer has closed its socket.
func isPeerGone(errno syscall.Errno) bool {
	switch errno {
	case syscall.EPIPE, syscall.ECONNRESET, syscall.ENOTCONN, syscall.ECONNREFUSED:
		return true
	}
	return false
}

// blamesOne reports whether errno is what the kernel says of a single descriptor, or of its payload, and not of the
// socket.
func blamesOne(errno syscall.Errno) bool {
	switch errno {
	case syscall.EBADF, syscall.EINVAL, syscall.E2BIG, syscall.EMSGSIZE: // the last: longer than the send buffer
		return true
	case syscall.EOPNOTSUPP, syscall.EDEADLK: // of a kind that cannot be passed: FreeBSD, OpenBSD
		return runtime.GOOS != "linux"
	}
	return false
}

// errnoOf is the errno that err wraps; 0 if it wraps none.
func errnoOf(err error) (errno syscall.Errno) {
	errors.As(err, &errno)
	return errno
}
