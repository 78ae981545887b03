package result

import (
	"os"
	"path/filepath"
	"reflect"
	"strconv"
	"strings"
	"testing"
)

var ns = Metric{Key: "ns", Name: "ns each", Digits: 1, Chart: true}

// sample is a small suite in which everything occurs that can: a limit, a winner that is not this library, one that is
// missing, one that cannot, and one that failed.
func sample() *Suite {
	return &Suite{
		Name: "sample", Title: "A sample", About: "What it is about.", Metrics: []Metric{ns, {Key: "rate", Name: "per second", More: true}},
		Run:   Run{Command: "make compare", Rounds: 3, Machine: Machine{CPU: "a processor", Cores: 2}},
		Cases: []Case{{"small, kept", "kept", "small", 1}, {"large, kept", "kept", "large", 100}, {"small, given", "given", "small", 1}},
		Contenders: []Contender{
			{Name: "C", Role: Limit, How: "in C"},
			{Name: "ours", Role: Own},
			{Name: "theirs", Role: Peer, Version: "1.2"},
			{Name: "absent", Role: Peer, Missing: "no package | none"},
			{Name: "check", Role: Check},
		},
		Cells: []Cell{
			{Case: "small, kept", Contender: "C", Figures: map[string]Figure{"ns": Of([]float64{10, 10, 10})}},
			{Case: "small, kept", Contender: "ours", Figures: map[string]Figure{"ns": Of([]float64{40, 20, 25}), "rate": Of([]float64{7})}},
			{Case: "small, kept", Contender: "theirs", Figures: map[string]Figure{"ns": Of([]float64{8, 5, 9}), "rate": Of([]float64{9})}},
			{Case: "small, kept", Contender: "check", Figures: map[string]Figure{"ns": Of([]float64{1})}},
			{Case: "large, kept", Contender: "C", Figures: map[string]Figure{"ns": Of([]float64{1000})}},
			{Case: "large, kept", Contender: "ours", Figures: map[string]Figure{"ns": Of([]float64{1234.56})}},
			{Case: "large, kept", Contender: "theirs", Unable: "by nature"},
			{Case: "small, given", Contender: "theirs", Failed: "broke"},
		},
		Verdicts: []string{"not so good"},
	}
}

func TestAFigureIsTheMedianWithQuartiles(t *testing.T) {
	for _, tc := range []struct {
		samples        []float64
		median, q1, q3 float64
	}{
		{nil, 0, 0, 0},
		{[]float64{7}, 7, 7, 7},
		{[]float64{4, 2}, 3, 2.5, 3.5},
		{[]float64{9, 1, 5}, 5, 3, 7},
		{[]float64{5, 4, 3, 2, 1}, 3, 2, 4},
		{[]float64{1, 1, 1, 100}, 1, 1, 25.75},
	} {
		f := Of(tc.samples)
		if f.Median != tc.median || f.Q1 != tc.q1 || f.Q3 != tc.q3 || !reflect.DeepEqual(f.Samples, tc.samples) {
			t.Errorf("%v: got %+v, want %v (%v to %v)", tc.samples, f, tc.median, tc.q1, tc.q3)
		}
	}
}

func TestValuesAreFormattedWithTheirDigits(t *testing.T) {
	for _, tc := range []struct {
		digits int
		v      float64
		want   string
	}{
		{0, 0, "0"},
		{0, 999.4, "999"},
		{0, 1234567, "1,234,567"},
		{0, -1234, "-1,234"},
		{0, -123, "-123"},
		{2, 1234.567, "1,234.57"},
	} {
		if got := (Metric{Digits: tc.digits}).Format(tc.v); got != tc.want {
			t.Errorf("%v with %d digits: %s, want %s", tc.v, tc.digits, got, tc.want)
		}
	}
}

func TestTheBestIsChosenByTheMetricsDirectionAndChecksAreNotContenders(t *testing.T) {
	s := sample()
	for _, tc := range []struct {
		m     Metric
		roles []Role
		want  string
	}{
		{s.Metrics[0], []Role{Limit, Own, Peer}, "theirs"},
		{s.Metrics[0], []Role{Limit, Own}, "C"},
		{s.Metrics[0], []Role{Own}, "ours"},
		{s.Metrics[1], []Role{Limit, Own, Peer}, "theirs"},
		{Metric{Key: "ns", More: true}, []Role{Limit, Own, Peer}, "ours"},
	} {
		if got, _, _ := s.Best("small, kept", tc.m, tc.roles...); got != tc.want {
			t.Errorf("best by %+v of %v: %s, want %s", tc.m, tc.roles, got, tc.want)
		}
	}
}

func TestRatiosAreOfTheSameRoundAndAboveOneIsBetter(t *testing.T) {
	s := sample()
	r, ok := s.Ratio("small, kept", ns, "ours", "C")
	if want := []float64{0.25, 0.5, 0.4}; !ok || !reflect.DeepEqual(r.Samples, want) || r.Median != 0.4 {
		t.Errorf("less is better: %+v, want %v", r, want)
	}
	r, ok = s.Ratio("small, kept", Metric{Key: "ns", More: true}, "ours", "C")
	if want := []float64{4, 2, 2.5}; !ok || !reflect.DeepEqual(r.Samples, want) {
		t.Errorf("more is better: %+v, want %v", r, want)
	}
	if _, ok := s.Ratio("large, kept", ns, "ours", "theirs"); ok {
		t.Error("a ratio to what was not measured")
	}
}

func TestTheTablesHideNobody(t *testing.T) {
	var b strings.Builder
	sample().markdown(&b)
	for _, want := range []string{
		// who wins, though it is not this library, with its ratio to the limit and to the best peer
		"| small, kept | **theirs** | 8.0 | ours | 25.0 | 0.40 (0.33 to 0.45) | theirs | 8.0 | 0.25 (0.23 to 0.30) |\n",
		"| large, kept | **C** | 1,000.0 | ours | 1,234.6 | 0.81 (0.81 to 0.81) | – | – | – |\n",
		"| small, given | nobody was measured |",
		// the matrix of the group
		"|  | small | large |\n|---|---:|---:|\n| C | 10.0 (10.0–10.0) | **1,000.0** |\n| ours | 25.0 (22.5–32.5) | 1,234.6 |\n" +
			"| theirs | **8.0 (6.5–8.5)** | – |\n| absent | missing | missing |\n| *check* | 1.0 | – |\n",
		// all metrics, the best of each in bold
		"|  | ns each | per second |\n|---|---:|---:|\n| C | 10.0 (10.0–10.0) | – |\n| ours | 25.0 (22.5–32.5) | 7 |\n| theirs | **8.0 (6.5–8.5)** | **9** |\n",
		"| theirs | failed |",
		"**Failed**: theirs at small, given: broke",
		`| absent |  | **missing**: no package \| none |`,
		"![Kept](sample-kept-ns.svg)",
		"- not so good",
		"a processor, 2 cores",
	} {
		if !strings.Contains(b.String(), want) {
			t.Errorf("not in the tables: %q", want)
		}
	}
	if t.Failed() {
		t.Log(b.String())
	}
}

func TestTheRecordCanBeReadBack(t *testing.T) {
	dir := t.TempDir()
	want := sample()
	if err := want.WriteJSON(dir); err != nil {
		t.Fatal(err)
	}
	got, err := ReadJSON(dir, "sample")
	if err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("got %+v (%v), want %+v", got, err, want)
	}
}

func TestPlotsShowEverybodyWhoWasMeasured(t *testing.T) {
	dir := t.TempDir()
	s := sample()
	if err := s.WritePlots(dir); err != nil {
		t.Fatal(err)
	}
	svg, err := os.ReadFile(filepath.Join(dir, "sample-kept-ns.svg"))
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"<svg", "A sample: kept", ">C<", ">ours<", ">theirs<", ">small<", ">large<"} {
		if !strings.Contains(string(svg), name) {
			t.Errorf("%s is not in the plot", name)
		}
	}
	if strings.Contains(string(svg), "absent") {
		t.Error("who was not measured is in the plot")
	}
	if _, err := os.Stat(filepath.Join(dir, "sample-given-ns.svg")); err == nil {
		t.Error("a plot of nothing")
	}
	// Bare numbers need to be told what they count.
	if strings.Contains(string(svg), ">kept<") {
		t.Error("the axis has a name, though its labels say what they are")
	}
	for i := range s.Cases {
		s.Cases[i].Label = strconv.Itoa(i)
	}
	if err := s.WritePlots(dir); err != nil {
		t.Fatal(err)
	}
	if svg, err = os.ReadFile(filepath.Join(dir, "sample-kept-ns.svg")); err != nil || !strings.Contains(string(svg), ">kept<") {
		t.Errorf("the axis does not say what its numbers count (%v)", err)
	}
	// Without an X there are marks side by side.
	for i := range s.Cases {
		s.Cases[i].X = 0
	}
	if err := s.WritePlots(dir); err != nil {
		t.Fatal(err)
	}
}

func TestOnlyWhatStandsBetweenTheMarkersIsReplaced(t *testing.T) {
	for _, tc := range []struct{ text, want, fails string }{
		{"a\n" + begin + "\nold\n" + end + "\nb\n", "a\n" + begin + "\nnew\n" + end + "\nb\n", ""},
		{begin + "\n" + end, begin + "\nnew\n" + end, ""},
		{"a\n", "", begin},
		{end + "\n" + begin + "\n", "", end},
	} {
		got, err := between(tc.text, "new\n")
		if got != tc.want || (err == nil) != (tc.fails == "") || err != nil && !strings.Contains(err.Error(), tc.fails) {
			t.Errorf("%q: got %q, %v", tc.text, got, err)
		}
	}
}

func TestTheReadmeGetsTheFirstTablesOfEachRecord(t *testing.T) {
	dir := t.TempDir()
	readme := filepath.Join(dir, "README.md")
	if err := os.WriteFile(readme, []byte("before\n"+begin+"\n"+end+"\nafter\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := RefreshReadme(readme, dir); err == nil {
		t.Error("no error without results")
	}
	for _, name := range []string{"pass", "roundtrip"} {
		s := sample()
		s.Name, s.Title = name, "Suite "+name
		if err := s.WriteJSON(dir); err != nil {
			t.Fatal(err)
		}
	}
	if err := RefreshReadme(readme, dir); err != nil {
		t.Fatal(err)
	}
	text, _ := os.ReadFile(readme)
	if strings.Contains(string(text), "*check*") {
		t.Error("what is only a check is in the README")
	}
	if strings.Contains(string(text), "Suite roundtrip: given") {
		t.Error("more than the first table of roundtrip is in the README")
	}
	for _, want := range []string{"before\n", "after\n", "**Suite pass: kept**", "**Suite pass: given**", "**Suite roundtrip: kept**", "| theirs | **8.0 (6.5–8.5)** | – |", "a processor"} {
		if !strings.Contains(string(text), want) {
			t.Errorf("%q is not in the README:\n%s", want, text)
		}
	}
}

func TestAVerdictSaysWhetherTheRoundsAgree(t *testing.T) {
	for _, c := range []struct {
		samples         []float64
		atLeast, atMost string
	}{
		{[]float64{1.1, 1.2, 1.3}, "met", "**not met**"},
		{[]float64{0.7, 0.8, 0.9}, "**not met**", "met"},
		{[]float64{0.8, 1.05, 1.1, 0.9, 1.2}, "met (undecided: the quartiles lie on both sides)", "**not met** (undecided: the quartiles lie on both sides)"},
	} {
		f := Of(c.samples)
		if got := f.AtLeast(1); got != c.atLeast {
			t.Errorf("%v: at least 1 is %s, want %s", c.samples, got, c.atLeast)
		}
		if got := f.AtMost(1); got != c.atMost {
			t.Errorf("%v: at most 1 is %s, want %s", c.samples, got, c.atMost)
		}
	}
}

func TestAQuotientIsThatOfEachRound(t *testing.T) {
	f := Quotient(Of([]float64{2, 9, 4}), Of([]float64{1, 3, 4, 7}))
	if f.Median != 2 || len(f.Samples) != 3 {
		t.Errorf("%+v", f)
	}
	if f := Quotient(Of([]float64{2}), Of([]float64{0})); len(f.Samples) != 0 {
		t.Errorf("by zero: %+v", f)
	}
}
