package ring

import (
	"fmt"
	"runtime"
	"sync"
	"testing"
)

// Every benchmark moves b.N values between goroutines through a queue of 1,024; an operation is one value, and batch
// says how many go in a call. Both sides yield (runtime.Gosched) when there is nothing to do; a channel parks by
// itself.
const benchCapacity = 1024

var benchBatches = []int{1, 8, 64, 256}

func BenchmarkSPSC(b *testing.B) {
	benchQueue(b, func() queue[uint64] { return NewSPSC[uint64](benchCapacity) })
}

func BenchmarkMPSC(b *testing.B) {
	benchQueue(b, func() queue[uint64] { return NewMPSC[uint64](benchCapacity) })
}

func BenchmarkMPMC(b *testing.B) {
	benchQueue(b, func() queue[uint64] { return NewMPMC[uint64](benchCapacity) })
}

func BenchmarkMutex(b *testing.B) {
	benchQueue(b, func() queue[uint64] { return newMutexQueue(benchCapacity) })
}

// The Window is filled and read in place, as a sender does: nothing is copied out.
func BenchmarkWindow(b *testing.B) {
	for _, batch := range benchBatches {
		b.Run(fmt.Sprintf("batch=%d", batch), func(b *testing.B) {
			w := NewWindow[uint64](benchCapacity)
			transfer(b, 1, func(n int) { fillWindow(w, n, batch) }, func(n int) { drainWindow(w, n, batch) })
		})
	}
}

func BenchmarkChannel(b *testing.B) {
	b.Run("batch=1", func(b *testing.B) { benchChannel(b, 1) })
}

// BenchmarkAlone has one goroutine fill the queue and drain it: what the calls cost when no cache line travels and
// nobody waits, which other work on the machine does not blur.
func BenchmarkAlone(b *testing.B) {
	for _, batch := range benchBatches {
		for _, k := range kinds[uint64]() {
			b.Run(fmt.Sprintf("queue=%s/batch=%d", k.name, batch), func(b *testing.B) {
				q := k.make(benchCapacity)
				b.ReportAllocs()
				for n := b.N; n > 0; n -= benchCapacity {
					pushAll(q, min(n, benchCapacity), batch)
					popAll(q, min(n, benchCapacity), batch)
				}
			})
		}
	}
}

// BenchmarkContended has four producers on however few cores there are.
func BenchmarkContended(b *testing.B) {
	for _, batch := range []int{1, 64} {
		for _, k := range kinds[uint64]()[1:] {
			b.Run(fmt.Sprintf("queue=%s/batch=%d", k.name, batch), func(b *testing.B) {
				q := k.make(benchCapacity)
				transfer(b, 4, func(n int) { pushAll(q, n, batch) }, func(n int) { popAll(q, n, batch) })
			})
		}
		b.Run(fmt.Sprintf("queue=Mutex/batch=%d", batch), func(b *testing.B) {
			q := newMutexQueue(benchCapacity)
			transfer(b, 4, func(n int) { pushAll(q, n, batch) }, func(n int) { popAll(q, n, batch) })
		})
	}
	b.Run("queue=Channel/batch=1", func(b *testing.B) { benchChannel(b, 4) })
}

// BenchmarkPingPong sends one value there and back between two parked goroutines, the case that batches cannot help.
func BenchmarkPingPong(b *testing.B) {
	b.Run("queue=SPSC+Event", func(b *testing.B) {
		there, back := NewSPSC[int](1), NewSPSC[int](1)
		var thereEvent, backEvent Event
		go func() {
			for range b.N {
				var v int
				thereEvent.Wait(func() (ok bool) { v, ok = there.Pop(); return ok })
				back.Push(v)
				backEvent.Notify()
			}
		}()
		for i := range b.N {
			there.Push(i)
			thereEvent.Notify()
			backEvent.Wait(func() bool { _, ok := back.Pop(); return ok })
		}
	})
	b.Run("queue=Channel", func(b *testing.B) {
		there, back := make(chan int, 1), make(chan int, 1)
		go func() {
			for range b.N {
				back <- <-there
			}
		}()
		for i := range b.N {
			there <- i
			<-back
		}
	})
}

func BenchmarkEventNotifyWithoutWaiter(b *testing.B) {
	var e Event
	for b.Loop() {
		e.Notify()
	}
}

func benchQueue(b *testing.B, make func() queue[uint64]) {
	for _, batch := range benchBatches {
		b.Run(fmt.Sprintf("batch=%d", batch), func(b *testing.B) {
			q := make()
			transfer(b, 1, func(n int) { pushAll(q, n, batch) }, func(n int) { popAll(q, n, batch) })
		})
	}
}

func benchChannel(b *testing.B, producers int) {
	c := make(chan uint64, benchCapacity)
	transfer(b, producers,
		func(n int) {
			for i := range n {
				c <- uint64(i)
			}
		},
		func(n int) {
			for range n {
				<-c
			}
		})
}

// transfer runs the producers, which move b.N values together, beside the consumer, on this goroutine, that takes them.
func transfer(b *testing.B, producers int, produce, consume func(n int)) {
	b.ReportAllocs()
	b.ResetTimer()
	for p := range producers {
		go produce((b.N + p) / producers)
	}
	consume(b.N)
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N), "ns/item")
}

func pushAll(q queue[uint64], n, batch int) {
	vs := make([]uint64, batch)
	for n > 0 {
		got := 0
		if batch > 1 {
			got = q.PushBatch(vs[:min(n, batch)])
		} else if q.Push(uint64(n)) {
			got = 1
		}
		if got == 0 {
			runtime.Gosched()
		}
		n -= got
	}
}

func popAll(q queue[uint64], n, batch int) {
	dst := make([]uint64, batch)
	for n > 0 {
		got := 0
		if batch > 1 {
			got = q.PopBatch(dst)
		} else if _, ok := q.Pop(); ok {
			got = 1
		}
		if got == 0 {
			runtime.Gosched()
		}
		n -= got
	}
}

func fillWindow(w *Window[uint64], n, batch int) {
	for n > 0 {
		pos, got := w.Claim(min(n, batch))
		if got == 0 {
			runtime.Gosched()
			continue
		}
		for i := 0; i < got; {
			s := w.Slots(pos+uint64(i), got-i)
			for j := range s {
				s[j] = pos
			}
			i += len(s)
		}
		w.Publish(pos, got)
		n -= got
	}
}

func drainWindow(w *Window[uint64], n, batch int) {
	var pos, end, sum uint64
	for pos < uint64(n) {
		if end = w.Published(end); end == pos {
			runtime.Gosched()
			continue
		}
		for pos != end {
			s := w.Slots(pos, min(batch, int(end-pos)))
			for _, v := range s {
				sum += v
			}
			pos += uint64(len(s))
			w.Release(pos)
		}
	}
	runtime.KeepAlive(sum)
}

// mutexQueue is the queue that one would write first.
type mutexQueue struct {
	mu         sync.Mutex
	slots      []uint64
	head, tail int
}

func newMutexQueue(capacity int) *mutexQueue { return &mutexQueue{slots: make([]uint64, capacity)} }

func (q *mutexQueue) Push(v uint64) bool { return q.PushBatch([]uint64{v}) == 1 }

func (q *mutexQueue) PushBatch(vs []uint64) int {
	q.mu.Lock()
	defer q.mu.Unlock()
	n := min(len(vs), len(q.slots)-q.tail+q.head)
	i := q.tail % len(q.slots)
	k := copy(q.slots[i:], vs[:n])
	copy(q.slots, vs[k:n])
	q.tail += n
	return n
}

func (q *mutexQueue) Pop() (uint64, bool) {
	var dst [1]uint64
	n := q.PopBatch(dst[:])
	return dst[0], n == 1
}

func (q *mutexQueue) PopBatch(dst []uint64) int {
	q.mu.Lock()
	defer q.mu.Unlock()
	n := min(len(dst), q.tail-q.head)
	i := q.head % len(q.slots)
	k := copy(dst[:n], q.slots[i:])
	copy(dst[k:n], q.slots)
	q.head += n
	return n
}

func (q *mutexQueue) Len() int { q.mu.Lock(); defer q.mu.Unlock(); return q.tail - q.head }
func (q *mutexQueue) Cap() int { return len(q.slots) }
