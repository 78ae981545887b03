//go:build linux

package fastpass

import (
	"context"
	"sync"
	"testing"
	"time"
)

// Push on the link of a worker queues when Shutdown of the pool has flushed: nobody else would send that.
func TestShutdownOfAPoolBesidePushEnds(t *testing.T) {
	for i := range 300 {
		pool := newPool(t, nil)
		w, there := newWorker(t, pool, nil)
		go func() {
			for {
				d, err := w.Recv()
				if err != nil {
					return
				}
				CloseFDs([]int{d.FD})
			}
		}()
		var pusher sync.WaitGroup
		pusher.Go(func() {
			time.Sleep(time.Duration(i%50) * time.Microsecond)
			there.Push(Desc{FD: 0, Keep: true})
		})
		ctx, cancel := context.WithTimeout(t.Context(), 3*time.Second)
		if err := pool.Shutdown(ctx); err != nil {
			t.Fatalf("round %d: %v", i, err)
		}
		cancel()
		pusher.Wait()
	}
}
