//go:build linux

package fastpass

import (
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// Of a payload that a stream socket has taken in part the rest goes before the end, from a link and from a pool.
func TestShutdownSendsTheRestOfAPayload(t *testing.T) {
	for _, of := range []string{"a link", "a pool"} {
		t.Run(of, func(t *testing.T) {
			noLeaks(t)
			const size = 64 << 10
			p, r := rawLink(t, linkConfig{Protocol: Bare, Network: "unix", MaxPayload: size})
			send := func() { p.TrySend(Desc{FD: 0, Keep: true, Payload: make([]byte, size)}) }
			shutdown, closing := p.Shutdown, p.out.closing.Load
			if of == "a pool" {
				pool := newPool(t, &PoolConfig{MaxPayload: size})
				if err := pool.Add(p); err != nil {
					t.Fatal(err)
				}
				send = func() { pool.Dispatch([]Desc{{FD: 0, Keep: true, Payload: make([]byte, size)}}) }
				shutdown, closing = pool.Shutdown, func() bool { return pool.reached(poolClosing) }
			}
			want := 0
			for !p.out.blocked.Load() {
				send()
				want += size
			}
			down := make(chan error, 1)
			go func() { down <- shutdown(t.Context()) }()
			until(t, "it is shutting down", closing)
			got := 0
			soon(t, "the end comes", func() {
				for {
					b, err := r.recv()
					if err == unix.EAGAIN {
						time.Sleep(time.Millisecond)
						continue
					}
					if err != nil || len(b) == 0 {
						break
					}
					got += len(b)
				}
			})
			if err := <-down; err != nil {
				t.Error(err)
			}
			if got != want {
				t.Errorf("%d of %d bytes have come", got, want)
			}
		})
	}
}

// linkWithHalfAPayload returns a Bare link whose socket has taken a payload in part and takes no more, and its other
// end.
func linkWithHalfAPayload(t *testing.T) (*Passer, *raw) {
	t.Helper()
	const size = 64 << 10
	p, r := rawLink(t, linkConfig{Protocol: Bare, Network: "unix", MaxPayload: size})
	for !p.tail.waiting() {
		p.TrySend(Desc{FD: 0, Keep: true, Payload: make([]byte, size)})
	}
	until(t, "the link is blocked", p.out.blocked.Load)
	return p, r
}

// takeRole takes the flusher's role, as sendDirectly does, and has the other end read until the socket takes more:
// unblock comes too late then.
func takeRole(t *testing.T, p *Passer, r *raw) {
	t.Helper()
	if !p.out.work.CompareAndSwap(0, 1) {
		t.Fatal("somebody has the role")
	}
	for p.out.blocked.Load() {
		r.recv()
	}
}

// A Send that began before Shutdown may be what sends the rest of a payload.
func TestShutdownLearnsOfARestThatASendSends(t *testing.T) {
	noLeaks(t)
	p, r := linkWithHalfAPayload(t)
	down := make(chan error, 1)
	go func() { down <- p.Shutdown(t.Context()) }()
	until(t, "Shutdown waits", p.out.closing.Load)
	time.Sleep(10 * time.Millisecond)
	takeRole(t, p, r)
	p.out.sendPlain([]Desc{{FD: 0, Keep: true}})
	p.out.leave()
	soon(t, "Shutdown returns", func() { <-down })
}

// Who waits until a payload has gone is told by who sends its rest, and the reader tells nobody.
func TestTheReaderLeavesTheRestOfAPayloadToTheFlusher(t *testing.T) {
	noLeaks(t)
	p, r := linkWithHalfAPayload(t)
	takeRole(t, p, r)
	p.in.mu.Lock()
	p.in.offer()
	p.in.mu.Unlock()
	if !p.tail.waiting() {
		t.Error("the reader has sent it")
	}
	p.out.leave()
}
