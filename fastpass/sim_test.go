//go:build linux

package fastpass

import (
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"example.com/fdpass/internal/sys"
)

var (
	simSeeds = flag.Uint64("sim.seeds", 0, "how many seeds to run the simulation with; 0: a few thousand, fewer under -race and on 386")
	simFirst = flag.Uint64("sim.first", 1, "the first of them")
	simSeed  = flag.Uint64("sim.seed", 0, "run this seed only, and print its trace")
)

// simSeedsHere is how many seeds take some seconds in this build.
func simSeedsHere() uint64 {
	switch {
	case *simSeeds > 0:
		return *simSeeds
	case testing.Short():
		return 100
	case slowBuild:
		return 300
	}
	return 3000
}

type simWrap = func(*simEnd, sys.Kernel) sys.Kernel

// simulate makes a run in a bubble of its own.
func simulate(t *testing.T, choices rand.Source, tracing bool, wrap simWrap) (s *sim) {
	t.Helper()
	synctest.Test(t, func(*testing.T) {
		s = newSim(choices)
		s.wrap, s.tracing = wrap, tracing
		s.run()
	})
	return s
}

func simulateSeed(t *testing.T, seed uint64, tracing bool, wrap simWrap) *sim {
	t.Helper()
	return simulate(t, rand.NewPCG(seed, 0), tracing, wrap)
}

func TestNothingIsLostInTheSimulation(t *testing.T) {
	if *simSeed != 0 {
		s := simulateSeed(t, *simSeed, true, nil)
		fmt.Printf("seed %d\n  %s\n%v, hash %x\n", *simSeed, strings.Join(s.trace, "\n  "), s.counts, s.hash)
		if s.bad != "" {
			t.Fatal(s.bad)
		}
		return
	}
	n, failed := simSeedsHere(), 0
	var counts simCounts
	progress := simProgress{start: time.Now(), of: n}
	for seed := *simFirst; seed < *simFirst+n; seed++ {
		s := simulateSeed(t, seed, false, nil)
		counts.add(s.counts)
		if s.bad != "" {
			progress.say("seed %d: %s", seed, s.bad)
			if failed++; failed > 5 {
				t.Fatal("and so on")
			}
			trace := "(its trace: the command above)"
			if failed == 1 {
				trace = strings.Join(simulateSeed(t, seed, true, nil).trace, "\n  ")
			}
			t.Errorf("seed %d: %s\nagain: make sim SEED=%d\n  %s", seed, s.bad, seed, trace)
		}
		progress.show(counts)
	}
	t.Log(counts)
	progress.end(counts)
}

// simProgress tells who has asked for a number of seeds how far it is.
type simProgress struct {
	start, shown time.Time
	of           uint64
}

func (p *simProgress) show(c simCounts) {
	now := time.Now()
	if *simSeeds == 0 || now.Sub(p.shown) < 5*time.Second {
		return
	}
	p.shown = now
	p.say("%d of %d seeds, %.0f/s", c.runs, p.of, float64(c.runs)/now.Sub(p.start).Seconds())
}

func (p *simProgress) end(c simCounts) {
	d := time.Since(p.start)
	p.say("%v in %v, %.0f seeds/s", c, d.Round(time.Millisecond), float64(c.runs)/d.Seconds())
}

func (p *simProgress) say(format string, args ...any) {
	if *simSeeds > 0 {
		fmt.Fprintf(os.Stderr, format+"\n", args...)
	}
}

func TestOneSeedIsOneSimulation(t *testing.T) {
	for seed := *simFirst; seed < *simFirst+max(simSeedsHere()/20, 1); seed++ {
		a, b := simulateSeed(t, seed, false, nil), simulateSeed(t, seed, true, nil)
		if a.bad != b.bad || a.hash != b.hash || a.counts != b.counts {
			t.Errorf("seed %d made two different runs: %q, %v and %q, %v", seed, a.bad, a.counts, b.bad, b.counts)
		}
	}
}
