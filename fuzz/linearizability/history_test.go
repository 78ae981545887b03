package linearizability

import (
	"flag"
	"fmt"
	"math/rand/v2"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/anishathalye/porcupine"
)

var (
	histories = flag.Int("histories", 1000, "recorded histories of each kind of ring")
	stepped   = flag.Bool("stepped", false, "the rings yield between any two statements, as a test of this package arranges")
	seed      = flag.Uint64("seed", 0, "the seed of the first history; 0: a random one")
)

// firstSeed returns the seed that the run begins with. The seed decides what each goroutine does; how they meet is up
// to the machine.
func firstSeed(t *testing.T) uint64 {
	s := *seed
	if s == 0 {
		s = rand.Uint64() >> 16
	}
	t.Logf("seeds from %d on (-seed %d)", s, s)
	return s
}

// crowded has more threads than cores while the test runs, so that the kernel stops some of them in the middle of a
// call.
func crowded(t *testing.T) {
	before := runtime.GOMAXPROCS(max(8, 2*runtime.NumCPU()))
	t.Cleanup(func() { runtime.GOMAXPROCS(before) })
}

// moment is one of the points in time at which a call takes effect, an input of the model.
type moment struct {
	of   *call
	kind momentKind
}

type momentKind int

const (
	look momentKind = iota
	claim
	pass
)

// call is what one goroutine saw of one call.
type call struct {
	id         int // counts from 0 in a history
	client     int
	op         op
	asked      int
	pos        uint16   // Window: where
	values     []uint16 // that went in or came out
	begin, end int64    // nanoseconds since the history began
}

type op int

const (
	push op = iota
	pop
	publish
	published
	read
	release
)

func (c *call) String() string {
	return fmt.Sprintf("%6d..%6d  client %d  %s %d at %d: %d", c.begin, c.end, c.client,
		[...]string{"push", "pop", "publish", "published", "read", "release"}[c.op], c.asked, c.pos, c.values)
}

// client records the calls of one goroutine.
type client struct {
	id    int
	start time.Time
	rng   *rand.Rand
	calls []*call
	next  uint16 // the next value to push
}

// record does f, which is one call, and stores what it returned.
func (c *client) record(op op, asked int, f func(*call)) {
	r := &call{client: c.id, op: op, asked: asked, begin: int64(time.Since(c.start))}
	f(r)
	r.end = int64(time.Since(c.start))
	c.calls = append(c.calls, r)
}

// values returns n values that nobody else pushes.
func (c *client) values(n int) []uint16 {
	vs := make([]uint16, n)
	for i := range vs {
		c.next++
		vs[i] = uint16(c.id)<<8 | c.next
	}
	return vs
}

// run has every function be a goroutine of its own, all at once, then does last, and returns all their calls.
func run(seed uint64, last func(*client), fs ...func(*client)) (calls []*call) {
	start := time.Now()
	clients := make([]*client, len(fs)+1)
	for i := range clients {
		clients[i] = &client{id: i, start: start, rng: rand.New(rand.NewPCG(seed, uint64(i)))}
	}
	var ready atomic.Int32
	var done sync.WaitGroup
	for i, f := range fs {
		done.Go(func() {
			for ready.Add(1); ready.Load() < int32(len(fs)); {
				runtime.Gosched()
			}
			f(clients[i])
		})
	}
	done.Wait()
	last(clients[len(fs)])
	for _, c := range clients {
		calls = append(calls, c.calls...)
	}
	slices.SortFunc(calls, func(a, b *call) int { return int(a.begin - b.begin) })
	for i, c := range calls {
		c.id = i
	}
	return calls
}

// explained reports whether the model has an order of all moments that explains the history.
func explained(t *testing.T, model porcupine.Model, calls []*call, moments func(*call) []momentKind) bool {
	t.Helper()
	if len(calls) > 64 {
		t.Fatalf("%d calls in a history; the models' sets hold 64", len(calls))
	}
	var ops []porcupine.Operation
	for _, c := range calls {
		for _, m := range moments(c) {
			ops = append(ops, porcupine.Operation{ClientId: c.client, Input: moment{c, m}, Call: c.begin, Return: c.end})
		}
	}
	switch porcupine.CheckOperationsTimeout(model, ops, time.Minute) {
	case porcupine.Ok:
		return true
	case porcupine.Illegal:
		return false
	default:
		t.Fatalf("the checker does not come to an end with:\n%s", list(calls))
		return false
	}
}

func list(calls []*call) string {
	var b strings.Builder
	for _, c := range calls {
		fmt.Fprintln(&b, c)
	}
	return b.String()
}

// tally counts what the histories contained: a run that never met the hard cases proves nothing.
type tally struct {
	calls, overlapping, full, empty, part, laps int
}

func (y *tally) add(calls []*call, capacity int) {
	entered := 0
	for i, c := range calls {
		y.calls++
		for _, other := range calls[i+1:] {
			if other.begin <= c.end && other.client != c.client {
				y.overlapping++
				break
			}
		}
		got := len(c.values)
		if c.op == push {
			entered += got
		}
		if c.op == published && c.asked == 0 {
			y.empty++
		}
		switch {
		case c.op > pop || got == c.asked:
		case got > 0:
			y.part++
		case c.op == push:
			y.full++
		default:
			y.empty++
		}
	}
	y.laps += entered / capacity
}

func (y *tally) check(t *testing.T) {
	t.Helper()
	t.Logf("%d calls, %d of them beside others, %d found it full, %d empty, %d got a part; %d laps",
		y.calls, y.overlapping, y.full, y.empty, y.part, y.laps)
	if y.full == 0 || y.empty == 0 || y.part == 0 || y.laps == 0 {
		t.Error("one of these is 0: the histories lack a case")
	}
	if *stepped && y.overlapping < y.calls/2 {
		t.Error("most calls have been alone")
	}
}
