package ring

import (
	"fmt"
	"math/rand/v2"
	"runtime"
	"slices"
	"sync"
	"testing"
	"weak"
)

// startAt moves an empty window's cursors, as if so many entries had gone through.
func startAt[T any](w *Window[T], pos uint64) {
	w.tail.Store(pos)
	w.head.Store(pos)
	w.limit.Store(pos + uint64(w.Cap()))
}

// write fills a claimed run with vs.
func write[T any](w *Window[T], pos uint64, vs []T) {
	for len(vs) > 0 {
		n := copy(w.Slots(pos, len(vs)), vs)
		pos, vs = pos+uint64(n), vs[n:]
	}
}

// read returns what stands in [pos, end).
func read[T any](w *Window[T], pos, end uint64) (vs []T) {
	for pos != end {
		s := w.Slots(pos, int(end-pos))
		vs = append(vs, s...)
		pos += uint64(len(s))
	}
	return vs
}

// push claims, writes and publishes vs, all or nothing.
func push[T any](t *testing.T, w *Window[T], vs ...T) uint64 {
	t.Helper()
	pos, got := w.Claim(len(vs))
	if got != len(vs) {
		t.Fatalf("claimed %d of %d", got, len(vs))
	}
	write(w, pos, vs)
	w.Publish(pos, got)
	return pos
}

func TestWindowEntriesStayReadableUntilTheyAreReleased(t *testing.T) {
	w := NewWindow[int](8)
	push(t, w, 1, 2, 3)
	push(t, w, 4, 5)
	end := w.Published(0)
	for range 2 {
		if got := read(w, w.Head(), end); !slices.Equal(got, seq(1, 5)) {
			t.Fatalf("read %v", got)
		}
	}
	w.Release(2) // in the middle of a run: an acknowledgement knows nothing of runs
	if got := read(w, w.Head(), end); !slices.Equal(got, seq(3, 3)) {
		t.Fatalf("after the release read %v", got)
	}
	if w.Head() != 2 || w.Tail() != 5 || w.Len() != 3 {
		t.Fatalf("head %d, tail %d, length %d", w.Head(), w.Tail(), w.Len())
	}
	if pos, got := w.Claim(9); pos != 5 || got != 5 {
		t.Fatalf("Claim = %d, %d: want the 3 that were free and the 2 that were released", pos, got)
	}
}

func TestWindowClaimIsBoundedByHeadAndCapacity(t *testing.T) {
	for _, capacity := range []int{1, 2, 512, 2048} {
		for _, n := range []int{-1, 0, 1, capacity, capacity + 1, 10 * capacity} {
			t.Run(fmt.Sprintf("capacity=%d/n=%d", capacity, n), func(t *testing.T) {
				w := NewWindow[int](capacity)
				want := max(0, min(n, capacity))
				if pos, got := w.Claim(n); pos != 0 || got != want {
					t.Fatalf("Claim = %d, %d, want 0, %d", pos, got, want)
				}
				if pos, got := w.Claim(capacity + 1); pos != uint64(want) || got != capacity-want {
					t.Fatalf("the rest: Claim = %d, %d", pos, got)
				}
				if pos, got := w.Claim(1); pos != uint64(capacity) || got != 0 {
					t.Fatalf("full: Claim = %d, %d", pos, got)
				}
			})
		}
	}
}

func TestWindowClaimBearsALimitThatASlowProducerPutBack(t *testing.T) {
	w := NewWindow[int](8)
	startAt(w, 100)
	push(t, w, seq(0, 8)...)
	w.limit.Store(16) // what it was long ago
	if _, got := w.Claim(1); got != 0 {
		t.Fatalf("claimed %d of a full window", got)
	}
	w.Release(103)
	w.limit.Store(16)
	if pos, got := w.Claim(8); pos != 108 || got != 3 {
		t.Fatalf("Claim = %d, %d, want the 3 that were released", pos, got)
	}
}

func TestWindowRunsArePublishedInAnyOrderAndSeenInTheirs(t *testing.T) {
	w := NewWindow[int](16)
	a, _ := w.Claim(3)
	b, _ := w.Claim(4)
	c, _ := w.Claim(2)
	steps := []struct {
		pos  uint64
		n    int
		want uint64
	}{
		{c, 2, 0},             // behind two holes
		{a, 1, 1},             // the first part of a claim
		{b, 4, 1},             // behind one hole
		{a + 1, 2, 9},         // fills it
		{a, 0, 9}, {b, -1, 9}, // nothing
	}
	end := uint64(0)
	for i, s := range steps {
		w.Publish(s.pos, s.n)
		if end = w.Published(end); end != s.want {
			t.Fatalf("step %d: Published = %d, want %d", i, end, s.want)
		}
	}
}

func TestWindowSlotsEndsWhereTheSegmentOrTheRingDoes(t *testing.T) {
	tests := []struct {
		capacity int
		pos      uint64
		n, want  int
	}{
		{1, 0, 5, 1},
		{1, 7, 1, 1},
		{64, 0, 64, 64},
		{64, 60, 10, 4},
		{64, 64*3 + 60, 3, 3},
		{2048, 0, 2048, 512},
		{2048, 511, 2, 1},
		{2048, 512, 2, 2},
		{2048, 2047, 9, 1},
		{2048, 1<<40 + 1000, 100, 24},
	}
	for _, tt := range tests {
		w := NewWindow[int](tt.capacity)
		s := w.Slots(tt.pos, tt.n)
		if len(s) != tt.want || cap(s) != tt.want {
			t.Errorf("capacity %d: Slots(%d, %d) has length %d and capacity %d, want %d", tt.capacity, tt.pos, tt.n, len(s), cap(s), tt.want)
		}
	}
}

func TestWindowMakesSegmentsWhenTheyAreFirstReached(t *testing.T) {
	made := func(w *Window[int]) (n int) {
		for i := range w.segs {
			if w.segs[i].Load() != nil {
				n++
			}
		}
		return n
	}
	w := NewWindow[int](4 * segmentSize)
	end := w.Published(0)
	w.Release(0)
	if made(w) != 0 {
		t.Fatalf("an idle window made %d segments", made(w))
	}
	for i, want := range []int{1, 2, 3, 4, 4, 4} {
		push(t, w, seq(0, segmentSize)...)
		end = w.Published(end)
		w.Release(end)
		if made(w) != want {
			t.Fatalf("after %d segments' worth %d segments are made, want %d", i+1, made(w), want)
		}
	}
}

func TestWindowSegmentReachedByManyAtOnceIsMadeOnce(t *testing.T) {
	for range scaled(1000) {
		w := NewWindow[int](segmentSize)
		got := make([]*segment[int], 4)
		var wg sync.WaitGroup
		for i := range got {
			wg.Go(func() { got[i] = w.makeSegment(0) })
		}
		wg.Wait()
		for _, s := range got {
			if s != w.segs[0].Load() {
				t.Fatal("two segments were handed out")
			}
		}
	}
}

func TestWindowPositionsMayBeLarge(t *testing.T) {
	// Past what 32 bits hold on a 32-bit machine, on either side of signed overflow, and up to the wrap of positions.
	for _, start := range []uint64{1<<31 - 5, 1<<32 - 5, 1 << 40, 1<<63 - 5, 1<<64 - 1<<13 - 5} {
		for _, capacity := range []int{1, 4, 1024} {
			t.Run(fmt.Sprintf("start=%#x/capacity=%d", start, capacity), func(t *testing.T) {
				w := NewWindow[int](capacity)
				startAt(w, start)
				runModel(t, w, start, 3000)
			})
		}
	}
}

func TestWindowBehavesLikeASliceUnderRandomCalls(t *testing.T) {
	for _, capacity := range []int{1, 2, 16, 512, 2048} {
		t.Run(fmt.Sprintf("capacity=%d", capacity), func(t *testing.T) {
			runModel(t, NewWindow[int](capacity), 0, scaled(50_000))
		})
	}
}

// runModel drives a window with random calls beside a model: the entries in [head, tail), each its own position when
// written. Runs are published in random order, so that the consumer meets holes.
func runModel(t *testing.T, w *Window[int], start uint64, steps int) {
	type run struct {
		pos uint64
		n   int
	}
	rng := rand.New(rand.NewPCG(2, start))
	head, tail, end := start, start, start
	var claimed []run
	published := map[uint64]int{} // runs that the consumer has not hopped over
	for step := range steps {
		if tail-start > 4000 && start > 1<<63 {
			return // do not run into the wrap of positions
		}
		switch rng.IntN(5) {
		case 0: // claim and fill
			n := 1 + rng.IntN(w.Cap()+1)
			pos, got := w.Claim(n)
			if pos != tail || got != min(n, w.Cap()-int(tail-head)) {
				t.Fatalf("step %d: Claim(%d) = %d, %d with [%d, %d) taken", step, n, pos, got, head, tail)
			}
			if got > 0 {
				tail += uint64(got)
				claimed = append(claimed, run{pos, got})
				vs := make([]int, got)
				for i := range vs {
					vs[i] = int(pos) + i
				}
				write(w, pos, vs)
			}
		case 1: // publish one of the claimed
			if len(claimed) > 0 {
				i := rng.IntN(len(claimed))
				r := claimed[i]
				claimed = slices.Delete(claimed, i, i+1)
				w.Publish(r.pos, r.n)
				published[r.pos] = r.n
			}
		case 2: // hop
			want := end
			for n := published[want]; n > 0; n = published[want] {
				delete(published, want)
				want += uint64(n)
			}
			if end = w.Published(end); end != want {
				t.Fatalf("step %d: Published = %d, want %d", step, end, want)
			}
		case 3: // peek anywhere in [head, end)
			from := head + rng.Uint64N(end-head+1)
			for i, v := range read(w, from, end) {
				if v != int(from)+i {
					t.Fatalf("step %d: position %d holds %d", step, from+uint64(i), v)
				}
			}
		case 4: // release some
			head += rng.Uint64N(end - head + 1)
			w.Release(head)
		}
		if w.Head() != head || w.Tail() != tail || w.Len() != int(tail-head) {
			t.Fatalf("step %d: head %d, tail %d, length %d, want %d, %d", step, w.Head(), w.Tail(), w.Len(), head, tail)
		}
	}
}

// A receiver's acknowledgements trail what was sent; now and then the sender steps back and reads all again.
func TestWindowKeepsEachProducersOrderWhileTheConsumerReadsAgain(t *testing.T) {
	const producers = 3
	for _, capacity := range []int{1, 64, 2048} {
		t.Run(fmt.Sprintf("capacity=%d", capacity), func(t *testing.T) {
			w := NewWindow[uint64](capacity)
			perProducer := scaled(20_000) * min(capacity, 4)
			var wg sync.WaitGroup
			for p := range uint64(producers) {
				wg.Go(func() { produceRuns(w, p<<32, perProducer) })
			}
			rng := rand.New(rand.NewPCG(3, uint64(capacity)))
			var next [producers]uint64
			var end, sent uint64
			var inFlight []uint64
			for w.Head() < uint64(producers*perProducer) {
				end = w.Published(end)
				if rng.IntN(10) == 0 {
					sent, inFlight = w.Head(), inFlight[:0] // resend
				}
				inFlight = append(inFlight, read(w, sent, end)...)
				sent = end
				ack := w.Head() + rng.Uint64N(sent-w.Head()+1)
				for _, v := range inFlight[:ack-w.Head()] {
					if p := v >> 32; v&(1<<32-1) != next[p] {
						t.Fatalf("producer %d: got %d, want %d", p, v&(1<<32-1), next[p])
					}
					next[v>>32]++
				}
				inFlight = slices.Delete(inFlight, 0, int(ack-w.Head()))
				w.Release(ack)
				runtime.Gosched()
			}
			wg.Wait()
			if w.Len() != 0 || w.Tail() != end {
				t.Fatalf("%d entries left", w.Len())
			}
		})
	}
}

func produceRuns(w *Window[uint64], v uint64, n int) {
	rng := rand.New(rand.NewPCG(4, v))
	for end := v + uint64(n); v < end; {
		pos, got := w.Claim(min(1+rng.IntN(50), int(end-v)))
		if got == 0 {
			runtime.Gosched()
			continue
		}
		for i := 0; i < got; {
			s := w.Slots(pos+uint64(i), got-i)
			for j := range s {
				s[j] = v
				v++
			}
			i += len(s)
		}
		w.Publish(pos, got)
	}
}

func TestWindowReleaseLetsTheGarbageCollectorHaveTheEntries(t *testing.T) {
	type big struct{ _ [64]*int }
	w := NewWindow[*big](2 * segmentSize)
	startAt(w, segmentSize-4) // across a segment's end
	var refs []weak.Pointer[big]
	for range 10 {
		p := new(big)
		refs = append(refs, weak.Make(p))
		push(t, w, p)
	}
	runtime.GC()
	for i, ref := range refs {
		if ref.Value() == nil {
			t.Fatalf("entry %d was collected before its release", i)
		}
	}
	w.Release(w.Head() + 9)
	runtime.GC()
	for i, ref := range refs[:9] {
		if ref.Value() != nil {
			t.Errorf("entry %d is still reachable", i)
		}
	}
	if refs[9].Value() == nil {
		t.Error("the entry not released was collected")
	}
	runtime.KeepAlive(w)
}

func TestWindowDoesNotAllocateAfterTheFirstLap(t *testing.T) {
	w := NewWindow[[4]int](2048)
	var end uint64
	lap := func() {
		for range 40 {
			pos, got := w.Claim(100)
			for n := 0; n < got; {
				n += len(w.Slots(pos+uint64(n), got-n))
			}
			w.Publish(pos, got)
			end = w.Published(end)
			w.Release(end)
		}
	}
	lap()
	if n := testing.AllocsPerRun(100, lap); n != 0 {
		t.Errorf("%v allocations per run", n)
	}
}

func TestWindowReleasePanicsOutsideALap(t *testing.T) {
	for _, to := range []uint64{9, 27, 1 << 40} {
		w := NewWindow[int](16)
		startAt(w, 10)
		mustPanic(t, "ring: Window.Release: position outside the window", func() { w.Release(to) })
	}
}

func TestWindowMisuseIsLoudUnderInvariants(t *testing.T) {
	if !invariants {
		t.Skip("needs -tags invariants")
	}
	tests := []struct {
		name, want string
		misuse     func(w *Window[int])
	}{
		{"publish what was not claimed", "run was not claimed", func(w *Window[int]) { w.Publish(w.Tail(), 1) }},
		{"publish more than was claimed", "run was not claimed", func(w *Window[int]) { p, _ := w.Claim(2); w.Publish(p, 3) }},
		{"publish twice", "run is published already", func(w *Window[int]) { p, _ := w.Claim(2); w.Publish(p, 2); w.Publish(p, 2) }},
		{"look behind the head", "position outside", func(w *Window[int]) { w.Published(0) }},
		{"look beyond the tail", "position outside", func(w *Window[int]) { w.Published(w.Tail() + 1) }},
		{"release what was not claimed", "slots were not claimed", func(w *Window[int]) { w.Release(w.Tail() + 1) }},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			w := NewWindow[int](16)
			push(t, w, 1, 2, 3)
			w.Release(2)
			mustPanic(t, tt.want, func() { tt.misuse(w) })
		})
	}
}
