package fastpass

import (
	"context"
	"errors"
	"sync"
	"testing"
	"time"
)

// Push has looked whether the link is being shut down, and queues when Shutdown has flushed: nobody else would send
// that.
func TestShutdownBesidePushEnds(t *testing.T) {
	for i := range scaled(200) {
		p, q := pairOf(t, nil, nil)
		until(t, "HELLO", p.out.established.Load)
		go closeAll(q)
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

// Push on the link of a worker queues when Shutdown of the pool has flushed: nobody else would send that.
func TestShutdownOfAPoolBesidePushEnds(t *testing.T) {
	for i := range scaled(150) {
		pool := newPool(t, nil)
		w, there := newWorker(t, pool, nil)
		go closeAll(w)
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

// Shutdown's ctx ends it, whatever a worker has done to a connection that it has taken. What that one has not taken
// comes back later.
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

// Push sends nothing, so OnSent may take a lock that the caller of Push holds, also beside Shutdown.
func TestPushBesideShutdownRunsNoCallback(t *testing.T) {
	for _, l := range everyLink {
		t.Run(l.String(), func(t *testing.T) {
			for i := range scaled(60) {
				var mu sync.Mutex
				cfg := l.config()
				cfg.OnSent = func(Desc) { mu.Lock(); defer mu.Unlock() }
				p, q := link(t, cfg, l.config())
				until(t, "HELLO", p.out.established.Load)
				go closeAll(q)
				var err error
				over := make(chan struct{})
				go func() {
					defer close(over)
					for err == nil || errors.Is(err, ErrFull) {
						mu.Lock()
						err = p.Push(Desc{FD: 0, Keep: true})
						mu.Unlock()
					}
				}()
				time.Sleep(time.Duration(i%20) * time.Microsecond)
				ctx, cancel := context.WithTimeout(context.Background(), 3*time.Second)
				go p.Shutdown(ctx)
				select {
				case <-over:
				case <-time.After(6 * time.Second):
					t.Fatalf("round %d: Push has run OnSent, and does not return", i)
				}
				wait(t, "Shutdown", p.Done())
				cancel()
				q.Close()
				closeUndelivered(p)
			}
		})
	}
}
