//go:build linux && !fdpass_portable

package sys

import (
	"errors"
	"net"
	"os"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// connPair returns one end of a socket pair as a connection, with the number of its socket, and the number of the other end.
func connPair(t *testing.T) (c *net.UnixConn, socket, peer int) {
	t.Helper()
	fds, err := Socketpair(unix.SOCK_SEQPACKET)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { unix.Close(fds[1]) })
	f := os.NewFile(uintptr(fds[0]), "socket")
	defer f.Close()
	conn, err := net.FileConn(f)
	if err != nil {
		t.Fatal(err)
	}
	c = conn.(*net.UnixConn)
	t.Cleanup(func() { c.Close() })
	raw, err := c.SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	raw.Control(func(fd uintptr) { socket = int(fd) })
	return c, socket, fds[1]
}

// quietPair is connPair with the end as a Quiet.
func quietPair(t *testing.T) (*Quiet, int) {
	t.Helper()
	c, socket, peer := connPair(t)
	q := NewQuiet(c, socket)
	if q == nil {
		t.Fatal("NewQuiet returned nil")
	}
	t.Cleanup(func() { q.Close() })
	return q, peer
}

// fill sends until there is no room.
func (q *Quiet) fill(t *testing.T) (n int) {
	t.Helper()
	q.Control(func(fd uintptr) {
		for ; unix.Send(int(fd), []byte{1}, unix.MSG_DONTWAIT) == nil; n++ {
		}
	})
	return n
}

func empty(fd int) {
	for b := make([]byte, 8); ; {
		if _, _, err := unix.Recvfrom(fd, b, unix.MSG_DONTWAIT); err != nil {
			return
		}
	}
}

// interesting reports whether the runtime would be told of something.
func (i *interest) interesting(t *testing.T) bool {
	t.Helper()
	p := []unix.PollFd{{Fd: int32(i.fd), Events: unix.POLLIN}}
	if _, err := poll(p); err != nil {
		t.Fatal(err)
	}
	return p[0].Revents != 0
}

func TestAQuietSocketSaysNothingOfRoomThatNobodyWaitsFor(t *testing.T) {
	q, peer := quietPair(t)
	for range 3 {
		q.fill(t)
		empty(peer)
		if q.in.interesting(t) || q.out.interesting(t) {
			t.Error("it says that there is room")
		}
	}
	if err := unix.Send(peer, []byte{1}, 0); err != nil {
		t.Fatal(err)
	}
	if !q.in.interesting(t) {
		t.Error("it does not say that something has come")
	}
}

// Nobody but the runtime takes events from the poller of a Quiet, and that only learns that there are some.
func TestAQuietSocketThatHasWaitedForRoomIsQuietAgain(t *testing.T) {
	q, peer := quietPair(t)
	runtime, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(runtime)
	on := unix.EpollEvent{Events: unix.EPOLLIN | unix.EPOLLET}
	if err := unix.EpollCtl(runtime, unix.EPOLL_CTL_ADD, q.out.fd, &on); err != nil {
		t.Fatal(err)
	}
	told := func() bool {
		n, err := unix.EpollWait(runtime, make([]unix.EpollEvent, 1), 0)
		if err != nil {
			t.Fatal(err)
		}
		return n > 0
	}
	for range 3 {
		q.fill(t)
		calls := 0
		err := q.Write(func(uintptr) bool {
			if calls++; calls == 2 { // it has asked
				empty(peer)
			}
			return calls == 3
		})
		if err != nil {
			t.Fatal(err)
		}
		told()
		q.fill(t)
		empty(peer)
		if told() {
			t.Error("the runtime was told of room that nobody waits for")
		}
	}
}

func TestAQuietSocketWaits(t *testing.T) {
	for name, c := range map[string]struct {
		wait     func(q *Quiet, f func(uintptr) bool) error
		deadline func(*Quiet, time.Time) error
		try      func(fd int) error // fails with EAGAIN until happen has been called
		happen   func(t *testing.T, peer int)
	}{
		"for what comes": {
			(*Quiet).Read, (*Quiet).SetReadDeadline,
			func(fd int) error { _, _, err := unix.Recvfrom(fd, make([]byte, 8), unix.MSG_DONTWAIT); return err },
			func(t *testing.T, peer int) {
				if err := unix.Send(peer, []byte{1}, 0); err != nil {
					t.Error(err)
				}
			},
		},
		"for the end": {
			(*Quiet).Read, (*Quiet).SetReadDeadline,
			func(fd int) error { _, _, err := unix.Recvfrom(fd, make([]byte, 8), unix.MSG_DONTWAIT); return err },
			func(_ *testing.T, peer int) { unix.Shutdown(peer, unix.SHUT_RDWR) },
		},
		"for room": {
			(*Quiet).Write, (*Quiet).SetWriteDeadline,
			func(fd int) error { return unix.Send(fd, []byte{1}, unix.MSG_DONTWAIT) },
			func(_ *testing.T, peer int) { empty(peer) },
		},
	} {
		t.Run(name, func(t *testing.T) {
			q, peer := quietPair(t)
			done := make(chan error)
			for range 3 { // it asks anew each time
				q.fill(t)
				tried := make(chan struct{}, 100)
				try := func(fd uintptr) bool {
					err := c.try(int(fd))
					tried <- struct{}{}
					return err != unix.EAGAIN
				}
				go func() { done <- c.wait(q, try) }()
				<-tried
				c.happen(t, peer)
				if err := <-done; err != nil {
					t.Error(err)
				}
				if name == "for the end" {
					break
				}
				empty(peer)
				q.fill(t)
				go func() { done <- c.wait(q, try) }()
				<-tried
				c.deadline(q, time.Unix(1, 0))
				if err := <-done; !errors.Is(err, os.ErrDeadlineExceeded) {
					t.Errorf("after its deadline it returns %v", err)
				}
				c.deadline(q, time.Time{})
			}
			go func() { done <- q.Close() }()
			if err := c.wait(q, func(uintptr) bool { return false }); err == nil {
				t.Error("it returns no error when the socket is closed")
			}
			if err := <-done; err != nil { // not before are its descriptors closed, and later tests count them
				t.Error(err)
			}
		})
	}
}

func TestAQuietSocketIsClosedOnceAndByTheLastWhoUsesIt(t *testing.T) {
	q, peer := quietPair(t)
	fd := q.Socket()
	var users sync.WaitGroup
	for range 8 {
		users.Go(func() {
			for q.Control(func(fd uintptr) {
				if !isOpen(int(fd)) {
					t.Error("it is closed while it is used")
				}
			}) == nil {
			}
		})
	}
	q.Control(func(uintptr) {
		if err := q.Close(); err != nil {
			t.Error(err)
		}
		if !isOpen(fd) {
			t.Error("it was closed within Control")
		}
	})
	users.Wait()
	if err := q.Close(); !errors.Is(err, net.ErrClosed) {
		t.Errorf("the second Close returns %v", err)
	}
	for name, wait := range map[string]func(func(uintptr) bool) error{"Read": q.Read, "Write": q.Write} {
		if err := wait(func(uintptr) bool { return true }); err == nil {
			t.Errorf("%s works after Close", name)
		}
	}
	if err := q.Control(func(uintptr) {}); !errors.Is(err, net.ErrClosed) {
		t.Errorf("Control returns %v after Close", err)
	}
	// The peer sees the end: nothing keeps the socket open.
	if n, _, err := unix.Recvfrom(peer, make([]byte, 8), 0); n != 0 || err != nil {
		t.Errorf("the peer reads %d bytes, %v", n, err)
	}
}

func TestAFullTableLeavesTheSocketAsItIs(t *testing.T) {
	c, socket, _ := connPair(t)
	var limit unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &limit); err != nil {
		t.Fatal(err)
	}
	for room := range 3 {
		top := null(t)
		unix.Close(top) // the lowest number that is free
		small := limit
		small.Cur = uint64(top + room)
		var q *Quiet
		if err := unix.Setrlimit(unix.RLIMIT_NOFILE, &small); err != nil {
			t.Fatal(err)
		}
		q = NewQuiet(c, socket)
		if err := unix.Setrlimit(unix.RLIMIT_NOFILE, &limit); err != nil {
			t.Fatal(err)
		}
		if q != nil {
			t.Fatalf("there is room for %d, and NewQuiet needs 3", room)
		}
		if again := null(t); again != top {
			t.Errorf("it leaves something open: %d", top)
		} else {
			unix.Close(again)
		}
		if _, err := c.Write([]byte{1}); err != nil {
			t.Errorf("the socket cannot be used any more: %v", err)
		}
	}
}
