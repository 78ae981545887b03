//go:build linux

package fastpass

import (
	"context"
	"errors"
	"testing"
	"time"
)

// Push has looked whether the link is being shut down, and queues when Shutdown has flushed: nobody else would send that.
func TestShutdownBesidePushEnds(t *testing.T) {
	for i := range 500 {
		p, q := pairOf(t, nil, nil)
		until(t, "HELLO", p.out.established.Load)
		go func() {
			for {
				d, err := q.Recv()
				if err != nil {
					return
				}
				CloseFDs([]int{d.FD})
			}
		}()
		go func() {
			for p.Push(Desc{FD: 0, Keep: true}) == nil {
			}
		}()
		ctx, cancel := context.WithTimeout(context.Background(), 3*time.Second)
		err := p.Shutdown(ctx)
		if errors.Is(err, context.DeadlineExceeded) {
			t.Fatalf("round %d: %v", i, err)
		}
		cancel()
		q.Close()
		closeUndelivered(p)
	}
}
