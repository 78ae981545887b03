//go:build linux && !fdpass_portable

package sys

import (
	"errors"
	"os"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// quietPair returns one end of a socket pair as a quiet, and the number of the other end.
func quietPair(t *testing.T) (*quiet, int) {
	t.Helper()
	own, _, _, peer := ownPair(t, true)
	q, ok := own.(*quiet)
	if !ok {
		t.Fatalf("it is a %T", own)
	}
	return q, peer
}

// fill sends until there is no room.
func (q *quiet) fill(t *testing.T) (n int) {
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

// Nobody but the runtime takes events from the poller of a quiet, and that only learns that there are some.
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
		wait     func(q *quiet, f func(uintptr) bool) error
		deadline func(*quiet, time.Time) error
		try      func(fd int) error // fails with EAGAIN until happen has been called
		happen   func(t *testing.T, peer int)
	}{
		"for what comes": {
			(*quiet).Read, (*quiet).SetReadDeadline,
			func(fd int) error { _, _, err := unix.Recvfrom(fd, make([]byte, 8), unix.MSG_DONTWAIT); return err },
			func(t *testing.T, peer int) {
				if err := unix.Send(peer, []byte{1}, 0); err != nil {
					t.Error(err)
				}
			},
		},
		"for the end": {
			(*quiet).Read, (*quiet).SetReadDeadline,
			func(fd int) error { _, _, err := unix.Recvfrom(fd, make([]byte, 8), unix.MSG_DONTWAIT); return err },
			func(_ *testing.T, peer int) { unix.Shutdown(peer, unix.SHUT_RDWR) },
		},
		"for room": {
			(*quiet).Write, (*quiet).SetWriteDeadline,
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

func TestAFullTableLeavesTheSocketWhereItIs(t *testing.T) {
	c, socket, _ := connPair(t)
	raw, err := c.SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	var limit unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &limit); err != nil {
		t.Fatal(err)
	}
	// own is Own where there is room for so many descriptors.
	own := func(room int, idle bool) (Conn, int) {
		small := limit
		for small.Cur = 0; room > 0 || isOpen(int(small.Cur)); small.Cur++ {
			if !isOpen(int(small.Cur)) {
				room--
			}
		}
		if err := unix.Setrlimit(unix.RLIMIT_NOFILE, &small); err != nil {
			t.Fatal(err)
		}
		own, number := Own(c, raw, idle)
		if err := unix.Setrlimit(unix.RLIMIT_NOFILE, &limit); err != nil {
			t.Fatal(err)
		}
		return own, number
	}
	for name, idle := range conns {
		first := null(t)
		unix.Close(first)
		same, number := own(0, idle)
		if number != socket || !same.Acquire() {
			t.Fatalf("%s: without room it has moved from %d to %d", name, socket, number)
		}
		same.Release()
		if _, err := c.Write([]byte{1}); err != nil {
			t.Errorf("%s: the connection cannot be used any more: %v", name, err)
		}
		again := null(t)
		unix.Close(again)
		if again != first {
			t.Errorf("%s: it leaves something open: %d", name, first)
		}
	}
	// A quiet would need room for three.
	moved, number := own(2, true)
	defer moved.Close()
	if _, err := c.Write([]byte{1}); err == nil || number == socket {
		t.Errorf("with room for 2 it has not moved: %d, now %d", socket, number)
	}
	if _, ok := moved.(*polled); !ok {
		t.Errorf("with room for 2 it is a %T", moved)
	}
}
