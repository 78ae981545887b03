//go:build linux

package fastpass

import (
	"net"
	"runtime"
	"strings"
	"testing"
	"time"
	"unsafe"

	"example.com/fdpass/internal/sys"

	"golang.org/x/sys/unix"
)

func init() { roles["ask for addresses of a locked socket"] = askLocked }

// askLocked asks for the addresses of a connection whose lock a sender holds for ever, and for what all threads have to
// take part in.
func askLocked() {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	must(err)
	client, err := net.Dial("tcp", ln.Addr().String())
	must(err)
	f, err := client.(*net.TCPConn).File()
	must(err)
	fd := int(f.Fd())
	fault, ok := lockSocket(fd)
	if !ok {
		return
	}
	dup, err := unix.FcntlInt(uintptr(fd), unix.F_DUPFD_CLOEXEC, 0)
	must(err)
	c, err := NewConn(Desc{FD: dup})
	must(err)
	asked := make(chan struct{})
	go func() {
		c.RemoteAddr()
		close(asked)
	}()
	for range 20 {
		runtime.GC()
		time.Sleep(time.Millisecond)
	}
	select {
	case <-asked:
		say("the socket was not locked")
	default:
		say("nobody else waits")
	}
	unix.Close(fault) // the page can be read from now on
	<-asked
}

// lockSocket has the kernel hold the lock of the socket fd until fault is closed: it has that when it comes to read
// what is written. It returns false, and says so, where that cannot be done.
func lockSocket(fd int) (fault int, ok bool) {
	page, err := unix.Mmap(-1, 0, 4096, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE|unix.MAP_ANONYMOUS)
	must(err)
	fault, errno := faultsOf(page)
	if errno != 0 {
		say("no userfaultfd: %v", errno)
		return fault, false
	}
	go unix.Write(fd, page)
	n, err := unix.Poll([]unix.PollFd{{Fd: int32(fault), Events: unix.POLLIN}}, int(patience.Milliseconds()))
	require(n == 1 && err == nil, "poll: %d, %v", n, err)
	return fault, true
}

// faultsOf returns a userfaultfd for page, in which nothing has been written yet: who reads it waits.
func faultsOf(page []byte) (fd int, errno unix.Errno) {
	const (
		api      = 0xc018aa3f // UFFDIO_API
		register = 0xc020aa00 // UFFDIO_REGISTER
	)
	r, _, errno := unix.Syscall(unix.SYS_USERFAULTFD, unix.O_CLOEXEC|unix.O_NONBLOCK, 0, 0) // poll needs that
	if errno != 0 {
		return -1, errno
	}
	hello := [3]uint64{0xaa} // struct uffdio_api
	area := [4]uint64{uint64(uintptr(unsafe.Pointer(unsafe.SliceData(page)))), uint64(len(page)), 1 /* mode: missing */}
	if _, _, errno = unix.Syscall(unix.SYS_IOCTL, r, api, uintptr(unsafe.Pointer(&hello))); errno == 0 {
		_, _, errno = unix.Syscall(unix.SYS_IOCTL, r, register, uintptr(unsafe.Pointer(&area)))
	}
	return int(r), errno
}

// Who sends a socket may hold its lock, by a write from memory that does not come. Who asks for its addresses waits for
// that; nobody else does.
func TestThePeerOfALockedSocketHoldsNobodyElseUp(t *testing.T) {
	if sys.Implementation == "sendmsg/recvmsg" {
		t.Skip("package syscall asks for addresses without telling the runtime that it may have to wait")
	}
	c := startChild(t, "ask for addresses of a locked socket", nil, nil)
	switch said := c.hear(); {
	case strings.HasPrefix(said, "no userfaultfd"):
		t.Skip(said)
	case said != "nobody else waits":
		t.Error(said)
	}
	c.succeed()
}

func init() { roles["redeliver a locked socket"] = redeliverLocked }

// redeliverLocked has a pool take back, and give to another worker, a connection whose lock the first one holds for
// ever.
func redeliverLocked() {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	must(err)
	client, err := net.Dial("tcp", ln.Addr().String())
	must(err)
	defer client.Close()
	accepted, err := ln.Accept()
	must(err)
	f, err := accepted.(*net.TCPConn).File()
	must(err)
	fd, err := unix.FcntlInt(f.Fd(), unix.F_DUPFD_CLOEXEC, 0)
	must(err)
	pool, err := NewPool(&PoolConfig{Policy: Hash})
	must(err)
	var workers []*Passer
	defer func() { runtime.KeepAlive(workers) }()
	join := func() *Passer {
		p, g, err := Pair(&Config{Direction: SendOnly})
		must(err)
		c, err := fileConn(g)
		must(err)
		worker, err := New(c, &Config{Direction: RecvOnly}) // takes nothing
		must(err)
		workers = append(workers, worker)
		must(pool.Add(p))
		return p
	}
	first := join()
	_, err = pool.Dispatch([]Desc{{FD: fd}})
	must(err)
	for first.out.pending() == 0 {
		time.Sleep(time.Millisecond)
	}
	fault, ok := lockSocket(int(f.Fd())) // as it might by the copy in its queue
	if !ok {
		return
	}
	first.fail(ErrStalled)
	<-first.Done()
	second := join()
	redelivered := make(chan struct{})
	go func() {
		for pool.Stats().Redelivered == 0 || second.out.pending() == 0 {
			time.Sleep(time.Millisecond)
		}
		close(redelivered)
	}()
	select {
	case <-redelivered:
		say("redelivered")
	case <-time.After(patience):
		say("the pool waits for the lock")
	}
	unix.Close(fault)
	<-redelivered
}

func TestAWorkerThatLocksASocketHoldsNoPoolUp(t *testing.T) {
	c := startChild(t, "redeliver a locked socket", nil, nil)
	switch said := c.hear(); {
	case strings.HasPrefix(said, "no userfaultfd"):
		t.Skip(said)
	case said != "redelivered":
		t.Error(said)
	}
	c.succeed()
}
