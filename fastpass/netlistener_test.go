//go:build unix

package fastpass

import (
	"io"
	"net"
	"os"
	"runtime"
	"syscall"
	"testing"
	"time"

	"example.com/fdpass/internal/sys"
)

// The client of a connection that a worker has closed reads to its end at once, however long the front takes to close
// its copy.
func TestClosingAnAcceptedConnectionDoesNotWaitForTheFront(t *testing.T) {
	for _, network := range connNetworks {
		t.Run(network, func(t *testing.T) {
			begun, busy := make(chan struct{}), make(chan struct{})
			front, worker := link(t, &Config{Direction: SendOnly, OnSent: func(d Desc) {
				if d.Tag == 1 {
					close(begun)
					<-busy // and reads no acknowledgement meanwhile
				}
			}}, &Config{Direction: RecvOnly})
			defer close(busy)
			fd, client := connSocket(t, network)
			if n, err := front.SendBatch([]Desc{{FD: null(t), Tag: 1}, {FD: fd}}); n != 2 {
				t.Fatal(err)
			}
			first, err := worker.Recv()
			if err != nil {
				t.Fatal(err)
			}
			CloseFDs([]int{first.FD})
			<-begun
			ln := worker.NetListener()
			c, err := ln.Accept()
			if err != nil {
				t.Fatal(err)
			}
			if err := c.Close(); err != nil {
				t.Error(err)
			}
			if !isOpen(fd) {
				t.Fatal("the front has closed its copy, so this shows nothing")
			}
			_ = client.SetReadDeadline(time.Now().Add(5 * time.Second)) // rather than hang
			if _, err := client.Read(make([]byte, 1)); err != io.EOF {
				t.Errorf("the client reads %v, want io.EOF", err)
			}
		})
	}
}

// Who has a socket as well may hold its lock. Calls of which the runtime is not told wait for that with all goroutines:
// so those are for sockets that only processes have which could stop this one anyhow.
func TestAConnIsBriefIfOnlyTheTrustedMayHaveIt(t *testing.T) {
	own := os.Geteuid()
	for _, c := range []struct {
		name  string
		uid   int // the peer's
		lent  bool
		brief bool
	}{
		{"the same user's", own, false, true},
		{"root's", 0, false, true},
		{"another user's", own + 1, false, false},
		{"unknown", -1, false, false},
		{"lent", own, true, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			front, worker := link(t, &Config{Direction: SendOnly}, &Config{Direction: RecvOnly})
			worker.peer.UID = c.uid
			worker.peer.PID = os.Getppid() // the kernel names who has made the pair, which is this process
			fd, _ := connSocket(t, "tcp4")
			want := c.brief && sys.BriefStream(fd) // not in every build
			if err := front.Send(Desc{FD: fd, Keep: c.lent}); err != nil {
				t.Fatal(err)
			}
			conn, err := worker.NetListener().Accept()
			if err != nil {
				t.Fatal(err)
			}
			defer conn.Close()
			if got := conn.(*Conn).socket.stream.Brief; got != want {
				t.Errorf("brief: %v, want %v", got, want)
			}
			if c.lent {
				syscall.Close(fd)
			}
		})
	}
}

// What a listener has taken is nobody else's: when it is forgotten, nobody could close it.
func TestWhatAForgottenListenerHasTakenIsClosed(t *testing.T) {
	noLeaks(t)
	for _, closed := range []bool{false, true} {
		front, worker := link(t, &Config{Direction: SendOnly}, &Config{Direction: RecvOnly})
		var ds []Desc
		var clients []net.Conn
		for range 4 {
			fd, client := connSocket(t, connNetworks[0])
			ds, clients = append(ds, Desc{FD: fd}), append(clients, client)
		}
		if n, err := front.SendBatch(ds); n != len(ds) {
			t.Fatal(err)
		}
		func() {
			ln := worker.NetListener()
			for i := range 2 { // once the link is closed, Accept hands out what was taken before
				c, err := ln.Accept()
				if err != nil {
					t.Fatal(err)
				}
				c.Close()
				if closed && i == 0 {
					ln.Close()
				}
			}
		}()
		for _, client := range clients {
			until(t, "the connection is closed", func() bool {
				runtime.GC()
				_ = client.SetReadDeadline(time.Now().Add(time.Millisecond))
				_, err := client.Read(make([]byte, 1))
				return err == io.EOF
			})
		}
	}
}

// A listener that has taken a connection hands it out, although another caller of the same Passer waits for the next
// message by then.
func TestAListenerHandsOutWhatItHasTakenBesideOthersThatWait(t *testing.T) {
	for _, l := range everyLink {
		t.Run(l.String(), func(t *testing.T) {
			front, worker := link(t, &Config{Protocol: l.Protocol, Network: l.Network, Direction: SendOnly},
				&Config{Protocol: l.Protocol, Network: l.Network, Direction: RecvOnly})
			accepted := make(chan net.Conn)
			for range 2 {
				ln := worker.NetListener()
				go func() {
					for c, err := ln.Accept(); err == nil; c, err = ln.Accept() {
						accepted <- c
					}
				}()
			}
			for range 20 {
				fd, _ := connSocket(t, connNetworks[0])
				if err := front.Send(Desc{FD: fd}); err != nil {
					t.Fatal(err)
				}
				soon(t, "the connection is accepted", func() { (<-accepted).Close() })
			}
		})
	}
}

// opens is a Policy that takes the worker whose number is the tag, and notes what the workers say they have open.
type opens map[uint64]int // by Worker.ID

func (o opens) Pick(d *Desc, _ uint64, workers []Worker) int {
	clear(o)
	for _, w := range workers {
		o[w.ID] = w.Open
	}
	return int(d.Tag)
}

func TestAPolicyKnowsHowManyConnectionsItsWorkersHaveOpen(t *testing.T) {
	policy := opens{}
	pool := newPool(t, &PoolConfig{Policy: policy})
	var listeners []net.Listener
	for range 2 {
		worker, _ := newWorker(t, pool, nil)
		listeners = append(listeners, worker.NetListener())
	}
	// pass has a worker accept a connection. The policy is to find so many open before.
	pass := func(worker int, first, second int) *Conn {
		t.Helper()
		fd, client := connSocket(t, connNetworks[0])
		t.Cleanup(func() { client.Close() })
		if _, err := pool.Dispatch([]Desc{{FD: fd, Tag: uint64(worker)}}); err != nil {
			t.Fatal(err)
		}
		if sys.Implementation != "sendmmsg/recvmmsg" {
			first, second = 0, 0 // there is no page
		}
		if policy[1] != first || policy[2] != second {
			t.Errorf("the workers have %v open, want %d and %d", policy, first, second)
		}
		c, err := listeners[worker].Accept()
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { c.Close() })
		return c.(*Conn)
	}
	a := pass(0, 0, 0)
	b := pass(1, 0, 0) // it has said nothing yet, so what the first says does not count
	pass(0, 1, 1)
	pass(0, 2, 1)
	a.Close()
	a.Close()
	pass(1, 2, 1)
	std, err := b.Std()
	if err != nil {
		t.Fatal(err)
	}
	defer std.Close()
	b.Close()
	pass(1, 2, 1)
	open := 2
	if sys.Implementation != "sendmmsg/recvmmsg" {
		open = 0
	}
	for i, w := range pool.Workers() {
		if w.ID != uint64(i+1) || w.Passed != 3 || w.Open != open || w.Passer == nil || w.InFlight > 3 {
			t.Errorf("Workers: %d is %+v, want 3 passed to it and %d open", i, w, open)
		}
	}
}

// What a listener refuses is not open.
func TestWhatAListenerRefusesIsNotCounted(t *testing.T) {
	front, worker := link(t, nil, nil)
	ln := worker.NetListener()
	fd, client := connSocket(t, connNetworks[0])
	defer client.Close()
	if n, err := front.SendBatch([]Desc{{FD: null(t)}, {FD: fd}, {FD: null(t)}}); n != 3 {
		t.Fatal(err)
	}
	c, err := ln.Accept()
	if err != nil {
		t.Fatal(err)
	}
	go ln.Accept() // closes the last one, and waits for more
	defer worker.Close()
	if front.out.page != nil {
		until(t, "one is open", func() bool { n, counted := front.out.page.Open(); return n == 1 && counted })
	}
	c.Close()
	if n, _ := front.out.page.Open(); n != 0 {
		t.Errorf("%d open, want none", n)
	}
}

// Where there is little to do, few workers do it: those whose caches are warm.
func TestLeastLoadedKeepsToTheFirstWorkersThatAreIdle(t *testing.T) {
	if sys.Implementation != "sendmmsg/recvmmsg" {
		t.Skip("workers tell what they have to do in a page, which this implementation has not")
	}
	noLeaks(t)
	pool := newPool(t, &PoolConfig{Policy: LeastLoaded})
	accepted := make(chan int)
	conns := make(chan net.Conn)
	for i := range 3 {
		w, _ := newWorker(t, pool, nil)
		go func() {
			for ln := w.NetListener(); ; {
				c, err := ln.Accept()
				if err != nil {
					return
				}
				accepted <- i
				conns <- c
			}
		}()
	}
	pass := func() (worker int, c net.Conn) {
		t.Helper()
		fd, client := connSocket(t, "unix")
		t.Cleanup(func() { client.Close() })
		for _, w := range pool.Workers() { // while a link looks at its acknowledgements, one may be counted once more
			until(t, "all are acknowledged", func() bool { return w.Passer.out.pending() == 0 })
		}
		if _, err := pool.Dispatch([]Desc{{FD: fd}}); err != nil {
			t.Fatal(err)
		}
		return <-accepted, <-conns
	}
	told := map[int]bool{}
	for len(told) < 3 { // in turn, until each has told how many it has open
		w, c := pass()
		told[w] = true
		c.Close()
	}
	for range 10 {
		w, c := pass()
		if w != 0 {
			t.Errorf("idle worker %d got one, and worker 0 was idle, too", w)
		}
		c.Close()
	}
	w, busy := pass()
	defer busy.Close()
	for range 10 {
		other, c := pass()
		if w != 0 || other != 1 {
			t.Errorf("worker %d is busy, and worker %d got one, want 0 and 1", w, other)
		}
		c.Close()
	}
}
