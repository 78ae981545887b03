package growth

import (
	"os"
	"strconv"
	"strings"
	"testing"

	"example.com/fdpass/bench/compare/result"
	"example.com/fdpass/bench/compare/role"
	"example.com/fdpass/bench/compare/suite/suitetest"
	"example.com/fdpass/internal/leak"
)

func TestMain(m *testing.M) {
	role.Main()
	os.Exit(leak.Run(m))
}

// Every descriptor arrives, whatever there is more of.
func TestEveryDimensionIsMeasured(t *testing.T) { suitetest.Run(t, Suite(), "ns") }

func TestEveryQueueMovesAll(t *testing.T) { suitetest.Run(t, Rings(), "ns") }

// A line that falls at first may rise behind that, which is what growing is about.
func TestWhatRisesBehindAFallIsSaid(t *testing.T) {
	for want, ns := range map[string][]float64{
		"flat.": {100, 120, 110},
		"from 0.20× to 1.00× of the first (0.20× to 1.00× by the clock), the C limit from 0.20× to 1.00×: **not flat**, 1.50× dearer than with less of it (the limit 1.50×)": {1000, 200, 300},
		"**not flat**, but nowhere dearer than with less of it": {1000, 300, 310},
		"**not flat**, 3.00× dearer":                            {100, 200, 300},
	} {
		r := &result.Suite{Contenders: []result.Contender{{Name: limitName, Role: result.Limit}, {Name: "ours", Role: result.Own}}}
		for i, n := range ns {
			name := strconv.Itoa(i)
			r.Cases = append(r.Cases, result.Case{Name: name, Group: "g"})
			for _, c := range r.Contenders {
				r.Cells = append(r.Cells, result.Cell{Case: name, Contender: c.Name, Figures: map[string]result.Figure{
					cpuEach.Key: result.Of([]float64{n}), perDescriptor.Key: result.Of([]float64{n}),
				}})
			}
		}
		if got := verdicts(r); len(got) != 1 || !strings.Contains(got[0], want) {
			t.Errorf("%v: got %q, want %q", ns, got, want)
		}
	}
}
