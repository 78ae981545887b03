//go:build linux && sim

package fastpass

import (
	"flag"
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"

	"example.com/fdpass/internal/sys"
)

var (
	simSeeds = flag.Int("sim.seeds", 300, "how many seeds to run the simulation with; a third of it under -race")
	simSeed  = flag.Uint64("sim.seed", 0, "the first seed; with -sim.seeds=1 the only one")
)

func init() {
	flag.Func("sim.hard", "faults that links do not survive yet: consume, latch, cut, write, separated by commas", func(v string) error {
		for _, name := range strings.Split(v, ",") {
			on := map[string]*bool{
				"consume": &simHard.consume, "latch": &simHard.latch, "cut": &simHard.cut, "write": &simHard.write,
			}[name]
			if on == nil {
				return fmt.Errorf("no fault %q", name)
			}
			*on = true
		}
		return nil
	})
}

// simulate runs one seed in a bubble of its own. It returns what the oracle did not like, and a number that is the same for
// the same run.
func simulate(t *testing.T, seed uint64, wrap func(*simEnd, sys.Kernel) sys.Kernel) (bad string, hash uint64) {
	t.Helper()
	synctest.Test(t, func(*testing.T) {
		s := newSim(seed)
		s.wrap = wrap
		bad = s.run()
		for _, l := range s.links {
			hash = hash*31 + l.a.hash*7 + l.b.hash
		}
		hash = hash*31 + uint64(len(s.steps))
	})
	return bad, hash
}

// simKnown are bugs that wait to be mended: runs that meet them are counted and end there.
var simKnown = []string{
	// A Both end that has no room when it says HELLO offers credit later, also to a peer that only receives.
	"protocol error: ACK to an end that only receives",
}

func known(bad string) bool {
	what, _, _ := strings.Cut(bad, "\n")
	return slices.ContainsFunc(simKnown, func(k string) bool { return strings.Contains(what, k) })
}

func seeds() (first uint64, n int) {
	n = *simSeeds
	if raceEnabled && *simSeed == 0 {
		n /= 3
	}
	return max(*simSeed, 1), n
}

func TestNothingIsLostInTheSimulation(t *testing.T) {
	first, n := seeds()
	failed, met := 0, 0
	for seed := first; seed < first+uint64(n); seed++ {
		if bad, _ := simulate(t, seed, nil); known(bad) {
			met++
		} else if bad != "" {
			if failed++; failed > 5 {
				t.Fatal("and so on")
			}
			what, trace, _ := strings.Cut(bad, "\n")
			if n > 1 && failed > 1 {
				trace = ""
			}
			t.Errorf("seed %d (again: go test ./fastpass -run Simulation -sim.seeds=1 -sim.seed=%d): %s\n%s", seed, seed, what, trace)
		}
	}
	if met > 0 {
		t.Logf("%d of %d runs met a known bug", met, n)
	}
}

func TestOneSeedIsOneSimulation(t *testing.T) {
	for seed := uint64(1); seed <= 40; seed++ {
		bad1, hash1 := simulate(t, seed, nil)
		bad2, hash2 := simulate(t, seed, nil)
		if bad1 != bad2 || hash1 != hash2 {
			t.Errorf("seed %d made two different runs", seed)
		}
	}
}
