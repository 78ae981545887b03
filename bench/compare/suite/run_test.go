package suite

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"testing"
	"time"

	"example.com/fdpass/bench/compare/peer"
	"example.com/fdpass/bench/compare/result"
)

// fake is a suite of two cases whose contenders measure nothing, and note when they were called.
type fake struct {
	Suite
	calls []string
}

func newFake() *fake {
	f := &fake{Suite: Suite{
		Name: "fake", Metrics: []result.Metric{{Key: "ns"}}, Each: time.Minute, Quick: time.Second,
		Cases: func(bool) []Case {
			return []Case{{Case: result.Case{Name: "one"}, Work: 1.0}, {Case: result.Case{Name: "two"}, Work: 2.0}}
		},
	}}
	return f
}

func (f *fake) add(name string, measure func(c Case, times int) (Sample, error)) *Contender {
	times := map[string]int{}
	f.Contenders = append(f.Contenders, Contender{Name: name, Measure: func(_ context.Context, c Case, d time.Duration) (Sample, error) {
		f.calls = append(f.calls, name+" "+c.Name)
		times[c.Name]++
		want := time.Minute
		if c := f.Contenders[slices.IndexFunc(f.Contenders, func(c Contender) bool { return c.Name == name })]; c.isCompared() {
			want /= time.Duration(max(f.Turns, 1))
		}
		if d != want {
			return nil, fmt.Errorf("told to take %v instead of %v", d, want)
		}
		return measure(c, times[c.Name])
	}})
	return &f.Contenders[len(f.Contenders)-1]
}

func (f *fake) run(t *testing.T, rounds int) *result.Suite {
	t.Helper()
	r, err := Run(t.Context(), &f.Suite, Options{Rounds: rounds}, &peer.Shop{}, NewLines(io.Discard, time.Minute))
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func TestEachRoundMeasuresEverybodyOnceAndNobodyAlwaysBehindTheSame(t *testing.T) {
	f := newFake()
	for _, name := range []string{"a", "b", "c"} {
		f.add(name, func(Case, int) (Sample, error) { return Sample{"ns": 1}, nil })
	}
	f.run(t, 30)
	before := map[string]map[string]bool{}
	for round := range 30 {
		calls := slices.Clone(f.calls[round*6 : round*6+6])
		for i, call := range calls[1:] {
			if before[call] == nil {
				before[call] = map[string]bool{}
			}
			before[call][calls[i]] = true
		}
		slices.Sort(calls[:3])
		slices.Sort(calls[3:])
		if want := []string{"a one", "b one", "c one", "a two", "b two", "c two"}; !slices.Equal(calls, want) {
			t.Errorf("round %d measured %v", round, calls)
		}
	}
	for call, others := range before {
		if len(others) < 2 {
			t.Errorf("%s was always measured behind %v", call, others)
		}
	}
}

func TestThoseThatAreComparedTakeTurns(t *testing.T) {
	f := newFake()
	f.Turns = 2
	compared := []string{"limit", "check", "own", "peer"}
	roles := map[string]result.Role{"limit": result.Limit, "check": result.Check, "own": result.Own, "b": result.Aside}
	for _, name := range append([]string{"a", "b", "c"}, compared...) {
		c := f.add(name, func(_ Case, times int) (Sample, error) { return Sample{"ns": float64(times)}, nil })
		if c.Role = roles[name]; c.Role == "" {
			c.Role = result.Peer
		}
		c.Compared = name == "peer"
	}
	const others, turns = 3, 2 * 4
	r := f.run(t, 30)
	leading, starts := map[string]bool{}, map[int]bool{}
	for calls := range slices.Chunk(f.calls, others+turns) {
		isCompared := func(call string) bool {
			name, _, _ := strings.Cut(call, " ")
			return slices.Contains(compared, name)
		}
		start := slices.IndexFunc(calls, isCompared)
		for i, call := range calls {
			if isCompared(call) != (i >= start && i < start+turns) {
				t.Fatalf("measured %v", calls)
			}
		}
		for turn := range slices.Chunk(slices.Clone(calls[start:start+turns]), len(compared)) {
			if slices.Sort(turn); len(slices.Compact(turn)) != len(compared) {
				t.Errorf("one turn was %v", turn)
			}
		}
		leading[calls[start]], starts[start] = true, true
	}
	if len(leading) != 2*len(compared) || len(starts) < 3 {
		t.Errorf("those who led were %v, at %v", leading, starts)
	}
	if own, _ := r.Figure("one", "own", "ns"); len(own.Samples) != 30 || own.Samples[0] != 1.5 || own.Samples[29] != 59.5 {
		t.Errorf("a round is the mean of its turns, got %v", own.Samples)
	}
	if a, _ := r.Figure("one", "a", "ns"); len(a.Samples) != 30 || a.Samples[29] != 30 {
		t.Errorf("who takes no turns is measured once in a round, got %v", a.Samples)
	}
}

func TestTheSamplesOfTheRoundsBecomeAFigure(t *testing.T) {
	f := newFake()
	f.add("a", func(c Case, times int) (Sample, error) { return Sample{"ns": float64(times) * c.Work.(float64)}, nil })
	got, ok := f.run(t, 5).Figure("two", "a", "ns")
	if !ok || got.Median != 6 || got.Q1 != 4 || got.Q3 != 8 || !slices.Equal(got.Samples, []float64{2, 4, 6, 8, 10}) {
		t.Errorf("got %+v, %v", got, ok)
	}
}

func TestWhoCannotFailsOrIsMissingIsSaidToAndDisturbsNobody(t *testing.T) {
	f := newFake()
	f.add("able", func(Case, int) (Sample, error) { return Sample{"ns": 1}, nil })
	f.add("unable", func(Case, int) (Sample, error) { return nil, Unable("by nature") })
	f.add("failing", func(_ Case, times int) (Sample, error) {
		if times == 2 {
			return nil, errors.New("broke")
		}
		return Sample{"ns": 1}, nil
	})
	f.add("missing", nil).Prepare = func(context.Context, *peer.Shop) (string, error) { return "", errors.New("no package") }
	r := f.run(t, 3)

	if c := r.Cell("one", "unable"); c.Unable != "by nature" || c.Failed != "" || c.Figures != nil {
		t.Errorf("unable: %+v", c)
	}
	if c := r.Cell("one", "failing"); c.Failed != "broke" || c.Figures != nil {
		t.Errorf("failing: %+v", c)
	}
	if c := r.Cell("one", "missing"); c != nil || r.Contenders[3].Missing != "no package" {
		t.Errorf("missing: %+v, %+v", c, r.Contenders[3])
	}
	if got, _ := r.Figure("two", "able", "ns"); len(got.Samples) != 3 {
		t.Errorf("able: %+v", got)
	}
	tried := 0
	for _, call := range f.calls {
		if call == "unable one" {
			tried++
		}
	}
	if tried != 1 {
		t.Errorf("who cannot was tried %d times", tried)
	}
}

func TestACountThatFailsLeavesTheFigures(t *testing.T) {
	f := newFake()
	c := f.add("a", func(Case, int) (Sample, error) { return Sample{"ns": 1}, nil })
	failures := 0
	c.Count = func(_ context.Context, c Case) (Sample, error) {
		if c.Name == "one" {
			failures++
			return nil, errors.New("no strace")
		}
		return Sample{"calls": 3}, nil
	}
	r := f.run(t, 2)
	if c := r.Cell("one", "a"); !strings.Contains(c.Note, "no strace") || c.Figures["ns"].Median != 1 {
		t.Errorf("one: %+v", c)
	}
	if failures != 1 {
		t.Errorf("what cannot be counted was tried %d times", failures)
	}
	if c := r.Cell("two", "a"); c.Note != "" || c.Figures["calls"].Median != 3 || len(c.Figures["calls"].Samples) != counts {
		t.Errorf("two: %+v", c)
	}
}

func TestARunThatIsInterruptedEndsAndClosesTheSuite(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	f := newFake()
	f.add("a", func(Case, int) (Sample, error) {
		cancel()
		return Sample{"ns": 1}, nil
	})
	closed := false
	f.Close = func() { closed = true }
	_, err := Run(ctx, &f.Suite, Options{Rounds: 5}, &peer.Shop{}, NewLines(io.Discard, time.Minute))
	if !errors.Is(err, context.Canceled) || len(f.calls) != 1 || !closed {
		t.Errorf("%v after %v, closed: %v", err, f.calls, closed)
	}
}

func TestARunThatIsInterruptedKeepsWhatCompleteRoundsHaveMeasured(t *testing.T) {
	for complete, kept := range map[int]bool{4: false, 5: true} {
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		f := newFake()
		for _, name := range []string{"a", "b"} {
			f.add(name, func(c Case, times int) (Sample, error) {
				if times > complete && c.Name == "two" {
					cancel()
					return nil, errors.New("signal: interrupt") // which the other process of Ctrl-C dies of
				}
				return Sample{"ns": 1}, nil
			})
		}
		r, err := Run(ctx, &f.Suite, Options{Rounds: 9}, &peer.Shop{}, NewLines(io.Discard, time.Minute))
		if !errors.Is(err, context.Canceled) || (r != nil) != kept {
			t.Fatalf("%d rounds: %v, %v", complete, r, err)
		}
		if !kept {
			continue
		}
		if r.Run.Rounds != 5 || r.Run.Interrupted != "after 5 of 9 rounds" {
			t.Errorf("%d rounds, interrupted %s", r.Run.Rounds, r.Run.Interrupted)
		}
		for _, c := range r.Cells {
			if len(c.Figures["ns"].Samples) != 5 || c.Failed != "" {
				t.Errorf("%s, %s: %+v", c.Contender, c.Case, c)
			}
		}
	}
}

func TestProgressInLinesComesToTheEnd(t *testing.T) {
	var b bytes.Buffer
	l := NewLines(&b, 100*time.Second)
	for range 100 {
		l.Begin("at work")
		l.Done(time.Second)
	}
	lines := strings.Split(strings.TrimSpace(b.String()), "\n")
	if len(lines) != 20 || lines[19] != "100%, 0s left: at work" {
		t.Errorf("%d lines, the last one %q", len(lines), lines[len(lines)-1])
	}
}

// What a missing contender would have taken is no part of what is left, and neither is one that cannot do a case.
func TestWhatIsNotMeasuredIsNotWaitedFor(t *testing.T) {
	f := newFake()
	f.add("able", func(Case, int) (Sample, error) { return Sample{"ns": 1}, nil })
	f.add("unable", func(Case, int) (Sample, error) { return nil, Unable("there is no way") })
	f.add("missing", nil).Prepare = func(context.Context, *peer.Shop) (string, error) { return "", errors.New("not here") }
	const rounds = 10
	var b bytes.Buffer
	l := NewLines(&b, f.Expected(Options{Rounds: rounds}))
	if _, err := Run(t.Context(), &f.Suite, Options{Rounds: rounds}, &peer.Shop{}, l); err != nil {
		t.Fatal(err)
	}
	const able, tried = 2 * rounds * time.Minute, 2 * time.Minute // in two cases each
	if want := able + tried; l.total != want || l.done != want {
		t.Errorf("%v of %v are done, want %v: %s", l.done, l.total, want, b.String())
	}
	if strings.Contains(b.String(), "preparing") {
		t.Errorf("a contender that is missing has brought the run forward: %s", b.String())
	}
}

func TestTheBarFitsTheTerminal(t *testing.T) {
	for columns, want := range map[int]int{120: 44, 80: 44, 60: 24, 20: 0} {
		var b bytes.Buffer
		bar := NewBar(&b, columns, time.Minute)
		bar.Begin(strings.Repeat("w", 60))
		bar.Done(time.Second)
		if got := strings.Count(b.String()[strings.LastIndex(b.String(), "\r"):], "w"); got != want {
			t.Errorf("%d columns: %d for what is being done, want %d", columns, got, want)
		}
	}
}
