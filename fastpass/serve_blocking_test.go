//go:build unix

package fastpass

import (
	"context"
	"errors"
	"net"
	"os"
	"runtime"
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

func init() { roles["serve a listener that becomes blocking"] = serveBlocking }

// serveBlocking serves clients, some of them after another holder of the listening socket has put that in blocking
// mode.
func serveBlocking() {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	must(err)
	inherited, err := ln.(*net.TCPListener).File()
	must(err)
	pool, err := NewPool(nil)
	must(err)
	p, f, err := Pair(nil)
	must(err)
	c, err := fileConn(f)
	must(err)
	worker, err := New(c, nil)
	must(err)
	must(pool.Add(p))
	served := make(chan error, 1)
	go func() { served <- pool.Serve(ln) }()
	serve := func(clients int) {
		for range clients {
			c, err := net.Dial("tcp", ln.Addr().String())
			must(err)
			defer c.Close()
		}
		ds, err := recvN(worker, clients, 1)
		must(err)
		CloseFDs(fdsOf(ds))
	}
	serve(1)
	must(unix.SetNonblock(int(inherited.Fd()), false))
	for n := range 5 {
		serve(n)
		runtime.GC() // has to wait for every thread that seems to run
	}
	must(unix.SetNonblock(int(inherited.Fd()), true))
	serve(9)
	must(pool.Shutdown(context.Background()))
	require(errors.Is(<-served, net.ErrClosed), "Serve returned another error than net.ErrClosed")
	say("all served")
}

// Every process that has inherited the listening socket may put it in blocking mode. Accept must not wait then: not for
// a client that may never come, with others held back, and the whole process with it.
func TestServeGoesOnIfItsListenerBecomesBlocking(t *testing.T) {
	c := startChild(t, "serve a listener that becomes blocking", nil, nil)
	c.expect("all served")
	c.succeed()
}
