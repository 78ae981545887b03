package ring

import (
	"fmt"
	"math/rand/v2"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"weak"
)

// queue is what SPSC, MPSC and MPMC have in common.
type queue[T any] interface {
	Push(v T) bool
	PushBatch(vs []T) int
	Pop() (T, bool)
	PopBatch(dst []T) int
	Len() int
	Cap() int
}

var (
	_ queue[int] = (*SPSC[int])(nil)
	_ queue[int] = (*MPSC[int])(nil)
	_ queue[int] = (*MPMC[int])(nil)
)

type kind[T any] struct {
	name                 string
	make                 func(capacity int) queue[T]
	producers, consumers int // as many as the stress test runs
}

func kinds[T any]() []kind[T] {
	return []kind[T]{
		{"SPSC", func(n int) queue[T] { return NewSPSC[T](n) }, 1, 1},
		{"MPSC", func(n int) queue[T] { return NewMPSC[T](n) }, 3, 1},
		{"MPMC", func(n int) queue[T] { return NewMPMC[T](n) }, 3, 3},
	}
}

// scaled shortens a loop under the race detector, which is some ten times slower.
func scaled(n int) int {
	if raceEnabled {
		return n / 10
	}
	return n
}

func seq(from, n int) []int {
	s := make([]int, n)
	for i := range s {
		s[i] = from + i
	}
	return s
}

func mustPanic(t *testing.T, want string, f func()) {
	t.Helper()
	defer func() {
		t.Helper()
		if got, _ := recover().(string); !strings.Contains(got, want) {
			t.Errorf("panic %q, want one with %q", got, want)
		}
	}()
	f()
}

func TestAConstructorPanicsOnACapacityThatIsNoPowerOfTwo(t *testing.T) {
	constructors := map[string]func(int){
		"NewSPSC":   func(n int) { NewSPSC[int](n) },
		"NewMPSC":   func(n int) { NewMPSC[int](n) },
		"NewMPMC":   func(n int) { NewMPMC[int](n) },
		"NewWindow": func(n int) { NewWindow[int](n) },
	}
	for name, construct := range constructors {
		for _, capacity := range []int{-8, -1, 0, 3, 6, 1000, 1023} {
			t.Run(fmt.Sprintf("%s/%d", name, capacity), func(t *testing.T) {
				mustPanic(t, fmt.Sprintf("ring: %s: capacity %d ", name, capacity), func() { construct(capacity) })
			})
		}
	}
}

func TestAQueueIsEmptyThenFullThenEmptyAgainInEveryLap(t *testing.T) {
	for _, k := range kinds[int]() {
		for _, capacity := range []int{1, 2, 8, 512, 1024} {
			t.Run(fmt.Sprintf("%s/capacity=%d", k.name, capacity), func(t *testing.T) {
				q := k.make(capacity)
				if q.Cap() != capacity {
					t.Fatalf("Cap = %d", q.Cap())
				}
				for lap := range 5 {
					if v, ok := q.Pop(); ok || q.Len() != 0 {
						t.Fatalf("lap %d: popped %d from an empty queue of length %d", lap, v, q.Len())
					}
					for i := range capacity {
						if !q.Push(lap*capacity + i) {
							t.Fatalf("lap %d: no room for value %d", lap, i)
						}
					}
					if q.Push(-1) || q.PushBatch([]int{-1}) != 0 || q.Len() != capacity {
						t.Fatalf("lap %d: a full queue of length %d took a value", lap, q.Len())
					}
					for i := range capacity {
						if v, ok := q.Pop(); !ok || v != lap*capacity+i {
							t.Fatalf("lap %d: Pop = %d, %v, want %d", lap, v, ok, lap*capacity+i)
						}
					}
				}
			})
		}
	}
}

func TestABatchLargerThanTheCapacityIsTakenAsFarAsItFits(t *testing.T) {
	for _, k := range kinds[int]() {
		for _, capacity := range []int{1, 4, 1024} {
			for _, queued := range []int{0, 1, capacity / 2, capacity} {
				t.Run(fmt.Sprintf("%s/capacity=%d/queued=%d", k.name, capacity, queued), func(t *testing.T) {
					q := k.make(capacity)
					q.PushBatch(seq(0, 1)) // off the start, so that the batch goes round the end
					q.Pop()
					if n := q.PushBatch(seq(0, queued)); n != queued {
						t.Fatalf("took %d of %d", n, queued)
					}
					if n := q.PushBatch(seq(queued, 3*capacity)); n != capacity-queued {
						t.Fatalf("took %d, want %d", n, capacity-queued)
					}
					dst := make([]int, 3*capacity)
					if n := q.PopBatch(dst); n != capacity || !slices.Equal(dst[:n], seq(0, capacity)) {
						t.Fatalf("popped %v", dst[:n])
					}
					if n := q.PopBatch(dst); n != 0 {
						t.Fatalf("popped %d from an empty queue", n)
					}
				})
			}
		}
	}
}

func TestAnEmptyBatchMovesNothing(t *testing.T) {
	for _, k := range kinds[int]() {
		t.Run(k.name, func(t *testing.T) {
			q := k.make(4)
			q.Push(7)
			if q.PushBatch(nil) != 0 || q.PopBatch(nil) != 0 || q.Len() != 1 {
				t.Fatalf("an empty batch changed the queue: length %d", q.Len())
			}
		})
	}
}

func TestAQueueBehavesLikeASliceUnderRandomCalls(t *testing.T) {
	for _, k := range kinds[int]() {
		for _, capacity := range []int{1, 2, 16, 1024} {
			t.Run(fmt.Sprintf("%s/capacity=%d", k.name, capacity), func(t *testing.T) {
				rng := rand.New(rand.NewPCG(1, uint64(capacity)))
				q, model, next := k.make(capacity), []int(nil), 0
				for step := range scaled(50_000) {
					n := rng.IntN(capacity + 3)
					switch rng.IntN(4) {
					case 0:
						if ok := q.Push(next); ok != (len(model) < capacity) {
							t.Fatalf("step %d: Push = %v with %d queued", step, ok, len(model))
						} else if ok {
							model, next = append(model, next), next+1
						}
					case 1:
						got := q.PushBatch(seq(next, n))
						if got != min(n, capacity-len(model)) {
							t.Fatalf("step %d: PushBatch of %d = %d with %d queued", step, n, got, len(model))
						}
						model, next = append(model, seq(next, got)...), next+got
					case 2:
						v, ok := q.Pop()
						if ok != (len(model) > 0) || ok && v != model[0] {
							t.Fatalf("step %d: Pop = %d, %v", step, v, ok)
						}
						model = model[min(1, len(model)):]
					case 3:
						dst := make([]int, n)
						got := q.PopBatch(dst)
						if got != min(n, len(model)) || !slices.Equal(dst[:got], model[:got]) {
							t.Fatalf("step %d: PopBatch of %d = %v", step, n, dst[:got])
						}
						model = model[got:]
					}
					if q.Len() != len(model) {
						t.Fatalf("step %d: Len = %d, want %d", step, q.Len(), len(model))
					}
				}
			})
		}
	}
}

func TestNothingIsLostOrDoubledAndEachProducersOrderIsKept(t *testing.T) {
	for _, k := range kinds[uint64]() {
		for _, capacity := range []int{1, 8, 1024} {
			for _, batch := range []int{1, 7, 64} {
				t.Run(fmt.Sprintf("%s/capacity=%d/batch=%d", k.name, capacity, batch), func(t *testing.T) {
					stress(t, k, capacity, batch, scaled(10_000)*min(batch, capacity, 4))
				})
			}
		}
	}
}

// stress runs the kind's producers and consumers at once. A value is the producer's number in the high half and its
// count in the low. Each consumer must see each producer's values rising, and all together must see each once.
func stress(t *testing.T, k kind[uint64], capacity, batch, perProducer int) {
	q := k.make(capacity)
	var wg sync.WaitGroup
	for p := range k.producers {
		wg.Go(func() { produce(q, uint64(p)<<32, perProducer, batch) })
	}
	var left atomic.Int64
	left.Store(int64(k.producers * perProducer))
	seen := make([][]uint64, k.consumers)
	for c := range seen {
		wg.Go(func() { seen[c] = consume(q, &left, batch) })
	}
	wg.Wait()

	var all []uint64
	for c, vs := range seen {
		last := make(map[uint64]uint64)
		for _, v := range vs {
			if prev, ok := last[v>>32]; ok && v <= prev {
				t.Fatalf("consumer %d saw %#x after %#x", c, v, prev)
			}
			last[v>>32] = v
		}
		all = append(all, vs...)
	}
	slices.Sort(all)
	for i, v := range all {
		if want := uint64(i/perProducer)<<32 | uint64(i%perProducer); v != want {
			t.Fatalf("value %d is %#x, want %#x", i, v, want)
		}
	}
	if len(all) != k.producers*perProducer || q.Len() != 0 {
		t.Fatalf("%d values, %d left", len(all), q.Len())
	}
}

func produce(q queue[uint64], v uint64, n, batch int) {
	vs := make([]uint64, batch)
	for end := v + uint64(n); v < end; {
		vs = vs[:min(batch, int(end-v))]
		for i := range vs {
			vs[i] = v + uint64(i)
		}
		got := 0
		if batch > 1 {
			got = q.PushBatch(vs)
		} else if q.Push(v) {
			got = 1
		}
		if got == 0 {
			runtime.Gosched()
		}
		v += uint64(got)
	}
}

func consume(q queue[uint64], left *atomic.Int64, batch int) (seen []uint64) {
	dst := make([]uint64, batch)
	for left.Load() > 0 {
		got := 0
		if batch > 1 {
			got = q.PopBatch(dst)
		} else if v, ok := q.Pop(); ok {
			dst[0], got = v, 1
		}
		if got == 0 {
			runtime.Gosched()
		}
		left.Add(int64(-got))
		seen = append(seen, dst[:got]...)
	}
	return seen
}

func TestThePoppedIsNotKeptFromTheGarbageCollector(t *testing.T) {
	type big struct{ _ [64]*int }
	for _, k := range kinds[*big]() {
		t.Run(k.name, func(t *testing.T) {
			q := k.make(8)
			var refs []weak.Pointer[big]
			fill := func() {
				p := new(big)
				refs = append(refs, weak.Make(p))
				q.Push(p)
			}
			for range 5 { // off the start, so that the batch below goes round the end
				fill()
				q.Pop()
			}
			for range 8 {
				fill()
			}
			var popped sync.WaitGroup
			popped.Go(func() { // on a stack that is gone afterwards, and whatever a dead slot of it held with it
				q.Pop()
				if n := q.PopBatch(make([]*big, 6)); n != 6 {
					t.Errorf("popped %d", n)
				}
			})
			popped.Wait()
			reachable := func(ref weak.Pointer[big]) bool { return ref.Value() != nil }
			// What the queue keeps, it keeps for good: a later collection than the first may have its word.
			for n := 0; n < 10 && slices.ContainsFunc(refs[:len(refs)-1], reachable); n++ {
				runtime.GC()
			}
			for i, ref := range refs[:len(refs)-1] {
				if reachable(ref) {
					t.Errorf("value %d is still reachable", i)
				}
			}
			if refs[len(refs)-1].Value() == nil {
				t.Error("a queued value was collected")
			}
			runtime.KeepAlive(q)
		})
	}
}

func TestPushAndPopDoNotAllocate(t *testing.T) {
	for _, k := range kinds[[4]int]() {
		t.Run(k.name, func(t *testing.T) {
			q := k.make(64)
			vs := make([][4]int, 48)
			q.Push(vs[0]) // the first segment is made
			if n := testing.AllocsPerRun(1000, func() {
				q.Push(vs[0])
				q.PushBatch(vs)
				q.Pop()
				q.PopBatch(vs)
			}); n != 0 {
				t.Errorf("%v allocations per run", n)
			}
		})
	}
}
