//go:build unix

package sys

import (
	"sync"
	"syscall"

	"example.com/fdpass/cmsgpool"

	"golang.org/x/sys/unix"
)

// SocketType is SOCK_STREAM, SOCK_SEQPACKET and so on.
func SocketType(fd int) (int, error) {
	n, errno := sockopt(fd, unix.SOL_SOCKET, unix.SO_TYPE)
	if errno != 0 {
		return 0, errno
	}
	return n, nil
}

// Socketpair makes two connected AF_UNIX sockets, non-blocking and close-on-exec.
func Socketpair(sotype int) (fds [2]int, err error) {
	syscall.ForkLock.RLock()
	defer syscall.ForkLock.RUnlock()
	fds, err = unix.Socketpair(unix.AF_UNIX, sotype, 0)
	if err != nil {
		return fds, err
	}
	for _, fd := range fds {
		unix.CloseOnExec(fd)
		if err = unix.SetNonblock(fd, true); err != nil {
			CloseFDs(fds[:])
			return fds, err
		}
	}
	return fds, nil
}

// ShutdownRead implements Kernel.
func (*system) ShutdownRead(fd int) { unix.Shutdown(fd, unix.SHUT_RD) }

// Blocking reports whether the socket fd is in blocking mode. Every process that has it may set that.
func Blocking(fd int) bool {
	flags, errno := fileFlags(fd)
	return errno == 0 && flags&unix.O_NONBLOCK == 0
}

// Waiting returns how many connections wait to be accepted; if it is not known exactly, 1 for at least one.
func Waiting(fd int) (n int, exactly bool) {
	if n, exactly = queued(fd); exactly && n > 0 { // 0 is also what a system says that does not count them
		return n, true
	}
	if !ready(fd, unix.POLLIN) {
		return 0, false
	}
	return 1, false // or accept says what is wrong
}

// Accept takes one connection from the listening socket fd: non-blocking and close-on-exec, without its address. It
// waits for one only if the listening socket is Blocking, of which its caller has to tell: the scheduler hears of the
// call then.
func Accept(fd int, blocking bool) (int, syscall.Errno) {
	for {
		n, errno := acceptNonblock(fd, blocking)
		if errno != syscall.EINTR {
			return n, errno
		}
	}
}

// RaiseSendBuffer implements Kernel.
func (*system) RaiseSendBuffer(fd int) {
	if n, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_SNDBUF); err == nil {
		unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_SNDBUF, 2*n)
	}
}

// Writable implements Kernel.
func (*system) Writable(fd int) bool { return ready(fd, unix.POLLOUT) }

// HungUp implements Kernel.
func (*system) HungUp(fd int) bool { return pollHangUp == 0 || ready(fd, pollHangUp) }

// ready reports whether one of events has happened to fd, or none ever will.
func ready(fd int, events int16) bool {
	p := [1]unix.PollFd{{Fd: int32(fd), Events: events}}
	n, err := poll(p[:])
	return err != nil || n > 0
}

// poll is poll(2) that does not wait. If it has nothing to tell it may fail because of a signal, as the Go runtime
// sends itself to interrupt what runs for long.
func poll(fds []unix.PollFd) (n int, err error) {
	for {
		if n, err = pollOnce(fds); err != unix.EINTR {
			return n, err
		}
	}
}

// ReportsTruncation says whether MSG_CTRUNC tells that descriptors were lost. Every kernel does it, but qemu-user
// does not.
var ReportsTruncation = sync.OnceValue(func() bool {
	fds, err := Socketpair(unix.SOCK_STREAM)
	if err != nil {
		return true
	}
	defer CloseFDs(fds[:])
	if err := syscall.Sendmsg(fds[0], []byte{0}, syscall.UnixRights(fds[0], fds[1]), nil, 0); err != nil {
		return true
	}
	oob := make([]byte, unix.CmsgLen(4)) // room for one of the two
	_, n, flags, err := recvCloexec(fds[1], make([]byte, 1), oob, 0)
	CloseFDs(cmsgpool.AppendFDs(nil, oob[:n]))
	return err != nil || flags&unix.MSG_CTRUNC != 0
})
