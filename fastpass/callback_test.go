//go:build linux

package fastpass

import (
	"errors"
	"fmt"
	"math"
	"sync/atomic"
	"testing"

	"example.com/fdpass/internal/wire"

	"golang.org/x/sys/unix"
)

func TestOnSentFindsRoomForTheNext(t *testing.T) {
	for _, protocol := range []Protocol{Framed, Bare} {
		t.Run(fmt.Sprint(protocol), func(t *testing.T) {
			const total = 12
			var p *Passer
			var next atomic.Int32
			cfg := &Config{Protocol: protocol, Direction: SendOnly, Window: 4, MaxPayload: 16}
			try := func() error {
				n := next.Load()
				if n == total {
					return ErrFull
				}
				err := p.TrySend(Desc{FD: 0, Keep: true, Tag: uint64(n), Payload: []byte{'a' + byte(n)}})
				if err == nil {
					next.Add(1)
				}
				return err
			}
			cfg.OnSent = func(Desc) {
				if err := try(); err != nil && !(errors.Is(err, ErrFull) && next.Load() == total) {
					t.Errorf("after %d: %v", next.Load(), err)
				}
			}
			var q *Passer
			p, q = link(t, cfg, &Config{Protocol: protocol, Direction: RecvOnly, MaxPayload: 16})
			if protocol == Bare {
				p.out.blocked.Store(true) // as if the socket were full for now
			}
			for try() == nil {
			}
			if protocol == Bare {
				p.out.unblock()
			}
			ds, err := recvN(q, total, 1)
			if err != nil {
				t.Errorf("after %d of %d: %v", len(ds), total, err)
			}
			CloseFDs(fdsOf(ds))
		})
	}
}

func TestShutdownDoesNotWaitForCreditForWhatIsRefused(t *testing.T) {
	p, r := rawLink(t, linkConfig{Network: "unix", Direction: SendOnly})
	r.send(helloFrame(nil, func(h *wire.Hello) { h.Credit = 1 }), 0)
	until(t, "HELLO", p.out.established.Load)
	if n, _ := p.SendBatch([]Desc{{FD: 0, Keep: true}, {FD: -1}}); n != 2 {
		t.Fatal(n)
	}
	r.send(ackFrame(1, 0), 0) // taken; and there is no room for more
	soon(t, "Shutdown returns", func() {
		if err := p.Shutdown(t.Context()); err != nil {
			t.Error(err)
		}
	})
	if ds := p.Undelivered(); len(ds) > 0 {
		t.Errorf("undelivered: %v", ds)
	}
}

func TestAFramedPeerThatShutsDownItsReadingEndsTheLink(t *testing.T) {
	for _, network := range []string{"unixpacket", "unix"} {
		t.Run(network, func(t *testing.T) {
			p, r := rawLink(t, linkConfig{Network: network, Direction: SendOnly})
			r.hello()
			until(t, "HELLO", p.out.established.Load)
			unix.Shutdown(r.fd, unix.SHUT_RD)
			if err := p.Send(Desc{FD: 0, Keep: true}); err != nil {
				t.Fatal(err)
			}
			wait(t, "the link ends", p.Done())
			if err := p.Err(); !errors.Is(err, ErrPeerGone) {
				t.Error(err)
			}
			if ds := p.Undelivered(); len(ds) != 1 {
				t.Errorf("undelivered: %v", ds)
			}
		})
	}
}

// The peer acknowledges, and is gone, before the flusher has read that.
func TestShutdownOfWhatIsDeliveredIsNoFailureThoughThePeerIsGone(t *testing.T) {
	p, q := link(t, nil, nil)
	until(t, "HELLO", p.out.established.Load)
	if err := p.Send(Desc{FD: 0, Keep: true}); err != nil {
		t.Fatal(err)
	}
	p.out.work.Add(1) // this one has the flusher's role
	d, err := q.Recv()
	if err != nil {
		t.Fatal(err)
	}
	CloseFDs([]int{d.FD})
	q.Close()
	until(t, "the end is seen", func() bool { return p.ending.Load() != nil })
	shut := make(chan error, 1)
	go func() { shut <- p.Shutdown(t.Context()) }()
	until(t, "Shutdown is at work", p.closed.Load)
	p.out.leave()
	if err := <-shut; err != nil {
		t.Error(err)
	}
	if ds := p.Undelivered(); len(ds) > 0 {
		t.Errorf("undelivered: %v", ds)
	}
}

// While one flusher is held up, others may call flush as often as they like.
func TestTheCountOfFlushesDoesNotComeRound(t *testing.T) {
	p, q := link(t, nil, nil)
	until(t, "HELLO", p.out.established.Load)
	p.out.work.Add(1) // this one is at it
	for range 2 {
		p.out.work.Add(math.MaxInt32)
	}
	p.out.work.Add(2)
	p.Flush()
	if err := p.TrySend(Desc{FD: 0, Keep: true}); err != nil {
		t.Fatal(err)
	}
	if n := p.Stats().Sent; n > 0 {
		t.Error("a second flusher is at work")
	}
	p.out.leave()
	d, err := q.Recv()
	if err != nil {
		t.Fatal(err)
	}
	CloseFDs([]int{d.FD})
}

func TestThePoolCountsWhatTheKernelRefuses(t *testing.T) {
	pool := newPool(t, nil)
	w, _ := newWorker(t, pool, nil)
	dispatch(t, pool, []Desc{{FD: 1<<20 + 1}, {FD: 0, Keep: true}})
	until(t, "it is refused", func() bool { return pool.Stats().Refused == 1 })
	d, err := w.Recv()
	if err != nil {
		t.Fatal(err)
	}
	CloseFDs([]int{d.FD})
	w.Close()
	until(t, "the worker has left", func() bool { return pool.Stats().Workers == 0 })
	if n := pool.Stats().Refused; n != 1 {
		t.Errorf("%d are refused", n)
	}
}
