//go:build unix && (!linux || fdpass_portable)

package sys

import (
	"runtime"
	"syscall"

	"golang.org/x/sys/unix"
)

// Implementation names what carries the messages.
const Implementation = "sendmsg/recvmsg"

// Vector is a set of messages, sent or received one system call each. It is not safe for concurrent use, and keeps
// the buffers it is given until they are replaced.
type Vector struct {
	msgs []message
}

type message struct {
	data, control        []byte
	bytes, ctllen, flags int
}

// NewVector returns a vector of n messages, without buffers.
func NewVector(n int) *Vector { return &Vector{msgs: make([]message, n)} }

// Set gives message i its buffers, for what to send or to receive into. Data must not be empty.
func (v *Vector) Set(i int, data, control []byte) {
	v.msgs[i].data, v.msgs[i].control = data, control
}

// Limit has message i use only so many bytes of its buffers, no more than those have, until the next Limit.
func (v *Vector) Limit(i, data, control int) {
	m := &v.msgs[i]
	m.data, m.control = m.data[:data], m.control[:control]
}

func (v *Vector) send(fd, count int) (int, syscall.Errno) {
	for i := range count {
		m := &v.msgs[i]
		n, errno := sendmsg(fd, m.data, m.control)
		if errno != 0 {
			if i > 0 {
				return i, 0
			}
			return 0, errno
		}
		m.bytes = n
		if n < len(m.data) {
			return i + 1, 0
		}
	}
	return count, 0
}

func (v *Vector) recv(fd, n, flags int) (int, syscall.Errno) {
	for i := range n {
		m := &v.msgs[i]
		err := error(syscall.EINTR)
		for err == syscall.EINTR {
			m.bytes, m.ctllen, m.flags, err = recvTruncated(recvCloexec, fd, m.data, m.control, flags|unix.MSG_DONTWAIT)
		}
		if err != nil {
			if i > 0 {
				return i, 0 // it will be reported again, but for ECONNRESET, which readers pass over
			}
			return 0, errnoOf(err)
		}
		if m.bytes == 0 || flags&unix.MSG_PEEK != 0 {
			return i + 1, 0
		}
	}
	return n, 0
}

// recvTruncated is recv that says MSG_CTRUNC where the descriptors of a stream's message find no room in the table of
// this process. On the BSDs and macOS recvmsg fails then, all descriptors of the message are gone, and its bytes are
// what the next call returns.
func recvTruncated(recv recvFunc, fd int, data, control []byte, flags int) (n, ctllen, recvflags int, err error) {
	n, ctllen, recvflags, err = recv(fd, data, control, flags)
	if err != unix.EMSGSIZE && err != unix.EMFILE {
		return n, ctllen, recvflags, err
	}
	if kind, _ := SocketType(fd); kind != unix.SOCK_STREAM {
		return n, ctllen, recvflags, err
	}
	n, ctllen, recvflags, err = recv(fd, data, control, flags)
	return n, ctllen, recvflags | unix.MSG_CTRUNC, err
}

type recvFunc func(fd int, data, control []byte, flags int) (n, ctllen, recvflags int, err error)

// Bytes is how many data bytes of message i were sent or received.
func (v *Vector) Bytes(i int) int { return v.msgs[i].bytes }

// Control is how many control bytes message i brought.
func (v *Vector) Control(i int) int { return v.msgs[i].ctllen }

// Flags are the MSG_ flags that came with message i.
func (v *Vector) Flags(i int) int { return v.msgs[i].flags }

// Message returns the data and control bytes that message i was given; both are views.
func (v *Vector) Message(i int) (data, control []byte) { return v.msgs[i].data, v.msgs[i].control }

// Deliver notes what message i brought, or how much of it was sent: a simulated kernel does that.
func (v *Vector) Deliver(i, bytes, control, flags int) {
	m := &v.msgs[i]
	m.bytes, m.ctllen, m.flags = bytes, control, flags
}

func write(fd int, b []byte) (int, syscall.Errno) { return sendmsg(fd, b, nil) }

// sendmsg goes through package syscall, not x/sys, since only that one passes the control buffer on illumos and
// Solaris.
func sendmsg(fd int, data, control []byte) (int, syscall.Errno) {
	for {
		n, err := syscall.SendmsgN(fd, data, control, nil, unix.MSG_DONTWAIT|unix.MSG_NOSIGNAL)
		if err == nil {
			return n, 0
		}
		if err != syscall.EINTR {
			return 0, sendErrno(err)
		}
	}
}

// fullIsTooLong is true where a socket that has little room left says EMSGSIZE: these kernels lower the size of the
// send buffer by what the peer has not read (so_snd.sb_hiwat in uipc_send), and find the message larger than that
// before they find no room for it.
const fullIsTooLong = runtime.GOOS == "darwin" || runtime.GOOS == "ios" || runtime.GOOS == "netbsd"

// sendErrno is the errno of a send: ENOBUFS, which tells to try again a little later, for a socket that is full and
// does not say so.
func sendErrno(err error) syscall.Errno {
	if errno := errnoOf(err); errno != syscall.EMSGSIZE || !fullIsTooLong {
		return errno
	}
	return syscall.ENOBUFS
}

func errnoOf(err error) syscall.Errno {
	if e, ok := err.(syscall.Errno); ok {
		return e
	}
	return unix.EIO
}
