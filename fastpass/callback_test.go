//go:build linux

package fastpass

import (
	"errors"
	"fmt"
	"math"
	"sync/atomic"
	"testing"
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

// While one flusher is held up, others may call flush as often as they like.
func TestTheCountOfFlushesDoesNotComeRound(t *testing.T) {
	p, q := link(t, nil, nil)
	until(t, "HELLO", p.out.established.Load)
	p.out.work.Add(1) // this one is at it
	for range 2 {
		p.out.work.Add(math.MaxInt32)
	}
	p.Flush() // the 2^32nd
	if err := p.TrySend(Desc{FD: 0, Keep: true}); err != nil {
		t.Fatal(err)
	}
	if n := p.Stats().Sent; n > 0 {
		t.Error("a second flusher is at work")
	}
	p.out.leave()
	takeOne(t, q)
}
