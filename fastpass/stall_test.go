//go:build linux

package fastpass

import (
	"errors"
	"sync"
	"testing"
	"time"
)

// A socket is writable when three quarters of its buffer are free, and so the link of a worker that is slow sends nothing for long.
func TestASlowBareWorkerHasNotStalled(t *testing.T) {
	for _, network := range []string{"unix", "unixpacket"} {
		t.Run(network, func(t *testing.T) {
			noLeaks(t)
			p, r := rawLink(t, linkConfig{Protocol: Bare, Network: network})
			pool := newPool(t, &PoolConfig{StallTimeout: time.Hour}) // the test looks
			if err := pool.Add(p); err != nil {
				t.Fatal(err)
			}
			for !p.out.blocked.Load() {
				dispatch(t, pool, []Desc{{FD: 0, Keep: true}})
			}
			dispatch(t, pool, []Desc{{FD: 0, Keep: true}})
			for n := range 2 * checksPerStall {
				if _, err := r.recv(); err != nil {
					t.Fatal(err)
				}
				if pool.checkStalled(); p.Err() != nil {
					t.Fatalf("after %d messages that it took: %v", n+1, p.Err())
				}
			}
			for range 2 * checksPerStall {
				pool.checkStalled()
			}
			if err := p.Err(); !errors.Is(err, ErrStalled) {
				t.Errorf("a worker that takes nothing any more: %v", err)
			}
		})
	}
}

// A worker that has taken a payload in part, and nothing more, keeps Shutdown from ending no longer than StallTimeout.
func TestAWorkerThatTakesHalfAPayloadHasStalled(t *testing.T) {
	noLeaks(t)
	const size = 64 << 10
	p, _ := rawLink(t, linkConfig{Protocol: Bare, Network: "unix", MaxPayload: size})
	pool := newPool(t, &PoolConfig{MaxPayload: size, StallTimeout: 20 * time.Millisecond})
	if err := pool.Add(p); err != nil {
		t.Fatal(err)
	}
	for !p.tail.waiting() {
		dispatch(t, pool, []Desc{{FD: 0, Keep: true, Payload: make([]byte, size)}})
	}
	soon(t, "Shutdown returns", func() { pool.Shutdown(t.Context()) })
	if err := p.Err(); !errors.Is(err, ErrStalled) {
		t.Errorf("the link ended with %v", err)
	}
}

func init() { roles["front with a stuck worker and a shortage"] = stuckInShortage }

// stuckInShortage is a front without privileges, one of whose two workers takes nothing: soon as many descriptors are on their way to it as there may
// be at all.
func stuckInShortage() {
	var s dialSpec
	childArg(&s)
	s.become()
	must(limitTo(0, 600)) // where nobody can look first, the other one wants room for 253
	type leave struct {
		link *Passer
		err  error
	}
	left := make(chan leave, 2)
	pool, err := NewPool(&PoolConfig{StallTimeout: 200 * time.Millisecond, OnLeave: func(p *Passer, err error, _ int) { left <- leave{p, err} }})
	must(err)
	link := func() (there, worker *Passer) {
		there, f, err := Pair(s.Link.config())
		must(err)
		c, err := fileConn(f)
		must(err)
		cfg := s.Link.config()
		cfg.Direction = RecvOnly
		worker, err = New(c, cfg)
		must(err)
		must(pool.Add(there))
		return there, worker
	}
	stuck, idle := link()
	_, healthy := link()
	go func() {
		for ds := make([]Desc, 100); ; {
			n, err := healthy.RecvBatch(ds)
			if err != nil {
				return
			}
			CloseFDs(fdsOf(ds[:n]))
		}
	}()
	ds := make([]Desc, 20)
	for i := range ds {
		ds[i] = Desc{FD: 0, Keep: true}
	}
	stop := make(chan struct{})
	var dispatcher sync.WaitGroup
	dispatcher.Go(func() {
		for {
			select {
			case <-stop:
				return
			default:
				pool.SetDeadline(time.Now().Add(10 * time.Millisecond))
				pool.Dispatch(ds)
			}
		}
	})
	l := <-left
	require(l.link == stuck && errors.Is(l.err, ErrStalled), "left: the stuck one %t, %v", l.link == stuck, l.err)
	close(stop)
	dispatcher.Wait() // ds is its own until then
	idle.Close()      // as who starts another worker ends that one: what is on its way to it is so until then
	before := healthy.Stats().Received
	for healthy.Stats().Received < before+1000 {
		pool.SetDeadline(time.Now().Add(10 * time.Millisecond))
		pool.Dispatch(ds)
	}
	require(len(left) == 0, "the healthy one left, too")
}

// Who is short of descriptors on their way is so for what one worker has not taken. The shortage excuses the others, and not that one.
func TestAWorkerThatCausesAShortageHasStalled(t *testing.T) {
	needRoot(t)
	for _, l := range []linkConfig{{Protocol: Bare, Network: "unixpacket", Direction: SendOnly}, {Protocol: Framed, Network: "unixpacket", Direction: SendOnly}} {
		t.Run(l.String(), func(t *testing.T) {
			startChild(t, "front with a stuck worker and a shortage", nil, dialSpec{Link: l, User: 54_322}).succeed()
		})
	}
}
