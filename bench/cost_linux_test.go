package bench

import (
	"bytes"
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"runtime/pprof"
	"strings"
	"testing"
	"text/tabwriter"
	"time"

	"example.com/fdpass/internal/profiles"

	"github.com/google/pprof/profile"
)

var profileDir = flag.String("profiles", "", "BenchmarkPass: write CPU profiles of both processes into this directory, and report what they cost")

// profiled are the benchmarks that have left profiles, in order.
var profiled []run

type run struct {
	name        string
	profile     string // setup.Profile
	descriptors int
}

// profileOf returns where the profiles of a benchmark go, and notes it for the report. A benchmark runs several times,
// longer each time; the last run's profiles stay.
func profileOf(b *testing.B) string {
	if *profileDir == "" {
		return ""
	}
	name := strings.TrimPrefix(b.Name(), "Benchmark")
	r := run{name, filepath.Join(*profileDir, strings.NewReplacer("/", ",", "=", "-").Replace(name)), b.N}
	if last := len(profiled) - 1; last >= 0 && profiled[last].name == name {
		profiled = profiled[:last]
	}
	profiled = append(profiled, r)
	return r.profile
}

// startProfile begins the CPU profile of one end, which the returned function writes.
func (s setup) startProfile(end string) (stop func() error, err error) {
	if s.Profile == "" {
		return func() error { return nil }, nil
	}
	if err := os.MkdirAll(filepath.Dir(s.Profile), 0o755); err != nil {
		return nil, err
	}
	f, err := os.Create(s.profileFile(end))
	if err != nil {
		return nil, err
	}
	if err := pprof.StartCPUProfile(f); err != nil {
		f.Close()
		return nil, err
	}
	return func() error {
		pprof.StopCPUProfile()
		return f.Close()
	}, nil
}

func (s setup) profileFile(end string) string { return s.Profile + "." + end + ".prof" }

// reportCosts writes what the profiled benchmarks cost, per descriptor.
func reportCosts() (string, error) {
	if *profileDir != "" && len(profiled) == 0 {
		return "", errors.New("no benchmark that can be profiled has run: only BenchmarkPass can")
	}
	var text bytes.Buffer
	for _, r := range profiled {
		s := setup{Profile: r.profile}
		var costs [2]profiles.Cost
		for i, end := range []string{"sender", "receiver"} {
			c, err := readCost(s.profileFile(end))
			if err != nil {
				return "", err
			}
			costs[i] = c
		}
		fmt.Fprintf(&text, "\n%s: processor time in ns per descriptor, of %d; %d and %d samples\n", r.name, r.descriptors,
			costs[0].Samples, costs[1].Samples)
		costTable(&text, costs[0], costs[1], r.descriptors)
		fmt.Fprintf(&text, "profiles: %s.{sender,receiver}.prof\n", r.profile)
	}
	return text.String(), nil
}

func readCost(file string) (profiles.Cost, error) {
	f, err := os.Open(file)
	if err != nil {
		return profiles.Cost{}, err
	}
	defer f.Close()
	p, err := profile.Parse(f)
	if err != nil {
		return profiles.Cost{}, err
	}
	return profiles.CostOf(p)
}

// mostLines is how many of the dearest lines of each end are shown.
const mostLines = 8

func costTable(text *bytes.Buffer, sender, receiver profiles.Cost, descriptors int) {
	w := tabwriter.NewWriter(text, 0, 0, 2, ' ', 0)
	cell := func(c profiles.Cost, d time.Duration) string {
		return fmt.Sprintf("%8.1f\t%3.0f%%", float64(d.Nanoseconds())/float64(descriptors), 100*float64(d)/float64(max(1, c.Total)))
	}
	fmt.Fprintln(w, "\t  sender\t\treceiver\t")
	for _, p := range profiles.Parts {
		fmt.Fprintf(w, "%s\t%s\t%s\n", p, cell(sender, sender.Parts[p]), cell(receiver, receiver.Parts[p]))
	}
	fmt.Fprintf(w, "all\t%s\t%s\n", cell(sender, sender.Total), cell(receiver, receiver.Total))
	w.Flush()
	for _, end := range []struct {
		name string
		cost profiles.Cost
	}{{"sender", sender}, {"receiver", receiver}} {
		fmt.Fprintf(w, "%s's system calls\t\t\n", end.name)
		for _, l := range end.cost.Calls[:min(len(end.cost.Calls), mostLines)] {
			fmt.Fprintf(w, "  %s\t%s\n", l.Where, cell(end.cost, l.Time))
		}
		fmt.Fprintf(w, "%s's lines, without them\t\t\n", end.name)
		for _, l := range end.cost.Lines[:min(len(end.cost.Lines), mostLines)] {
			fmt.Fprintf(w, "  %s\t%s\n", l.Where, cell(end.cost, l.Time))
		}
	}
	w.Flush()
}
