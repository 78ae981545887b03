package page

import (
	"fmt"
	"math"
	"math/rand/v2"
	"reflect"
	"runtime"
	"sync"
	"testing"
	"time"
)

// patience is how long a test waits for what must happen before it says that it does not.
const patience = 30 * time.Second

// Every end has its own version of this package: what lies where is part of the protocol.
func TestTheWordsLieWhereEveryEndLooksForThem(t *testing.T) {
	words := reflect.TypeFor[Words]()
	if words.Size() > Size {
		t.Errorf("the words take %d bytes of %d", words.Size(), Size)
	}
	for name, want := range map[string]uintptr{"acked": 0, "limit": 128, "asked": 256, "open": 384, "pulse": 512} {
		if f, ok := words.FieldByName(name); !ok || f.Offset != want {
			t.Errorf("%s lies at %d, want %d", name, f.Offset, want)
		}
	}
}

func TestOpenConnectionsAreCountedAndNoClaimIsTaken(t *testing.T) {
	w := new(Words)
	p := Of(w, nil)
	expect := func(n int, counted bool) {
		t.Helper()
		if got, ok := p.Open(); got != n || ok != counted {
			t.Errorf("%d in memory: Open is %d, %v, want %d, %v", w.open.Load(), got, ok, n, counted)
		}
	}
	expect(0, false)
	for _, c := range []struct{ n, open int }{{1 + 3, 3}, {-2, 1}, {5, 6}, {-6, 0}, {-1, 0}, {2, 1}} {
		p.Opened(c.n)
		expect(c.open, c.n != -1 || c.open != 0) // below 0 nothing is said
	}
	for _, c := range []struct {
		word    int64
		open    int
		counted bool
	}{{math.MinInt64, 0, false}, {-1, 0, false}, {math.MaxInt64, maxOpen, true}, {maxOpen + 1, maxOpen, true}} {
		w.open.Store(c.word)
		expect(c.open, c.counted)
	}
	w.open.Store(2)
	Of(w, func() bool { return false }).Opened(1)
	expect(1, true) // the dead write nothing
}

func TestTake(t *testing.T) {
	for _, c := range []struct {
		name     string
		before   uint64 // in acked
		from, to uint64
		want     Result
		after    uint64
	}{
		{"the first", 0, 0, 3, Taken, 3},
		{"more", 3, 3, 10, Taken, 10},
		{"nothing", 3, 3, 3, Taken, 3},
		{"what is fenced", fenced | 3, 3, 10, Fenced, fenced | 3},
		{"what is fenced from the start", fenced, 0, 1, Fenced, fenced},
		{"nothing of what is fenced", fenced | 3, 3, 3, Fenced, fenced | 3},
		{"what is fenced and something else", fenced | 7, 3, 10, Fenced, fenced | 7},
		{"what the sender has put back", 2, 3, 10, Broken, 2},
		{"what the sender has put forward", 10, 3, 10, Broken, 10},
		{"what the sender has wiped out", 0, 3, 10, Broken, 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := new(Words)
			w.acked.Store(c.before)
			if got := Of(w, nil).Take(c.from, c.to); got != c.want || w.acked.Load() != c.after {
				t.Errorf("Take(%d, %d) is %d and leaves %#x, want %d and %#x", c.from, c.to, got, w.acked.Load(), c.want, c.after)
			}
		})
	}
}

func TestWhatTheSenderReads(t *testing.T) {
	w := new(Words)
	s, r := Of(w, nil), Of(w, nil)
	expect := func(what string, acked, limit uint64, used bool) {
		t.Helper()
		a, l, u := s.Read()
		if a != acked || l != limit || u != used || s.Acked() != acked {
			t.Errorf("%s: %d, %d, %t, want %d, %d, %t", what, a, l, u, acked, limit, used)
		}
	}
	expect("a page that nobody has written to", 0, 0, false)
	r.Grant(0)
	expect("a limit of nothing", 0, 0, true)
	r.Grant(100)
	expect("a limit", 0, 100, true)
	r.Take(0, 40)
	r.Grant(90)
	expect("a limit that goes back", 40, 90, true)
	s.Fence()
	s.Fence()
	expect("a fence", 40, 90, true)
	if got := r.Take(40, 50); got != Fenced {
		t.Errorf("Take behind the fence is %d", got)
	}
	expect("an acknowledgement behind the fence", 40, 90, true)
	w.limit.Store(1 << 40)
	expect("a limit without a receiver", 40, 1<<40, false)
}

func TestAsked(t *testing.T) {
	w := new(Words)
	s, r := Of(w, nil), Of(w, nil)
	expect := func(what string, acked uint64, want bool) {
		t.Helper()
		if got := r.Asked(acked); got != want {
			t.Errorf("%s: Asked(%d) is %t", what, acked, got)
		}
	}
	expect("nobody asks", 0, false)
	s.Ask(0)
	expect("asked for nothing in particular", 0, true)
	expect("answered", 0, false)
	s.Ask(10)
	expect("too little", 9, false)
	expect("enough", 10, true)
	expect("answered", 11, false)
	s.Ask(10)
	s.Ask(20)
	expect("asked for more since", 10, false)
	s.Ask(5)
	expect("asked for less since", 10, true)
	s.Ask(1<<64 - 1) // which is none: one more than it is 0
	expect("asked for what there is not", 1<<64-1, false)
}

// A simulated process that has been killed, at whatever instruction, does nothing any more.
func TestWhoIsDeadWritesNothing(t *testing.T) {
	w := new(Words)
	w.asked.Store(1)
	dead := Of(w, func() bool { return false })
	dead.Fence()
	dead.Ask(7)
	dead.Grant(9)
	if got := dead.Take(0, 1); got == Taken {
		t.Error("a dead process has taken something")
	}
	if dead.Asked(100) {
		t.Error("a dead process answers")
	}
	if a, l, q := w.acked.Load(), w.limit.Load(), w.asked.Load(); a != 0 || l != 0 || q != 1 {
		t.Errorf("it has written %#x, %#x, %#x", a, l, q)
	}
	alive := Of(w, func() bool { return true })
	if alive.Take(0, 1) != Taken || !alive.Asked(1) {
		t.Error("a living one does nothing either")
	}
}

// The receiver acknowledges batch after batch, and at some moment the sender takes back the rest: the two agree on
// where that begins.
func TestWhatIsTakenAndWhatIsTakenBackIsEverything(t *testing.T) {
	rounds := 20_000
	if testing.Short() {
		rounds = 2000
	}
	for round := range rounds {
		w := new(Words)
		begun := make(chan struct{})
		var taken uint64
		var wg sync.WaitGroup
		wg.Go(func() {
			r := Of(w, nil)
			for taken < 1000 {
				n := 1 + rand.Uint64N(5)
				switch got := r.Take(taken, taken+n); got {
				case Taken:
					taken += n
				case Fenced:
					return
				default:
					t.Errorf("round %d: Take is %d", round, got)
					return
				}
				if taken <= n {
					close(begun)
				}
			}
		})
		s := Of(w, nil)
		<-begun
		for range round % 50 {
			runtime.Gosched()
		}
		before := s.Acked()
		s.Fence()
		acked, _, _ := s.Read()
		wg.Wait()
		if later := s.Acked(); acked != taken || acked != later || acked < before {
			t.Fatalf("round %d: the receiver has taken %d, the sender read %d, then %d, and later %d", round, taken, before, acked, later)
		}
	}
}

// A sender that has run out of credit, or wants all it has sent acknowledged, asks, reads again, and waits for a frame.
// The receiver writes, and then looks whether it is asked. However the two meet, the sender gets on.
func TestWhoAsksAndReadsAgainWaitsForNothingThatHasComeAlready(t *testing.T) {
	total := uint64(100_000)
	if testing.Short() {
		total = 10_000
	}
	for _, window := range []uint64{1, 2, 7} {
		t.Run(fmt.Sprint("window ", window), func(t *testing.T) {
			w := new(Words)
			data, frames := make(chan uint64, window+1), make(chan struct{}, total)
			var wg sync.WaitGroup
			wg.Go(func() {
				r := Of(w, nil)
				r.Grant(window)
				if r.Asked(0) {
					frames <- struct{}{}
				}
				for n := range data {
					if r.Take(n-1, n) != Taken {
						t.Errorf("%d is not taken", n)
					}
					r.Grant(n + window)
					if r.Asked(n) {
						frames <- struct{}{}
					}
				}
			})
			s, sent, waits := Of(w, nil), uint64(0), 0
			for {
				acked, limit, _ := s.Read()
				for ; sent < min(limit, total); sent++ {
					data <- sent + 1
				}
				if acked == total {
					break
				}
				target := acked // for credit
				if sent == total {
					target = total
				}
				s.Ask(target)
				if a, l, _ := s.Read(); a != acked || l != limit {
					continue
				}
				waits++
				select {
				case <-frames:
				case <-time.After(patience):
					a, l, _ := s.Read()
					close(data)
					wg.Wait()
					t.Fatalf("no frame comes: %d sent, %d acknowledged, a limit of %d; asked %d", sent, a, l, w.asked.Load())
				}
			}
			close(data)
			wg.Wait()
			t.Logf("waited for %d frames", waits)
		})
	}
}
