package bench

import (
	"bytes"
	"fmt"
	"slices"
	"strings"
	"testing"
	"text/tabwriter"
	"time"

	"example.com/fdpass/fastpass"
)

// A sample is one measurement, per descriptor in ns.
type sample struct{ wall, sender, receiver float64 }

// A path is one way through the library, or the C program's, and its samples.
type path struct {
	name    string // in the metric
	batch   int
	give    bool
	measure func(n int) (sample, error)
	samples []sample
}

// ofLimit is the last table, which TestMain prints: a benchmark's own log is cut after ten lines.
var ofLimit string

// BenchmarkRatio measures what share of the kernel's own rate the library reaches. The C program and the library take
// turns within each round, so what else the machine does hits all alike; each ratio is of one round, and the
// medians over all rounds are reported (-rounds, -descriptors), 1.00 being the limit.
//
// The time is wall clock; beside it stand the CPU times of the two processes, which tell which one is the bottleneck.
func BenchmarkRatio(b *testing.B) {
	needLimit(b)
	var groups [][]*path
	for _, batch := range []int{253, 1} {
		for _, give := range []bool{false, true} {
			if strings.HasSuffix(name("", batch, give), *only) {
				groups = append(groups, pathsOf(b, batch, give))
			}
		}
	}
	if len(groups) == 0 {
		b.Fatalf("-only %s is the end of no group's name", *only)
	}
	b.ResetTimer()
	for range *rounds {
		for _, paths := range groups {
			for _, p := range paths {
				n := *perRound
				if p.batch == 1 {
					n /= 5
				}
				s, err := p.measure(n)
				if err != nil {
					b.Fatalf("%s: %v", p.name, err)
				}
				p.samples = append(p.samples, s)
			}
		}
	}
	b.StopTimer()
	ofLimit = table(groups)
	for _, paths := range groups {
		for _, p := range paths[1:] {
			b.ReportMetric(median(ratios(paths[0], p)), p.name+"-of-limit")
		}
	}
	b.ReportMetric(0, "ns/op")
}

// pathsOf returns the C program first, and then the library's protocols, each over a link that stays for all rounds.
func pathsOf(b *testing.B, batch int, give bool) []*path {
	c := func(n int) (sample, error) {
		r, err := runLimit(b.Context(), batch, n, give)
		return sample{r.NsPerDescriptor, r.SenderCPUNs, r.ReceiverCPUNs}, err
	}
	paths := []*path{{name: name("C", batch, give), batch: batch, give: give, measure: c}}
	sizes := []int{batch}
	if batch == 1 {
		sizes = []int{auto, 1} // one at a time in the caller's eyes, and on the wire
	}
	for _, size := range sizes {
		for _, protocol := range []fastpass.Protocol{fastpass.Bare, fastpass.Framed} {
			l := newLink(b, of(protocol, size, give), give)
			measure := func(n int) (sample, error) {
				r, err := l.pass(n)
				each := func(d time.Duration) float64 { return float64(d.Nanoseconds()) / float64(n) }
				return sample{each(r.wall), each(r.sender.CPU), each(r.receiver.CPU)}, err
			}
			paths = append(paths, &path{name: name(protocol.String(), size, give), batch: batch, give: give, measure: measure})
		}
	}
	return paths
}

func name(what string, batch int, give bool) string {
	return fmt.Sprintf("%s-%s-%s", what, batchName(batch), ownership(give))
}

func table(groups [][]*path) string {
	var text bytes.Buffer
	w := tabwriter.NewWriter(&text, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(w, "path\tns/descriptor\tof the limit\tquartiles\tsender CPU ns\treceiver CPU ns\tbusier side, of C's\t")
	for _, paths := range groups {
		for i, p := range paths {
			fmt.Fprintf(w, "%s\t%.0f\t", p.name, p.median(func(s sample) float64 { return s.wall }))
			if i == 0 {
				fmt.Fprint(w, "\t\t")
			} else {
				r := ratios(paths[0], p)
				fmt.Fprintf(w, "%.2f\t%.2f to %.2f\t", median(r), quantile(r, 0.25), quantile(r, 0.75))
			}
			fmt.Fprintf(w, "%.0f\t%.0f\t", p.median(func(s sample) float64 { return s.sender }),
				p.median(func(s sample) float64 { return s.receiver }))
			if i > 0 {
				fmt.Fprintf(w, "%.2f", paths[0].median(sample.busier)/p.median(sample.busier))
			}
			fmt.Fprintln(w, "\t")
		}
	}
	w.Flush()
	return text.String()
}

func (s sample) busier() float64 { return max(s.sender, s.receiver) }

func (p *path) median(of func(sample) float64) float64 {
	var v []float64
	for _, s := range p.samples {
		v = append(v, of(s))
	}
	return median(v)
}

// ratios are the rates of p as shares of those of limit, round by round.
func ratios(limit, p *path) (r []float64) {
	for i := range p.samples {
		r = append(r, limit.samples[i].wall/p.samples[i].wall)
	}
	return r
}

func median(v []float64) float64 { return quantile(v, 0.5) }

// quantile interpolates between the two nearest.
func quantile(v []float64, q float64) float64 {
	v = slices.Sorted(slices.Values(v))
	at := q * float64(len(v)-1)
	i := int(at)
	if i+1 == len(v) {
		return v[i]
	}
	return v[i] + (at-float64(i))*(v[i+1]-v[i])
}
