//go:build linux

package fastpass

import (
	"context"
	"errors"
	"net"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// late is a listener whose descriptor cannot be looked at for a while, as with a process that is stopped there.
type late struct {
	*net.TCPListener
	calls atomic.Int32
	hook  func(call int32)
}

type lateRaw struct {
	syscall.RawConn
	l *late
}

func (l *late) SyscallConn() (syscall.RawConn, error) {
	r, err := l.TCPListener.SyscallConn()
	return lateRaw{r, l}, err
}

func (r lateRaw) Control(f func(uintptr)) error {
	r.l.hook(r.l.calls.Add(1))
	return r.RawConn.Control(f)
}

// Serve in a process whose accept fails.

func init() {
	// Serves without workers until N connections wait, and says where each of them comes from. With Extra the table is
	// full for a while.
	roles["serve"] = func() {
		var spec childSpec
		childArg(&spec)
		ln, err := net.Listen("tcp", "127.0.0.1:0")
		must(err)
		looked := make(chan struct{})
		l := &late{TCPListener: ln.(*net.TCPListener), hook: func(n int32) {
			if n == 2 { // Serve has its own descriptor of the listener, and looks whether ln is open
				close(looked)
			}
		}}
		pool, err := NewPool(nil)
		must(err)
		served := make(chan error, 1)
		go func() { served <- pool.Serve(l) }()
		<-looked
		var held []int
		if spec.Extra != "" {
			held = hog(0)
		}
		say("%s", ln.Addr())
		if held != nil {
			hear()
			require(pool.Stats().Waiting == 0, "%d accepted with a full table", pool.Stats().Waiting)
			CloseFDs(held)
		}
		for end := time.Now().Add(patience); pool.Stats().Waiting < spec.N; time.Sleep(time.Millisecond) {
			select {
			case err := <-served:
				say("Serve: %v", err)
				return
			default:
			}
			require(time.Now().Before(end), "%d of %d accepted", pool.Stats().Waiting, spec.N)
		}
		ctx, cancel := context.WithCancel(context.Background())
		cancel()
		pool.Shutdown(ctx)
		err = <-served
		require(errors.Is(err, net.ErrClosed), "Serve: %v", err)
		for _, d := range pool.Undelivered() {
			peer, err := unix.Getpeername(d.FD)
			must(err)
			say("%d", peer.(*unix.SockaddrInet4).Port)
			CloseFDs([]int{d.FD})
		}
		say("end")
	}
}

// expectClients wants the child to have accepted the clients in order, once each.
func expectClients(t testing.TB, c *child, clients []net.Conn) {
	t.Helper()
	for _, client := range clients {
		c.expect("%d", client.LocalAddr().(*net.TCPAddr).Port)
	}
	c.expect("end")
	c.succeed()
}

func TestServeWithAFullTablePausesAndTheClientsWait(t *testing.T) {
	needStrace(t)
	noLeaks(t)
	const n = 30
	cmd := childCommand(t, "serve", childSpec{N: n, Extra: "full"})
	log := strace(t, cmd, "accept,accept4", "")
	c := startCommand(t, cmd, nil)
	addr, start := c.hear(), time.Now()
	clients := tcpClients(t, addr, n) // they are in the queue of the listening socket
	until(t, "accept has failed some times", func() bool { return logged(log, "EMFILE") >= 6 })
	// No more calls than pauses fit into the time that they have taken.
	calls, pauses, fit := logged(log, "EMFILE"), time.Duration(0), 2
	for pause := servePause; pauses < time.Since(start); fit++ {
		pauses += pause.next()
	}
	if calls > fit {
		t.Errorf("accept was called %d times in %v", calls, time.Since(start))
	}
	c.say("there is room")
	expectClients(t, c, clients)
}

func TestServeSurvivesErrorsOfAccept(t *testing.T) {
	needStrace(t)
	noLeaks(t)
	for _, errno := range []string{"ECONNABORTED", "EPROTO", "EMFILE", "ENFILE", "ENOBUFS", "ENOMEM", "EINTR", "EAGAIN"} {
		t.Run(errno, func(t *testing.T) {
			t.Parallel() // most of it is pauses
			const n = 4
			cmd := childCommand(t, "serve", childSpec{N: n})
			log := strace(t, cmd, "accept,accept4", "error="+errno+":when=1+2") // every other call
			c := startCommand(t, cmd, nil)
			expectClients(t, c, tcpClients(t, c.hear(), n))
			if hits(log) == 0 {
				t.Error("accept has never failed")
			}
		})
	}
}

func TestServeEndsWithAnErrorOfAcceptThatStays(t *testing.T) {
	needStrace(t)
	noLeaks(t)
	const n = 100
	cmd := childCommand(t, "serve", childSpec{N: n})
	strace(t, cmd, "accept,accept4", "error=EINVAL:when=2+") // strace counts for each thread
	c := startCommand(t, cmd, nil)
	addr := c.hear()
	for range n {
		if client, err := net.Dial("tcp", addr); err == nil { // or the listener is closed so soon that it hears of it
			defer client.Close()
		}
	}
	if s := c.hear(); !strings.HasPrefix(s, "Serve: ") || !strings.Contains(s, "accept: invalid argument") {
		t.Errorf("the child says %q", s)
	}
	c.succeed()
}

// A shortage that has ended, or lets some through now and then, is not the same one all the time.
func TestServePausesShortlyAgainAfterAShortage(t *testing.T) {
	pool, ln := newPool(t, nil), connListen(t, "tcp4")
	defer ln.Close()
	f, _, err := dupListener(ln)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	now := make(chan struct{})
	close(now) // no pause takes any time
	a := acceptor{pool: pool, ds: make([]Desc, 0, serveBatch), pause: servePause, done: now}
	shortages := func(n int) time.Duration {
		for range n {
			a.errno = unix.EMFILE
			a.waitOut()
		}
		return a.pause.last
	}
	if pause := shortages(5); pause <= a.pause.first {
		t.Errorf("the pause after five shortages is %v, like the first", pause)
	}
	raw, err := f.SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	accept := func() {
		raw.Control(func(fd uintptr) {
			if again := a.accept(fd); again || a.err != nil {
				t.Errorf("the queue is empty: %v, %v", !again, a.err)
			}
		})
	}
	accept()
	if pause := shortages(1); pause != a.pause.first {
		t.Errorf("the pause after a shortage that has ended is %v, want %v", pause, a.pause.first)
	}
	shortages(5)
	tcpClients(t, ln.Addr().String(), 3)
	until(t, "they are accepted", func() bool {
		accept()
		return pool.Stats().Waiting == 3
	})
	if pause := shortages(1); pause != a.pause.first {
		t.Errorf("the pause after a shortage behind some connections is %v, want %v", pause, a.pause.first)
	}
}

func TestServeEndsWithTheErrorOfAPolicy(t *testing.T) {
	noLeaks(t)
	pool := newPool(t, &PoolConfig{Policy: PolicyFunc(func(*Desc, uint64, []Worker) int { return -1 })})
	newWorker(t, pool, nil)
	ln := connListen(t, "tcp4")
	defer ln.Close()
	served := make(chan error, 1)
	go func() { served <- pool.Serve(ln) }()
	tcpClients(t, ln.Addr().String(), 1)
	soon(t, "Serve ends", func() {
		if err := <-served; err == nil || !strings.Contains(err.Error(), "picked worker -1 of 1") {
			t.Error(err)
		}
		if err := pool.Serve(ln); err == nil || !strings.Contains(err.Error(), "picked worker -1 of 1") {
			t.Errorf("Serve once more: %v", err)
		}
		if err := pool.Shutdown(t.Context()); err == nil || !strings.Contains(err.Error(), "picked worker -1 of 1") {
			t.Errorf("Shutdown: %v", err)
		}
	})
	ds := pool.Undelivered()
	if len(ds) != 1 {
		t.Errorf("%d connections are undelivered, want the one that was accepted", len(ds))
	}
	CloseFDs(fdsOf(ds))
}

// What Serve has handed over is the pool's, which gives it back once, and open.
func TestWhatServeHasHandedOverComesBackOnceAndOpen(t *testing.T) {
	noLeaks(t)
	pool, ln := newPool(t, nil), connListen(t, "tcp4")
	defer ln.Close()
	served := make(chan error, 1)
	go func() { served <- pool.Serve(ln) }()
	tcpClients(t, ln.Addr().String(), 1)
	until(t, "the connection waits", func() bool { return pool.Stats().Waiting == 1 })
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	pool.Shutdown(ctx)
	soon(t, "Serve ends", func() {
		if err := <-served; !errors.Is(err, net.ErrClosed) {
			t.Errorf("Serve: %v", err)
		}
	})
	ds := pool.Undelivered()
	if len(ds) != 1 || !isOpen(ds[0].FD) {
		t.Fatalf("undelivered: %v, want the one connection, open", ds)
	}
	CloseFDs(fdsOf(ds))
}

func TestServeEndsWithItsListenerAlsoWhileItWaitsForAPlace(t *testing.T) {
	noLeaks(t)
	pool := newPool(t, &PoolConfig{Backlog: 1})
	ln := connListen(t, "tcp4")
	served := make(chan error, 1)
	go func() { served <- pool.Serve(ln) }()
	clients := tcpClients(t, ln.Addr().String(), 3)
	until(t, "the others wait for a place", func() bool { return pool.Stats().Waiting == 1 })
	time.Sleep(20 * time.Millisecond)
	ln.Close()
	soon(t, "Serve ends", func() {
		if err := <-served; !errors.Is(err, net.ErrClosed) {
			t.Error(err)
		}
	})
	if c, err := net.Dial("tcp", ln.Addr().String()); err == nil {
		c.Close()
		t.Error("somebody still listens")
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	pool.Shutdown(ctx)
	if ds := pool.Undelivered(); len(ds) == 0 || len(ds) > len(clients) {
		t.Errorf("%d of %d connections are undelivered", len(ds), len(clients))
	} else {
		CloseFDs(fdsOf(ds))
	}
}

// Shutdown does not wait longer than it may for a Serve that cannot be woken, and what that accepts at last is not
// lost.
func TestShutdownDoesNotWaitForServeForEver(t *testing.T) {
	noLeaks(t)
	pool := newPool(t, nil)
	pool.serving.Add(1) // one that waits in accept, since somebody else has taken the connection that it saw
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	soon(t, "Shutdown returns", func() {
		if err := pool.Shutdown(ctx); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("Shutdown: %v", err)
		}
	})
	a := acceptor{pool: pool, done: make(chan struct{})}
	if err := a.dispatch([]Desc{{FD: 0, Keep: true}}); !errors.Is(err, net.ErrClosed) {
		t.Errorf("dispatch: %v", err)
	}
	pool.serving.Done()
	if ds := pool.Undelivered(); len(ds) != 1 {
		t.Errorf("undelivered: %v", ds)
	}
}

// A Serve that is not stuck hands over what it has accepted before Shutdown returns, also if that may not wait at all.
func TestShutdownHasAllThatServeHasAccepted(t *testing.T) {
	noLeaks(t)
	pool := newPool(t, nil)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	pool.serving.Add(1)
	go func() {
		defer pool.serving.Done()
		<-pool.closing
		time.Sleep(10 * time.Millisecond)
		a := acceptor{pool: pool, done: make(chan struct{})}
		a.dispatch([]Desc{{FD: 0, Keep: true}})
	}()
	soon(t, "Shutdown returns", func() { pool.Shutdown(ctx) })
	if ds := pool.Undelivered(); len(ds) != 1 {
		t.Errorf("undelivered: %v", ds)
	}
}
