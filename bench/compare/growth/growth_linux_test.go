package growth

import (
	"os"
	"slices"
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
func TestRiseAndFallAreSaidApart(t *testing.T) {
	for _, line := range []struct {
		ns   []float64
		want []string
	}{
		{[]float64{100, 120, 110}, []string{"g, ours: 1 is 1.20 (1.20 to 1.20) times as dear as 0, in the C limit 1.20 (1.20 to 1.20); the target, 1.3, is met.", "1 is 1.09 (1.09 to 1.09) times as dear as 2"}},
		{[]float64{1000, 200, 300}, []string{"2 is 1.50 (1.50 to 1.50) times as dear as 1", "0 is 5.00 (5.00 to 5.00) times as dear as 1"}},
		{[]float64{100, 200, 300}, []string{"2 is 3.00 (3.00 to 3.00) times as dear as 0, in the C limit 3.00 (3.00 to 3.00); the target, 1.3, is **not met**: why is not known."}},
		{[]float64{300, 200, 200}, []string{"0 is 1.50 (1.50 to 1.50) times as dear as 1"}},
		{[]float64{100, 100}, nil},
	} {
		r := &result.Suite{Contenders: []result.Contender{{Name: limitName, Role: result.Limit}, {Name: "ours", Role: result.Own}}}
		for i, n := range line.ns {
			name := strconv.Itoa(i)
			r.Cases = append(r.Cases, result.Case{Name: name, Label: name, Group: "g"})
			for _, c := range r.Contenders {
				r.Cells = append(r.Cells, result.Cell{Case: name, Contender: c.Name, Figures: map[string]result.Figure{cpuEach.Key: result.Of([]float64{n})}})
			}
		}
		got := verdicts(r)
		if !slices.EqualFunc(got, line.want, strings.Contains) {
			t.Errorf("%v: got %q, want %q", line.ns, got, line.want)
		}
	}
}

// A quick run has fewer workers, and fewer of the rest, than a full one.
func TestReasonsHoldWhateverTheCases(t *testing.T) {
	for group, r := range reasons {
		if text := r.rise + r.fall; strings.ContainsAny(text, "0123456789") && !strings.HasPrefix(text, "253 ") { // which are dispatched in any run
			t.Errorf("%s names a number: %s", group, text)
		}
	}
}
