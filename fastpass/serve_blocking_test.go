//go:build unix

package fastpass

import (
	"context"
	"errors"
	"net"
	"os"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

// blockingListener is a listening socket that somebody else has made, in blocking mode.
type blockingListener struct {
	net.Listener // nil: Serve uses nothing of it
	f            *os.File
}

func (l blockingListener) SyscallConn() (syscall.RawConn, error) { return l.f.SyscallConn() }

func TestServeEndsAlthoughItsListenerWasInBlockingMode(t *testing.T) {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM, 0)
	if err != nil {
		t.Fatal(err)
	}
	f := os.NewFile(uintptr(fd), "listener")
	defer f.Close()
	if err := errors.Join(unix.Bind(fd, &unix.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}}), unix.Listen(fd, 1)); err != nil {
		t.Fatal(err)
	}
	at, err := unix.Getsockname(fd)
	if err != nil {
		t.Fatal(err)
	}
	pool := newPool(t, nil)
	worker, _ := newWorker(t, pool, nil)
	served := make(chan error, 1)
	go func() { served <- pool.Serve(blockingListener{f: f}) }()
	c, err := net.Dial("tcp", (&net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: at.(*unix.SockaddrInet4).Port}).String())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	recvTags(t, worker, 1)
	if err := pool.Shutdown(context.Background()); err != nil {
		t.Error(err)
	}
	soon(t, "Serve ends", func() {
		if err := <-served; !errors.Is(err, net.ErrClosed) {
			t.Errorf("Serve returned %v, want net.ErrClosed", err)
		}
	})
}
