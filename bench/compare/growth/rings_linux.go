package growth

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"example.com/fdpass/bench/compare/result"
	"example.com/fdpass/bench/compare/suite"
	"example.com/fdpass/ring"
)

const aboutRings = `Values of 8 bytes go from goroutines to goroutines through a queue of 1,024, handed over so many at a time. A side
that finds it full or empty waits: parked by the channel, at a ring.Event, at a sync.Cond. Yielding rings call runtime.Gosched
instead, as long as it takes. A channel takes values one by one, however many are at hand; beside it is what one would do about that,
a channel of slices, which come back over another one. The producers fill every value, the consumers add them up, and the sums
are compared.`

// crossing is a case: values go from producers to consumers in batches.
type crossing struct{ producers, consumers, batch int }

var (
	perValue = result.Metric{Key: "ns", Name: "ns per value", Digits: 1, Chart: true}
	oneToOne = crossing{producers: 1, consumers: 1}
)

const channelName = "Go channel"

// Rings compares the rings with channels and a locked queue.
func Rings() *suite.Suite {
	return &suite.Suite{
		Name: "rings", Title: "The rings alone", About: aboutRings,
		Metrics: []result.Metric{perValue},
		Cases:   crossings,
		Each:    150 * time.Millisecond, Quick: 10 * time.Millisecond,
		Contenders: []suite.Contender{
			spsc.waiting(), mpsc.waiting(), mpmc.waiting(),
			spsc.yielding(), mpsc.yielding(), mpmc.yielding(),
			{Name: channelName, Role: result.Peer, How: "chan uint64", Measure: through(newChannel)},
			{Name: "Go channel of slices", Role: result.Peer, How: "chan []uint64, and another for the slices to come back", Measure: through(newLentSlices)},
			{Name: "mutex queue", Role: result.Peer, How: "a sync.Mutex around a circular buffer, and two of sync.Cond", Measure: through(newMutexQueue)},
		},
		Verdicts: ringVerdicts,
	}
}

func (c crossing) group() string { return fmt.Sprintf("%d to %d", c.producers, c.consumers) }
func (c crossing) name() string  { return fmt.Sprintf("%s, batches of %d", c.group(), c.batch) }

func crossings(bool) (all []suite.Case) {
	for _, c := range []crossing{oneToOne, {4, 1, 0}, {4, 4, 0}} {
		for _, c.batch = range []int{1, 8, 64} {
			label := fmt.Sprintf("batches of %d", c.batch)
			all = append(all, suite.Case{Case: result.Case{Name: c.name(), Group: c.group(), Label: label, X: float64(c.batch)}, Work: c})
		}
	}
	return all
}

type measurement = func(context.Context, suite.Case, time.Duration) (suite.Sample, error)

func through(make func(batch int) way) measurement {
	return func(_ context.Context, c suite.Case, d time.Duration) (suite.Sample, error) {
		w := c.Work.(crossing)
		return w.run(d, make(w.batch))
	}
}

// kind is a kind of ring, for so many producers and consumers at most.
type kind struct {
	name                 string
	producers, consumers int
	make                 func() queue
}

var (
	spsc = kind{"SPSC", 1, 1, func() queue { return ring.NewSPSC[uint64](capacity) }}
	mpsc = kind{"MPSC", 64, 1, func() queue { return ring.NewMPSC[uint64](capacity) }}
	mpmc = kind{"MPMC", 64, 64, func() queue { return ring.NewMPMC[uint64](capacity) }}
)

// waiting is a ring of the kind whose users wait where it is full or empty, as those of a channel do.
func (k kind) waiting() suite.Contender {
	return k.contender("", "ring.Event", result.Own, func() way { return &waiting{queue: k.make()} })
}

// yielding is one whose users yield there. They never sleep, as all others do: that is no competition.
func (k kind) yielding() suite.Contender {
	return k.contender(", yielding", "runtime.Gosched", result.Aside, func() way { return polled{k.make()} })
}

func (k kind) contender(suffix, by string, role result.Role, build func() way) suite.Contender {
	cross := through(func(int) way { return build() })
	return suite.Contender{
		Name: k.name + suffix, Role: role, How: "ring." + k.name + ": PushBatch, PopBatch; " + by, Compared: true,
		Measure: func(ctx context.Context, c suite.Case, d time.Duration) (suite.Sample, error) {
			if w := c.Work.(crossing); w.producers > k.producers || w.consumers > k.consumers {
				return nil, suite.Unable("not for so many goroutines")
			}
			return cross(ctx, c, d)
		},
	}
}

// run has values cross for about d.
func (c crossing) run(d time.Duration, w way) (suite.Sample, error) {
	var stop, over atomic.Bool
	var producers, consumers sync.WaitGroup
	var sent, got tally
	start := time.Now()
	time.AfterFunc(d, func() { stop.Store(true) })
	for range c.producers {
		producers.Go(func() { sent.add(produce(w, c.batch, &stop)) })
	}
	for range c.consumers {
		consumers.Go(func() { got.add(consume(w, c.batch, &over)) })
	}
	producers.Wait()
	w.end()
	over.Store(true)
	consumers.Wait()
	took := time.Since(start)
	if got.n.Load() != sent.n.Load() || got.sum.Load() != sent.sum.Load() {
		return nil, fmt.Errorf("%d values were put, with the sum %d; %d were got, with the sum %d",
			sent.n.Load(), sent.sum.Load(), got.n.Load(), got.sum.Load())
	}
	return suite.Sample{perValue.Key: float64(took) / float64(got.n.Load())}, nil
}

// tally adds up what several goroutines did.
type tally struct{ n, sum atomic.Uint64 }

func (t *tally) add(n, sum uint64) {
	t.n.Add(n)
	t.sum.Add(sum)
}

func produce(w way, batch int, stop *atomic.Bool) (n, sum uint64) {
	for vs := values(batch); n == 0 || !stop.Load(); {
		for i := range vs {
			vs[i] = n
			sum += n
			n++
		}
		w.put(vs)
	}
	return n, sum
}

func consume(w way, batch int, over *atomic.Bool) (n, sum uint64) {
	for dst := values(batch); ; {
		last := over.Load() // before looking: what was put before the end is there
		k := w.get(dst)
		for _, v := range dst[:k] {
			sum += v
		}
		n += uint64(k)
		if k == 0 && last {
			return n, sum
		}
	}
}

// values returns a slice on cache lines of its own: what two goroutines fill in turn must not travel between them.
func values(n int) []uint64 { return make([]uint64, n, max(n, 16)) }

// ringVerdicts say whether the target is met: ten times as fast as a channel, one to one, in batches of 64.
func ringVerdicts(r *result.Suite) (all []string) {
	c := oneToOne
	c.batch = 64
	for _, of := range r.Contenders {
		if f, ok := r.Ratio(c.name(), perValue, of.Name, channelName); ok && of.Role == result.Own {
			all = append(all, fmt.Sprintf("%s, %s: %.1f (%.1f to %.1f) times as fast as a Go channel; the target, 10, is %s.",
				of.Name, c.name(), f.Median, f.Q1, f.Q3, f.AtLeast(10)))
		}
	}
	return all
}
