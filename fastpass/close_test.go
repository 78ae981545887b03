//go:build unix

package fastpass

import (
	"context"
	"errors"
	"net"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
)

// Found by the demo: a receiver that closes while it receives must not acknowledge after its BYE, and the sender must
// read its last acknowledgement before it takes back the rest.
func TestCloseBesideRecvLeavesEachDescriptorOneOwner(t *testing.T) {
	const each = 400
	fd := null(t)
	defer CloseFDs([]int{fd})
	for round := range scaled(3000) {
		p, q := pairOf(t, &Config{Direction: SendOnly}, &Config{Direction: RecvOnly})
		owner := make([]string, each)
		own := func(d Desc, who string) {
			if owner[d.Tag] != "" {
				t.Fatalf("round %d: descriptor %d is %s and %s", round, d.Tag, owner[d.Tag], who)
			}
			owner[d.Tag] = who
		}
		first, sent := make(chan struct{}), 0
		var wg sync.WaitGroup
		wg.Go(func() {
			ds := make([]Desc, 4)
			for signal := first; ; {
				n, err := q.RecvBatch(ds)
				for _, d := range ds[:n] {
					own(d, "received")
					CloseFDs([]int{d.FD})
				}
				if signal != nil && n > 0 {
					close(signal)
					signal = nil
				}
				if err != nil {
					return
				}
			}
		})
		wg.Go(func() {
			for sent < each && p.TrySend(Desc{FD: fd, Tag: uint64(sent), Keep: true}) == nil {
				sent++
			}
		})
		<-first
		q.Close()
		wg.Wait()
		<-p.Done()
		for _, d := range p.Undelivered() {
			own(d, "given back")
		}
		for tag, who := range owner[:sent] {
			if who == "" {
				t.Fatalf("round %d: descriptor %d of %d has no owner", round, tag, sent)
			}
		}
		p.Close()
	}
}

// Whoever is sending when the link is closed knows of each descriptor whose it is.
func TestCloseBesideSendAndFlushLeavesEachDescriptorOneOwner(t *testing.T) {
	fd := null(t)
	defer CloseFDs([]int{fd})
	for _, l := range framedLinks {
		l.Window = 64
		t.Run(l.String(), func(t *testing.T) {
			noLeaks(t)
			for round := range scaled(40) + 5 {
				p, q := pairOf(t, l.config(), l.config())
				const each = 100
				ways := []func(ds []Desc) (int, error){
					p.SendBatch,
					func(ds []Desc) (int, error) { return 1, p.Send(ds[0]) },
					func(ds []Desc) (int, error) { return 1, p.TrySend(ds[0]) },
					func(ds []Desc) (int, error) { return 1, p.Push(ds[0]) },
				}
				owners := make([]atomic.Int32, len(ways)*each)
				var wg sync.WaitGroup
				begun := make(chan struct{})
				for way, send := range ways {
					wg.Go(func() {
						for i := 0; i < each; {
							ds := make([]Desc, min(3, each-i))
							for k := range ds {
								ds[k] = Desc{FD: fd, Tag: uint64(way*each + i + k), Keep: true}
							}
							n, err := send(ds)
							if errors.Is(err, net.ErrClosed) {
								if way > 0 {
									n = 0
								}
								for k := i + n; k < each; k++ {
									owners[way*each+k].Add(1) // still the caller's
								}
								return
							} else if errors.Is(err, ErrFull) {
								runtime.Gosched()
								continue
							} else if err != nil {
								t.Errorf("%v, want net.ErrClosed", err)
							}
							i += n
						}
					})
				}
				wg.Go(func() {
					for p.Flush() == nil {
						runtime.Gosched()
					}
					if err := p.Flush(); !errors.Is(err, net.ErrClosed) {
						t.Errorf("Flush: %v, want net.ErrClosed", err)
					}
				})
				wg.Go(func() {
					ds := make([]Desc, 7)
					for k := 0; ; k++ {
						n, err := q.RecvBatch(ds)
						for _, d := range ds[:n] {
							owners[d.Tag].Add(1)
							CloseFDs([]int{d.FD})
						}
						if k == 0 {
							close(begun)
						}
						if err != nil {
							return
						}
					}
				})
				soon(t, "all calls return", func() {
					<-begun
					for range round % 100 {
						runtime.Gosched()
					}
					if err := p.Close(); err != nil {
						t.Error(err)
					}
					wg.Wait()
				})
				for _, d := range p.Undelivered() {
					owners[d.Tag].Add(1)
				}
				q.Close()
				for tag := range owners {
					if n := owners[tag].Load(); n != 1 {
						t.Fatalf("round %d: descriptor %d has %d owners", round, tag, n)
					}
				}
			}
		})
	}
}

func TestShutdownOfAPoolEndsDispatch(t *testing.T) {
	noLeaks(t)
	pool := newPool(t, &PoolConfig{Backlog: 4})
	dispatch(t, pool, taggedPipes(t, 0, 4))
	var wg sync.WaitGroup
	for i := range 3 {
		wg.Go(func() {
			ds := taggedPipes(t, 10*i, 2)
			n, err := pool.Dispatch(ds)
			if be := (*BatchError)(nil); n != 0 || !errors.Is(err, net.ErrClosed) || !errors.As(err, &be) || be.Taken != 0 {
				t.Errorf("%d taken, %v, want net.ErrClosed", n, err)
			}
			CloseFDs(fdsOf(ds[n:]))
		})
	}
	runtime.Gosched()
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	soon(t, "all calls return", func() {
		if err := pool.Shutdown(ctx); !errors.Is(err, context.Canceled) {
			t.Errorf("Shutdown: %v, want context.Canceled", err)
		}
		wg.Wait()
	})
	ds := pool.Undelivered()
	if len(ds) != 4 {
		t.Errorf("%d come back, want 4", len(ds))
	}
	CloseFDs(fdsOf(ds))
}
