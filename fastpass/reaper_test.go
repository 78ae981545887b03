//go:build linux

package fastpass

import (
	"errors"
	"net"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"example.com/fdpass/cmsgpool"
	"example.com/fdpass/internal/sys"

	"golang.org/x/sys/unix"
)

// Serve's connections are closed without telling the runtime. A worker that has one linger, and closes its own first,
// holds that thread up; it must not hold up who stops the world.
func TestTheRuntimeEndsTheLingeringOfABriefClose(t *testing.T) {
	listener, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(listener)
	if !sys.Brief(listener) {
		t.Skip("this build closes them as it closes everything")
	}
	fds, relent := lingering(t, 1)
	defer relent()
	begun, closed := make(chan struct{}), make(chan struct{})
	go func() {
		close(begun)
		sys.System.CloseBriefly(fds[0], fds[0])
		close(closed)
	}()
	<-begun
	soon(t, "the world stops", func() {
		for range 3 {
			runtime.GC()
		}
	})
	soon(t, "the close ends", func() {
		for range time.Tick(time.Millisecond) {
			select {
			case <-closed:
				return
			default:
				runtime.GC()
			}
		}
	})
}

// unhurried runs test with a function that makes descriptors of which each takes hours to close, until the test is over
// and all its links are closed. After that nothing may be left.
func unhurried(t *testing.T, test func(t *testing.T, slow func(n int) []int)) {
	noLeaks(t)
	// A signal ends the lingering of the thread that gets it, and the garbage collector's may come late, when the goroutine
	// that it is to interrupt has begun to close.
	every := debug.SetGCPercent(-1)
	var mu sync.Mutex
	var all []func()
	t.Cleanup(func() {
		for _, relent := range all {
			relent()
		}
		debug.SetGCPercent(every)
	})
	t.Run("while it is slow", func(t *testing.T) {
		test(t, func(n int) []int {
			fds, relent := lingering(t, n)
			mu.Lock()
			defer mu.Unlock()
			all = append(all, relent)
			return fds
		})
	})
}

// unhurriedLinks runs test for each of links so, some at once: each takes closeTime at least.
func unhurriedLinks(t *testing.T, links []linkConfig, test func(t *testing.T, l linkConfig, slow func(n int) []int)) {
	unhurried(t, func(t *testing.T, slow func(n int) []int) {
		for _, l := range links {
			t.Run(l.String(), func(t *testing.T) {
				t.Parallel()
				test(t, l, slow)
			})
		}
	})
}

// eitherWayToRead is links, of which every other one only receives.
func eitherWayToRead(links []linkConfig) []linkConfig {
	links = slices.Clone(links)
	for i := range links {
		links[i].Direction = []Direction{Both, RecvOnly}[i%2] // not both: each takes closeTime
	}
	return links
}

// sendLast sends p messages, each with all of fds, and closes them here before p can have taken the first one in: the
// last to close them is p.
func (r *raw) sendLast(p *Passer, fds []int, messages ...[]byte) {
	r.t.Helper()
	p.in.mu.Lock()
	defer p.in.mu.Unlock()
	r.giveAway(fds, messages...)
}

// giveAway sends messages, each with all of fds, and closes them here.
func (r *raw) giveAway(fds []int, messages ...[]byte) {
	r.t.Helper()
	for _, m := range messages {
		if err := r.sendmsg(m, unix.UnixRights(fds...)); err != nil {
			r.t.Fatal(err)
		}
	}
	CloseFDs(fds)
}

// A compromised worker sends the front a descriptor that takes hours to close, in a frame that the front refuses. What
// it was given must go to another worker all the same, and the pool must end.
func TestADescriptorThatIsSlowToCloseHoldsNobodyElsesBack(t *testing.T) {
	unhurriedLinks(t, framedLinks, func(t *testing.T, l linkConfig, slow func(int) []int) {
		pool, err := NewPool(nil)
		if err != nil {
			t.Fatal(err)
		}
		p, r := rawLink(t, l)
		r.hello()
		if err := pool.Add(p); err != nil {
			t.Fatal(err)
		}
		if _, err := pool.Dispatch(nulls(t, 10)); err != nil {
			t.Fatal(err)
		}
		until(t, "the worker was given them", func() bool { return p.Stats().Sent == 10 })
		r.sendLast(p, slow(1), dataFrame(7, 1, nil))
		w, f, err := Pair(nil)
		if err != nil {
			t.Fatal(err)
		}
		q := passerOf(t, f, nil)
		if err := pool.Add(w); err != nil {
			t.Fatal(err)
		}
		soon(t, "the other worker gets all", func() {
			ds, err := recvN(q, 10, 10)
			CloseFDs(fdsOf(ds))
			if err != nil {
				t.Error(err)
			}
		})
		soon(t, "the pool ends", func() {
			q.Close()
			pool.Shutdown(t.Context())
		})
		if n := p.reaper.pending.Load(); n == 0 {
			t.Error("closing was not slow")
		}
	})
}

// What lies in the queue of a socket is closed with it, and so is what the link holds for an application that never
// asked.
func TestASocketThatIsSlowToCloseHoldsNobodyBack(t *testing.T) {
	unhurriedLinks(t, eitherWayToRead(everyLink), func(t *testing.T, l linkConfig, slow func(int) []int) {
		p, r := rawLink(t, l)
		if l.Protocol == Framed {
			r.hello()
		}
		// They are good; the last ones come when the link has had enough already.
		frames := [][]byte{[]byte("x")}
		if l.Protocol == Framed {
			frames[0] = dataFrame(0, 2, nil)
		}
		for range 40 {
			frames = append(frames, []byte("neither"))
		}
		r.sendLast(p, slow(2), frames...)
		soon(t, "Close returns", func() { p.Close() })
		if n := p.reaper.pending.Load(); n == 0 {
			t.Error("closing was not slow")
		}
	})
}

// An end that takes other kinds only closes what comes. If a peer sees to it that this takes hours, it is soon read no
// more, and then its link ends. (Where the peer needs credit it must be given some for this: Bare is enough.)
func TestDescriptorsThatAreSlowToCloseAreFew(t *testing.T) {
	unhurriedLinks(t, eitherWayToRead(everyLink[2:]), func(t *testing.T, l linkConfig, slow func(int) []int) {
		cfg := l.config()
		cfg.Kinds = Pipe
		p, f, err := Pair(cfg)
		if err != nil {
			t.Fatal(err)
		}
		closeAfter(t, p)
		r := newRaw(t, f)
		t.Cleanup(r.close)
		p.in.mu.Lock() // it takes nothing in before these are closed here
		for range 3 {  // of which the scheduler's signal may end one, as the garbage collector's would
			r.giveAway(slow(1), []byte("x"))
		}
		p.in.mu.Unlock()
		received := make(chan struct{})
		go func() {
			defer close(received)
			if _, err := p.Recv(); !errors.Is(err, ErrProtocol) || !strings.Contains(err.Error(), "take long to close") {
				t.Errorf("Recv: %v", err)
			}
		}()
		most := maxPending + unaskedCredit + 2*fullCall
		rights := unix.UnixRights(make([]int, cmsgpool.MaxFDs)...) // of descriptor 0
		until(t, "the link ends", func() bool {
			for range 10 {
				unix.Sendmsg(r.fd, []byte("x"), rights, nil, unix.MSG_NOSIGNAL|unix.MSG_DONTWAIT)
			}
			if n := int(p.reaper.pending.Load() + p.in.queued.Load()); n > most {
				t.Fatalf("%d descriptors are open, more than %d", n, most)
			}
			return p.Err() != nil
		})
		wait(t, "Recv returns", received)
		soon(t, "Close returns", func() { p.Close() })
	})
}

// knock connects to ln, sends fds and closes them here.
func knock(t *testing.T, ln *Listener, fds []int) {
	t.Helper()
	dialRawSocket(t, ln).giveAway(fds, []byte("x"))
}

// Somebody who may not take part can send before he is refused, and those who have not been accepted yet, too.
func TestAListenerDoesNotWaitForWhatStrangersHaveSent(t *testing.T) {
	unhurried(t, func(t *testing.T, slow func(int) []int) {
		path := filepath.Join(t.TempDir(), "socket")
		cfg := &Config{Direction: RecvOnly, Authorize: func(Credentials) error { return errors.New("nobody may") }}
		ln, err := Listen(path, cfg)
		if err != nil {
			t.Fatal(err)
		}
		knock(t, ln, slow(1))
		knock(t, ln, slow(1))
		accepted := make(chan struct{})
		go func() {
			defer close(accepted)
			if _, err := ln.Accept(t.Context()); !errors.Is(err, net.ErrClosed) {
				t.Errorf("Accept: %v", err)
			}
		}()
		until(t, "both are refused", func() bool { return ln.Refused() == 2 })
		soon(t, "Close returns", func() { ln.Close() })
		wait(t, "Accept returns", accepted)
	})
}

func TestAListenerDoesNotWaitForWhatLiesInItsBacklog(t *testing.T) {
	unhurried(t, func(t *testing.T, slow func(int) []int) {
		path := filepath.Join(t.TempDir(), "socket")
		ln, err := Listen(path, nil)
		if err != nil {
			t.Fatal(err)
		}
		knock(t, ln, slow(1))
		soon(t, "Close returns", func() { ln.Close() })
	})
}
