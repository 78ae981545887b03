package ring_test

import (
	"fmt"
	"sync"
	"sync/atomic"

	"example.com/fdpass/ring"
)

func ExampleSPSC() {
	q := ring.NewSPSC[string](4)
	q.Push("a")
	fmt.Println("taken:", q.PushBatch([]string{"b", "c", "d", "no room"}))

	dst := make([]string, 8)
	fmt.Println(dst[:q.PopBatch(dst)])
	// Output:
	// taken: 3
	// [a b c d]
}

// Four producers, and a consumer that parks while there is nothing to do.
func ExampleMPSC() {
	q := ring.NewMPSC[int](64)
	var notEmpty ring.Event
	for p := range 4 {
		go func() {
			for i := range 10 {
				q.Push(p*10 + i) // at most 40 of 64: there is room
				notEmpty.Notify()
			}
		}()
	}
	sum, dst := 0, make([]int, 16)
	for left := 40; left > 0; {
		notEmpty.Wait(func() bool { return q.Len() > 0 })
		n := q.PopBatch(dst)
		for _, v := range dst[:n] {
			sum += v
		}
		left -= n
	}
	fmt.Println(sum)
	// Output: 780
}

func ExampleMPMC() {
	jobs := ring.NewMPMC[int](16)
	for i := range 16 {
		jobs.Push(i)
	}
	var sum atomic.Int64
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			for job, ok := jobs.Pop(); ok; job, ok = jobs.Pop() {
				sum.Add(int64(job))
			}
		})
	}
	wg.Wait()
	fmt.Println(sum.Load())
	// Output: 120
}

// A sender sends what is published, sends it again when the receiver asks, and releases what is acknowledged.
func ExampleWindow() {
	w := ring.NewWindow[string](8)
	push := func(vs ...string) {
		pos, got := w.Claim(len(vs))
		for n := 0; n < got; {
			n += copy(w.Slots(pos+uint64(n), got-n), vs[n:got])
		}
		w.Publish(pos, got)
	}
	send := func(from, end uint64) uint64 {
		for from != end {
			s := w.Slots(from, int(end-from))
			fmt.Println("send", s)
			from += uint64(len(s))
		}
		return end
	}

	push("a", "b")
	push("c")
	published := w.Published(0)
	sent := send(0, published)

	w.Release(1)                     // "a" is acknowledged,
	sent = send(w.Head(), published) // the rest is wanted again

	push("d")
	published = w.Published(published)
	sent = send(sent, published)
	w.Release(sent)
	fmt.Println("in flight:", w.Len())
	// Output:
	// send [a b c]
	// send [b c]
	// send [d]
	// in flight: 0
}

// A producer that parks while the queue is full, and a consumer that parks while it is empty, until it is closed.
func ExampleEvent() {
	q := ring.NewSPSC[int](2)
	var notFull, notEmpty ring.Event
	var closed atomic.Bool
	go func() {
		for i := range 5 {
			notFull.Wait(func() bool { return q.Push(i) })
			notEmpty.Notify()
		}
		closed.Store(true)
		notEmpty.Notify()
	}()
	for {
		var v int
		var ok bool
		notEmpty.Wait(func() bool {
			end := closed.Load() // before Pop: what was pushed before the close is popped
			v, ok = q.Pop()
			return ok || end
		})
		if !ok {
			return
		}
		notFull.Notify()
		fmt.Println(v)
	}
	// Output:
	// 0
	// 1
	// 2
	// 3
	// 4
}
