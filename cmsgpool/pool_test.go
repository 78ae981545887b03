package cmsgpool

import (
	"math/bits"
	"runtime"
	"sync"
	"testing"
)

// kept counts the buffers in p and checks that every slot is either full or empty.
func kept(t *testing.T, p *Pool, max int) int {
	t.Helper()
	n, slots := 0, 0
	for i := range p.groups {
		g := &p.groups[i]
		full, empty := g.full.Load(), g.empty.Load()
		if full&empty != 0 {
			t.Fatalf("group %d: slots both full and empty: %x", i, full&empty)
		}
		for s, b := range g.slots {
			if (b != nil) != (full>>s&1 == 1) {
				t.Fatalf("group %d slot %d: buffer %p, full bit %d", i, s, b, full>>s&1)
			}
		}
		n += bits.OnesCount64(full)
		slots += bits.OnesCount64(full | empty)
	}
	if slots != max {
		t.Fatalf("%d slots, want %d", slots, max)
	}
	return n
}

func TestPoolKeepsAtMostItsBound(t *testing.T) {
	for _, max := range []int{0, 1, 2, 63, 64, 65, 128, 200} {
		p := New(max)
		var out []*Buffer
		seen := make(map[*Buffer]bool)
		for range max + 3 {
			b := p.Get()
			if b == nil || seen[b] {
				t.Fatalf("max %d: Get returned %p, which is out already or nil", max, b)
			}
			seen[b] = true
			out = append(out, b)
		}
		for _, b := range out {
			p.Put(b)
		}
		if got := kept(t, p, max); got != max {
			t.Errorf("keeps %d buffers, want %d", got, max)
		}
		runtime.GC()
		runtime.GC() // what a sync.Pool does not survive
		for range max {
			if b := p.Get(); !seen[b] {
				t.Errorf("max %d: Get made a new buffer while the pool had one", max)
			}
		}
		if got := kept(t, p, max); got != 0 {
			t.Errorf("keeps %d buffers after all were taken", got)
		}
	}
}

func TestPoolIsSafeWithNilAndNegative(t *testing.T) {
	var none *Pool
	b := none.Get()
	if b == nil {
		t.Fatal("Get of a nil pool returned nil")
	}
	none.Put(b)
	none.Put(nil)
	p := New(-1)
	p.Put(nil)
	p.Put(new(Buffer))
	if p.Get() == nil || kept(t, p, 0) != 0 {
		t.Error("New(-1) is not the pool that keeps nothing")
	}
	p = New(1)
	p.Put(nil)
	if kept(t, p, 1) != 0 {
		t.Error("Put(nil) put something")
	}
}

func TestPoolHandsABufferToOneGoroutineAtATime(t *testing.T) {
	const max, goroutines = 70, 8 // two groups, and fewer slots than buffers at times
	p := New(max)
	var wg sync.WaitGroup
	for id := range goroutines {
		wg.Go(func() {
			var held [12]*Buffer
			for range 5_000 {
				for i := range held {
					held[i] = p.Get()
					held[i].Rights(1)[0] = int32(100*id + i)
				}
				for i, b := range held {
					if got := AppendFDs(nil, b.Raw()[:Space(1)]); got[0] != 100*id+i {
						t.Errorf("goroutine %d: somebody wrote %v into its buffer", id, got)
						return
					}
					p.Put(b)
				}
			}
		})
	}
	wg.Wait()
	kept(t, p, max)
}
