//go:build linux

package fastpass

import (
	"context"
	"errors"
	"testing"
	"time"
)

// Shutdown's ctx ends it, whatever a worker has done to a connection that it has taken. What that one has not taken comes back later.
func TestCtxEndsShutdownOfAPoolThoughAConnectionLingers(t *testing.T) {
	pool := newPool(t, nil)
	_, there, relent := lingeringWorker(t, pool, nil)
	go there.Flush()
	until(t, "the copy is being closed", func() bool { return there.Stats().Delivered == 1 && there.out.releases.Load()%2 == 1 })
	dispatch(t, pool, []Desc{{FD: 0, Keep: true, Tag: 5}})
	ctx, cancel := context.WithTimeout(context.Background(), 50*time.Millisecond)
	defer cancel()
	soon(t, "Shutdown returns", func() {
		if err := pool.Shutdown(ctx); !errors.Is(err, context.DeadlineExceeded) {
			t.Error(err)
		}
	})
	if ds := pool.Undelivered(); len(ds) > 0 {
		t.Errorf("undelivered before the link has ended: %v", ds)
	}
	relent()
	var back []Desc
	until(t, "the rest is undelivered", func() bool { back = append(back, pool.Undelivered()...); return len(back) > 0 })
	if len(back) != 1 || back[0].Tag != 5 {
		t.Errorf("undelivered: %v", back)
	}
}
