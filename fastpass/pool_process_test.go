//go:build linux

package fastpass

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"example.com/fdpass/cmsgpool"
	"example.com/fdpass/internal/wire"

	"golang.org/x/sys/unix"
)

// Pools whose workers are processes, that die, stop, leave and misbehave.

// processWorker adds a process with the given role to pool.
func processWorker(t *testing.T, pool *Pool, role string, spec childSpec) *child {
	t.Helper()
	p, c := linkTo(t, role, spec.Link.config(), spec, false)
	if err := pool.Add(p); err != nil {
		t.Fatal(err)
	}
	return c
}

func TestWhenEveryWorkerIsKilledDispatchWaitsAndANewOneGetsAllInOrder(t *testing.T) {
	numbers := newNumbered(t)
	for _, l := range framedLinks {
		t.Run(l.String(), func(t *testing.T) {
			noLeaks(t)
			left := make(chan string, 2)
			pool := newPool(t, &PoolConfig{Backlog: 16, OnLeave: func(_ *Passer, err error, back int) {
				left <- fmt.Sprintf("%v, %d taken back", err, back)
			}})
			l.Window, l.Direction = 64, Both
			first := processWorker(t, pool, "take some", childSpec{Link: l, N: 10})
			dispatch(t, pool, numbers.descs(t, 0, 50))
			first.expect("taken")
			first.signal(unix.SIGKILL)
			if s, want := <-left, fmt.Sprintf("%v, 40 taken back", ErrPeerGone); s != want {
				t.Fatalf("the worker left: %s, want %s", s, want)
			}
			late := numbers.descs(t, 50, 60) // the 40 fill the backlog, and more
			pool.SetDeadline(time.Now().Add(10 * time.Millisecond))
			if n, err := pool.Dispatch(late); n != 0 || !errors.Is(err, os.ErrDeadlineExceeded) {
				t.Fatalf("Dispatch with nobody there: %d, %v", n, err)
			}
			pool.SetDeadline(time.Time{})
			dispatched := make(chan error, 1)
			go func() {
				_, err := pool.Dispatch(late)
				dispatched <- err
			}()
			second := processWorker(t, pool, "log", childSpec{Link: l})
			for i := 10; i < 60; i++ {
				second.expect("%d", i)
			}
			if err := <-dispatched; err != nil {
				t.Error(err)
			}
			if err := pool.Shutdown(context.Background()); err != nil {
				t.Error(err)
			}
			second.expect("end: EOF")
			second.succeed()
		})
	}
}

func TestAStoppedWorkerIsTakenBackFromAndEndsInOrderWhenItWakes(t *testing.T) {
	numbers := newNumbered(t)
	bothWaysToRead(t, framedLinks, func(t *testing.T, l, there linkConfig) {
		left := make(chan string, 2)
		pool := newPool(t, &PoolConfig{
			StallTimeout: 50 * time.Millisecond,
			OnLeave:      func(_ *Passer, err error, back int) { left <- fmt.Sprintf("%v, %d taken back", err, back) },
		})
		p, stopped := stoppedReceiver(t, numbers, l, there, false)
		if err := pool.Add(p); err != nil {
			t.Fatal(err)
		}
		dispatch(t, pool, numbers.descs(t, 10, 50))
		if s, want := <-left, fmt.Sprintf("%v, 40 taken back", ErrStalled); s != want {
			t.Errorf("the worker left: %s, want %s", s, want)
		}
		w, _ := newWorker(t, pool, nil)
		soon(t, "another gets them", func() {
			ds, err := recvN(w, 40, 40)
			if err != nil {
				t.Error(err)
			}
			expectNumbers(t, ds, 10, 50)
		})
		stopped.signal(unix.SIGCONT)
		stopped.expect("end: EOF")
		stopped.succeed()
	})
}

func init() {
	roles["a front that is stopped"] = func() { // dispatches a descriptor, and says how its worker leaves after that
		_, p := childEnd()
		left := make(chan string, 1)
		pool, err := NewPool(&PoolConfig{StallTimeout: 400 * time.Millisecond, OnLeave: func(_ *Passer, err error, back int) {
			left <- fmt.Sprintf("%v, %d taken back", err, back)
		}})
		must(err)
		must(pool.Add(p))
		_, err = pool.Dispatch([]Desc{{FD: 0, Keep: true}})
		must(err)
		for end := time.Now().Add(patience); p.Stats().Queued == 0; time.Sleep(time.Millisecond) {
			require(time.Now().Before(end), "the worker is not ready: %+v", pool.Stats())
		}
		say("dispatched")
		hear()
		pool.Shutdown(context.Background())
		say("%s", <-left)
	}
}

// Time in which the front is stopped is not the workers'.
func TestNoWorkerStallsWhileTheFrontIsStopped(t *testing.T) {
	noLeaks(t)
	for _, l := range framedLinks {
		t.Run(l.String(), func(t *testing.T) {
			t.Parallel()
			there := l
			l.Direction, there.Direction = RecvOnly, SendOnly
			p, c := linkTo(t, "a front that is stopped", l.config(), childSpec{Link: there}, false)
			c.expect("dispatched")
			c.signal(unix.SIGSTOP)
			c.stopped()
			time.Sleep(time.Second)
			c.signal(unix.SIGCONT)
			time.Sleep(20 * time.Millisecond) // the front looks first
			d, err := p.Recv()
			if err != nil {
				t.Fatal(err)
			}
			CloseFDs([]int{d.FD})
			c.say("end")
			c.expect("<nil>, 0 taken back")
			c.succeed()
		})
	}
}

func init() {
	roles["take some and leave"] = func() { // takes about N, says which, and leaves in order
		spec, p := childEnd()
		ds := make([]Desc, 30)
		for taken := 0; taken < spec.N; {
			n, err := p.RecvBatch(ds)
			for _, d := range ds[:n] {
				say("%d", numberOf(d.FD))
			}
			CloseFDs(fdsOf(ds[:n]))
			if taken += n; err != nil {
				break
			}
		}
		p.Shutdown(context.Background())
	}
}

// Workers come and leave under load: each descriptor is taken by one of them, once.
func TestWorkersThatLeaveInOrderTakeNothingTwice(t *testing.T) {
	numbers := newNumbered(t)
	for _, l := range framedLinks {
		for _, l.Direction = range []Direction{Both, RecvOnly} {
			t.Run(l.String(), func(t *testing.T) {
				noLeaks(t)
				const n, each = 1000, 100
				left := make(chan error, 100)
				pool := newPool(t, &PoolConfig{OnLeave: func(_ *Passer, err error, _ int) { left <- err }})
				here := l
				here.Direction, here.Window = Both, 256
				var workers []*child
				join := func() {
					p, f, err := Pair(here.config())
					if err != nil {
						t.Fatal(err)
					}
					c := startChild(t, "take some and leave", f, childSpec{Link: l, N: each})
					if err := pool.Add(p); err != nil {
						t.Fatal(err)
					}
					workers = append(workers, c)
				}
				for range 3 {
					join()
				}
				dispatched := make(chan error, 1)
				go func() {
					var err error
					for next := 0; next < n && err == nil; next += 100 {
						_, err = pool.Dispatch(numbers.descs(t, next, next+100))
					}
					dispatched <- err
				}()
				taken, owners := 0, make([]int, n)
				own := func(s string) {
					i, err := strconv.Atoi(s)
					if err != nil || i < 0 || i >= n {
						t.Fatalf("a worker says %q", s)
					}
					owners[i]++
					taken++
				}
				for deadline := time.After(patience); taken < n; {
					for i := 0; i < len(workers); i++ {
						select {
						case s, ok := <-workers[i].lines:
							if ok {
								own(s)
								continue
							}
							workers[i].succeed()
							workers = append(workers[:i], workers[i+1:]...)
							join()
						case <-time.After(time.Millisecond):
						case <-deadline:
							t.Fatalf("%d of %d taken: %+v", taken, n, pool.Stats())
						}
					}
				}
				if err := <-dispatched; err != nil {
					t.Error(err)
				}
				if err := pool.Shutdown(context.Background()); err != nil {
					t.Error(err)
				}
				for _, c := range workers {
					for s := range c.lines {
						own(s)
					}
				}
				for i, k := range owners {
					if k != 1 {
						t.Errorf("descriptor %d was taken %d times", i, k)
					}
				}
				for len(left) > 0 {
					if err := <-left; err != nil {
						t.Errorf("a worker left with %v", err)
					}
				}
			})
		}
	}
}

func init() {
	// A server: each client sends a line, and gets it back. Extra is what the answer begins with.
	roles["answer"] = func() {
		spec, p := childEnd()
		ln := p.NetListener()
		say("ready")
		var served sync.WaitGroup
		for {
			c, err := ln.Accept()
			if err != nil {
				break
			}
			served.Go(func() {
				defer c.Close()
				b := make([]byte, 100)
				n, err := c.Read(b)
				if err == nil {
					fmt.Fprintf(c, "%s %s", spec.Extra, b[:n])
				}
			})
		}
		served.Wait()
		p.Close()
	}
}

// Clients have sent their request before their connection is passed on. Those whose connection a worker has
// acknowledged share its fate; all others get their answer from another one, and notice nothing.
func TestClientsOfAKilledWorkerThatHadNotTakenThemNoticeNothing(t *testing.T) {
	for _, l := range framedLinks {
		t.Run(l.String(), func(t *testing.T) {
			ln, err := net.Listen("tcp", "127.0.0.1:0")
			if err != nil {
				t.Fatal(err)
			}
			defer ln.Close()
			answered, lost := 0, 0
			for round := range scaled(20) + 4 {
				a, b := killedUnderClients(t, l, ln, time.Duration(rand.IntN(2000))*time.Microsecond)
				answered, lost = answered+a, lost+b
				if t.Failed() {
					t.Fatalf("round %d", round)
				}
			}
			t.Logf("%d clients answered, %d killed with their worker", answered, lost)
		})
	}
}

func killedUnderClients(t *testing.T, l linkConfig, ln net.Listener, after time.Duration) (answered, lost int) {
	noLeaks(t)
	const n = 60
	var acknowledged [n]atomic.Bool
	l.Direction = Both
	cfg := l.config()
	cfg.OnSent = func(d Desc) { acknowledged[d.Tag].Store(true) }
	there := l
	there.Direction = RecvOnly
	p, f, err := Pair(cfg)
	if err != nil {
		t.Fatal(err)
	}
	first := startChild(t, "answer", f, childSpec{Link: there, Extra: "first"})
	first.expect("ready")
	clients := make([]net.Conn, n)
	ds := make([]Desc, n)
	for i := range clients {
		if clients[i], err = net.Dial("tcp", ln.Addr().String()); err != nil {
			t.Fatal(err)
		}
		defer clients[i].Close()
		fmt.Fprintf(clients[i], "request %d", i)
		conn, err := ln.Accept()
		if err != nil {
			t.Fatal(err)
		}
		ds[i] = Desc{FD: connDetach(t, conn), Tag: uint64(i)}
	}
	sent := make(chan int, 1)
	go func() {
		taken := 0
		for taken < n { // a few at a time, so that the kill comes in the middle
			k, err := p.SendBatch(ds[taken:min(taken+3, n)])
			if taken += k; err != nil {
				break
			}
		}
		sent <- taken
	}()
	time.Sleep(after) // any time will do
	first.signal(unix.SIGKILL)
	wait(t, "the link ends", p.Done())
	taken := <-sent
	rest := append(p.Undelivered(), ds[taken:]...)
	p.Close()

	q, second := linkTo(t, "answer", l.config(), childSpec{Link: there, Extra: "second"}, false)
	if _, err := q.SendBatch(rest); err != nil {
		t.Fatal(err)
	}
	for i, c := range clients {
		c.SetReadDeadline(time.Now().Add(patience))
		b, err := io.ReadAll(c)
		by, request, _ := strings.Cut(string(b), " ")
		switch {
		case request == "request "+strconv.Itoa(i) && (by == "first") == acknowledged[i].Load():
			answered++
		case len(b) == 0 && acknowledged[i].Load() && !errors.Is(err, os.ErrDeadlineExceeded):
			lost++
		default:
			t.Errorf("client %d, acknowledged %t: %q, %v", i, acknowledged[i].Load(), b, err)
		}
	}
	if err := q.Shutdown(context.Background()); err != nil {
		t.Error(err)
	}
	if len(rest) > 0 {
		expectPage(t, q)
	}
	second.succeed()
	return answered, lost
}

func init() {
	// Peers that say HELLO on descriptor 3, and then do everything but receive in order.
	role := func(name string, misbehave func()) {
		roles[name] = func() {
			unix.SetNonblock(3, false)
			unix.Write(3, helloFrame(nil, nil))
			say("ready")
			misbehave()
			hear()
		}
	}
	send := func(b []byte) error { return unix.Sendto(3, b, unix.MSG_NOSIGNAL, nil) }
	role("flood", func() { // more than it has credit for, and never reads
		batch := make([]int, 253)
		for seq := uint64(0); ; seq += 253 {
			if unix.Sendmsg(3, dataFrame(seq, 253, nil), unix.UnixRights(batch...), nil, unix.MSG_NOSIGNAL) != nil {
				break
			}
		}
	})
	role("acknowledge nonsense", func() {
		b := make([]byte, 1)
		for i := uint64(0); ; i++ {
			unix.Read(3, b) // and lose what came
			if send(ackFrame(i*i, int(i%7))) != nil {
				break
			}
		}
	})
	role("speak garbage", func() {
		b := make([]byte, 1)
		for unix.Read(3, b); ; {
			garbage := make([]byte, 1+rand.IntN(100))
			for i := range garbage {
				garbage[i] = byte(rand.Int())
			}
			if send(garbage) != nil {
				break
			}
		}
	})
	role("drip an acknowledgement", func() {
		for _, b := range ackFrame(1, 100)[:wire.HeaderSize-1] {
			if send([]byte{b}) != nil {
				break
			}
			time.Sleep(5 * time.Millisecond) // that slowly
		}
	})
	role("never read", func() {})
	role("scribble on the page", func() { // where there is one: another limit all the time, and nothing acknowledged
		oob := make([]byte, unix.CmsgSpace(4))
		_, n, _, _, _ := unix.Recvmsg(3, make([]byte, 1), oob, 0)
		for _, fd := range cmsgpool.AppendFDs(nil, oob[:n]) {
			go func() {
				for i := uint64(0); ; i++ {
					(&rawPage{fd: fd}).write(limitAt, i%4|i<<61)
				}
			}()
		}
	})
}

// A worker that misbehaves loses its link, or what it does not take in time; the good one beside it gets everything.
func TestAGoodWorkerBesideAHostileOneGetsEverything(t *testing.T) {
	numbers := newNumbered(t)
	links := framedLinks
	if brief() {
		links = links[:1]
	}
	for _, l := range links {
		for _, role := range []string{"flood", "acknowledge nonsense", "speak garbage", "drip an acknowledgement", "never read", "scribble on the page"} {
			t.Run(l.String()+", "+role, func(t *testing.T) {
				noLeaks(t)
				const n = 3000
				left := make(chan error, 2)
				pool := newPool(t, &PoolConfig{
					StallTimeout: 700 * time.Millisecond, // the good one is never that slow
					OnLeave:      func(_ *Passer, err error, _ int) { left <- err },
				})
				l.Window = 256
				w, _ := newWorker(t, pool, nil)
				processWorker(t, pool, role, childSpec{Link: l}).expect("ready")
				until(t, "it is heard", func() bool { return pool.Stats().Ready == 2 || len(left) > 0 })
				got := make(chan map[uint64]int, 1)
				go func() {
					tags, ds := map[uint64]int{}, make([]Desc, 100)
					for {
						k, err := w.RecvBatch(ds)
						for _, d := range ds[:k] {
							tags[d.Tag]++
						}
						CloseFDs(fdsOf(ds[:k]))
						if err != nil {
							break
						}
					}
					got <- tags
				}()
				for next := 0; next < n; next += 100 {
					dispatch(t, pool, numbers.descs(t, next, next+100))
				}
				select {
				case err := <-left:
					if !errors.Is(err, ErrProtocol) && !errors.Is(err, ErrStalled) {
						t.Errorf("left with %v, want ErrProtocol or ErrStalled", err)
					}
				case <-time.After(patience):
					t.Fatalf("the hostile worker is still there: %+v", pool.Stats())
				}
				soon(t, "all is delivered", func() {
					if err := pool.Shutdown(context.Background()); err != nil {
						t.Error(err)
					}
				})
				tags := <-got
				for i := range uint64(n) {
					// Nonsense may acknowledge by chance what was sent.
					if k := tags[i]; k > 1 || k == 0 && role != "acknowledge nonsense" {
						t.Errorf("descriptor %d came %d times", i, k)
						break
					}
				}
			})
		}
	}
}
