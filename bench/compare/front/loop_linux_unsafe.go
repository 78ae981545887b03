package front

import (
	"errors"
	"fmt"
	"net"
	"os"
	"sync/atomic"
	"unsafe"

	"example.com/fdpass/bench/compare/result"

	"golang.org/x/sys/unix"
)

const withLoop = "front: accept in a loop"

// goLoop is front.c in Go: what it costs more is the runtime's doing, and no library's.
var goLoop = kind{
	name: "Go loop", rank: result.Aside, source: bare, acceptor: withLoop,
	how: "what the C front does, by raw system calls in Go: what the runtime and its threads cost without any library",
}

// looper accepts and passes as front.c does, in a goroutine that waits in the runtime's poller.
type looper struct {
	links            []int
	passed, messages atomic.Int64

	fds     []int32
	control [unsafe.Sizeof(unix.Cmsghdr{}) + loopBatch*4]byte
	data    byte
}

const loopBatch = 253

// acceptInLoop is the role. It ends with the orders, wherever the loop is.
func acceptInLoop(task acceptorTask) error {
	const fd = 4
	if err := unix.SetNonblock(fd, true); err != nil { // or the runtime would not poll it
		return err
	}
	listener := os.NewFile(fd, "listener")
	defer listener.Close()
	raw, err := listener.SyscallConn()
	if err != nil {
		return err
	}
	l := &looper{fds: make([]int32, 0, loopBatch)}
	failed := make(chan error, 1)
	link := func(slot int, c *net.UnixConn) error {
		if slot != len(l.links) {
			return errors.New("the links of the Go loop are not replaced")
		}
		fd, err := duplicate(c)
		if err != nil {
			return err
		}
		if l.links = append(l.links, fd); len(l.links) == task.Workers {
			go func() { failed <- l.serve(raw.Read) }()
		}
		return nil
	}
	report := func() accepted { return accepted{Passed: l.passed.Load(), Messages: l.messages.Load()} }
	if err := obey(link, report); err != nil {
		return err
	}
	select {
	case err := <-failed:
		return err
	default:
		return nil
	}
}

// duplicate makes c a descriptor of which the runtime does not know, or it would wake whenever the worker takes
// something.
func duplicate(c *net.UnixConn) (fd int, err error) {
	defer c.Close()
	raw, err := c.SyscallConn()
	if err != nil {
		return -1, err
	}
	if cerr := raw.Control(func(s uintptr) { fd, err = unix.FcntlInt(s, unix.F_DUPFD_CLOEXEC, 0) }); cerr != nil {
		return -1, cerr
	}
	return fd, err
}

func (l *looper) serve(wait func(func(fd uintptr) bool) error) error {
	for turn := 0; ; {
		l.fds = l.fds[:0]
		if err := wait(l.accept); err != nil {
			return err
		}
		for i := range min(len(l.fds), len(l.links)) {
			if err := l.pass(l.links[(turn+i)%len(l.links)], i); err != nil {
				return err
			}
		}
		l.closeRuns()
		turn = (turn + len(l.fds)) % len(l.links)
		l.passed.Add(int64(len(l.fds)))
	}
}

// accept takes what waits in the queue. Its system calls do not block: the scheduler does not hear of them.
func (l *looper) accept(listener uintptr) bool {
	for len(l.fds) < loopBatch {
		fd, _, errno := unix.RawSyscall6(unix.SYS_ACCEPT4, listener, 0, 0, unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0, 0)
		if errno == unix.EAGAIN {
			break
		}
		if errno == 0 {
			l.fds = append(l.fds, int32(fd))
		}
	}
	return len(l.fds) > 0
}

// pass sends a worker every connection from the first on that is its own: each in turn gets one.
func (l *looper) pass(link, first int) error {
	head := (*unix.Cmsghdr)(unsafe.Pointer(&l.control)) // the array is aligned: it stands behind a slice
	rights := unsafe.Slice((*int32)(unsafe.Pointer(&l.control[unsafe.Sizeof(*head)])), loopBatch)
	n := 0
	for i := first; i < len(l.fds); i += len(l.links) {
		rights[n] = l.fds[i]
		n++
	}
	head.Level, head.Type = unix.SOL_SOCKET, unix.SCM_RIGHTS
	head.SetLen(unix.CmsgLen(4 * n))
	data := unix.Iovec{Base: &l.data, Len: 1}
	message := unix.Msghdr{Iov: &data, Iovlen: 1, Control: &l.control[0]}
	message.SetControllen(unix.CmsgLen(4 * n))
	for {
		_, _, errno := unix.RawSyscall(unix.SYS_SENDMSG, uintptr(link), uintptr(unsafe.Pointer(&message)), unix.MSG_NOSIGNAL)
		switch errno {
		case 0:
			l.messages.Add(1)
			return nil
		case unix.EINTR:
		case unix.EAGAIN:
			if _, err := unix.Poll([]unix.PollFd{{Fd: int32(link), Events: unix.POLLOUT}}, -1); err != nil && err != unix.EINTR {
				return fmt.Errorf("poll: %w", err)
			}
		default:
			return fmt.Errorf("sendmsg: %w", errno)
		}
	}
}

func (l *looper) closeRuns() {
	for i, end := 0, 0; i < len(l.fds); i = end {
		for end = i + 1; end < len(l.fds) && l.fds[end] == l.fds[end-1]+1; end++ {
		}
		unix.RawSyscall(unix.SYS_CLOSE_RANGE, uintptr(l.fds[i]), uintptr(l.fds[end-1]), 0)
	}
}
