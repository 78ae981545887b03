package suite

import (
	"context"
	"fmt"
	"math/rand/v2"
	"time"

	"example.com/fdpass/bench/compare/peer"
	"example.com/fdpass/bench/compare/result"
)

// Options say how thoroughly to measure.
type Options struct {
	Quick  bool
	Rounds int
}

// Least is how many rounds are worth to be written down.
func (o Options) Least() int {
	if o.Quick {
		return 1
	}
	return 5
}

const (
	perCount = time.Second // or about that
	counts   = 5           // of each cell: how much merges, and so how many calls there are, differs from run to run
)

func (s *Suite) each(o Options) time.Duration {
	if o.Quick {
		return s.Quick
	}
	return s.Each
}

// Expected is about how long a run takes, if nobody is missing.
func (s *Suite) Expected(o Options) time.Duration {
	var perCase time.Duration
	for _, c := range s.Contenders {
		perCase += time.Duration(o.Rounds) * s.each(o)
		if c.Count != nil && !o.Quick {
			perCase += counts * perCount
		}
	}
	return time.Duration(len(s.Cases(o.Quick))) * perCase
}

// A cell is one contender at one case, while it is measured.
type cell struct {
	c       Case
	of      *Contender
	samples map[string][]float64
	round   []Sample // of the round at hand: one for each turn
	unable  string
	failed  string
	note    string
	last    int // the round that it was last measured in
}

// Run measures a suite. What goes wrong with a contender is in the result, and does not keep the others from being
// measured; the error is that of ctx. With it comes what the complete rounds have measured, if they were enough, or nil.
func Run(ctx context.Context, s *Suite, o Options, shop *peer.Shop, progress Progress) (*result.Suite, error) {
	if s.Close != nil {
		defer s.Close()
	}
	r := &result.Suite{Name: s.Name, Title: s.Title, About: s.About, Metrics: s.Metrics}
	for i := range s.Contenders {
		r.Contenders = append(r.Contenders, prepare(ctx, &s.Contenders[i], shop, progress))
	}
	cells := s.cells(r, o.Quick)
	missing := len(r.Cases)*len(s.Contenders) - len(cells)
	progress.Skip(time.Duration(missing) * s.Expected(o) / time.Duration(max(missing+len(cells), 1)))
	for round := range o.Rounds {
		for _, t := range s.turns(cells, round, o) {
			if ctx.Err() != nil {
				break
			}
			if t.out() {
				progress.Skip(t.long)
				continue
			}
			progress.Begin(fmt.Sprintf("%s %d/%d: %s, %s", s.Name, round+1, o.Rounds, t.of.Name, t.c.Name))
			t.last = round
			t.measure(ctx, t.long)
			progress.Done(t.long)
		}
		if ctx.Err() != nil {
			if round < o.Least() {
				return nil, context.Cause(ctx)
			}
			for _, cell := range cells {
				cell.dropRound(round)
			}
			break
		}
		r.Run.Rounds++
		for _, cell := range cells {
			cell.endRound()
		}
	}
	if !o.Quick {
		s.count(ctx, cells, shop, progress)
	}
	for _, cell := range cells {
		r.Cells = append(r.Cells, cell.result())
	}
	if s.Verdicts != nil {
		r.Verdicts = s.Verdicts(r)
	}
	if ctx.Err() != nil {
		r.Run.Interrupted = fmt.Sprintf("after %d of %d rounds", r.Run.Rounds, o.Rounds)
		if r.Run.Rounds == o.Rounds {
			r.Run.Interrupted = "while system calls were counted"
		}
		return r, context.Cause(ctx)
	}
	return r, nil
}

// A turn is one measurement of a cell.
type turn struct {
	*cell
	long time.Duration
}

// turns returns what a round measures: the cells case by case, as they are, but within each case in an order of the
// round's own. What was measured before leaves something behind, memory that the kernel has yet to free for example, so
// nobody is always measured after the same other one. Those that are compared most closely follow one another, in
// several turns.
func (s *Suite) turns(cells []*cell, round int, o Options) (all []turn) {
	random := rand.New(rand.NewPCG(uint64(round), 0))
	shuffle := func(cells []*cell) {
		random.Shuffle(len(cells), func(i, j int) { cells[i], cells[j] = cells[j], cells[i] })
	}
	add := func(cells []*cell, times int) {
		for _, c := range cells {
			all = append(all, turn{c, s.each(o) / time.Duration(times)})
		}
	}
	times := max(s.Turns, 1)
	if o.Quick {
		times = 1
	}
	for rest := cells; len(rest) > 0; {
		n := 1
		for n < len(rest) && rest[n].c.Name == rest[0].c.Name {
			n++
		}
		var compared, others []*cell
		for _, c := range rest[:n] {
			if c.of.isCompared() {
				compared = append(compared, c)
			} else {
				others = append(others, c)
			}
		}
		shuffle(others)
		before := random.IntN(len(others) + 1)
		add(others[:before], 1)
		for range times {
			shuffle(compared)
			add(compared, times)
		}
		add(others[before:], 1)
		rest = rest[n:]
	}
	return all
}

func prepare(ctx context.Context, c *Contender, shop *peer.Shop, progress Progress) result.Contender {
	r := result.Contender{Name: c.Name, Role: c.Role, How: c.How}
	if c.Prepare == nil {
		return r
	}
	progress.Begin("preparing " + c.Name)
	version, err := c.Prepare(ctx, shop)
	r.Version = version
	if err != nil {
		r.Missing = err.Error()
	}
	return r
}

// cells returns those that take part, case by case.
func (s *Suite) cells(r *result.Suite, quick bool) (cells []*cell) {
	for _, c := range s.Cases(quick) {
		r.Cases = append(r.Cases, c.Case)
		for i := range s.Contenders {
			if r.Contenders[i].Missing == "" {
				cells = append(cells, &cell{c: c, of: &s.Contenders[i], samples: map[string][]float64{}})
			}
		}
	}
	return cells
}

func (c *cell) out() bool { return c.unable != "" || c.failed != "" }

func (c *cell) measure(ctx context.Context, d time.Duration) {
	sample, err := c.of.Measure(ctx, c.c, d)
	if err != nil {
		c.refuse(err)
		return
	}
	c.round = append(c.round, sample)
}

// endRound makes one sample of those of the round's turns, the mean.
func (c *cell) endRound() {
	mean, of := Sample{}, map[string]float64{}
	for _, sample := range c.round {
		for key, v := range sample {
			mean[key] += v
			of[key]++
		}
	}
	for key := range mean {
		mean[key] /= of[key]
	}
	c.keep(mean)
	c.round = nil
}

// dropRound forgets a round that was interrupted. What failed in it may have done so because of that: Ctrl-C is for all
// processes.
func (c *cell) dropRound(round int) {
	c.round = nil
	if c.last == round {
		c.unable, c.failed = "", ""
	}
}

// count finds what is not measured in rounds.
func (s *Suite) count(ctx context.Context, cells []*cell, shop *peer.Shop, progress Progress) {
	_, missing := shop.Need(ctx, s.Tools...)
	for n := range counts {
		for _, c := range cells {
			if c.of.Count == nil {
				continue
			}
			if c.out() || c.note != "" || ctx.Err() != nil {
				progress.Skip(perCount)
				continue
			}
			progress.Begin(fmt.Sprintf("%s: counting %d/%d: %s, %s", s.Name, n+1, counts, c.of.Name, c.c.Name))
			c.count(ctx, missing)
			progress.Done(perCount)
		}
	}
}

func (c *cell) count(ctx context.Context, missing error) {
	sample, err := Sample(nil), missing
	if err == nil {
		sample, err = c.of.Count(ctx, c.c)
	}
	if ctx.Err() != nil {
		return
	}
	if err != nil {
		c.note = "not counted: " + err.Error()
		return
	}
	c.keep(sample)
}

func (c *cell) keep(sample Sample) {
	for key, v := range sample {
		c.samples[key] = append(c.samples[key], v)
	}
}

func (c *cell) refuse(err error) {
	if IsUnable(err) {
		c.unable = err.Error()
	} else {
		c.failed = err.Error()
	}
}

func (c *cell) result() result.Cell {
	r := result.Cell{Case: c.c.Name, Contender: c.of.Name, Unable: c.unable, Failed: c.failed, Note: c.note}
	if !c.out() {
		r.Figures = map[string]result.Figure{}
		for key, v := range c.samples {
			r.Figures[key] = result.Of(v)
		}
	}
	return r
}
