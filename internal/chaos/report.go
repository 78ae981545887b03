//go:build linux

package main

import (
	"fmt"
	"io"
	"text/tabwriter"
	"time"
)

// report is what came out.
type report struct {
	*controller
	counts [leaked + 1]uint64
	cases  []verdict
}

func (c *controller) report() *report {
	counts, _ := c.books.counts()
	return &report{controller: c, counts: counts, cases: c.books.cases}
}

// failed reports whether chaos has found anything.
func (r *report) failed() bool {
	return r.counts[lost] > 0 || r.counts[doubled] > 0 || r.counts[leaked] > 0 || len(r.failures) > 0
}

const shownCases = 50

// write writes the cases and the table. The last line is always the same if nothing was found.
func (r *report) write(w io.Writer) {
	for _, v := range r.cases[:min(len(r.cases), shownCases)] {
		fmt.Fprintf(w, "%v: %s\n  %s\n", v.finding, v.why, v.story)
		for _, id := range v.workers {
			fmt.Fprintf(w, "  worker %d:\n", id)
			for _, event := range r.lives[id] {
				fmt.Fprintf(w, "    %s\n", event)
			}
		}
	}
	if more := len(r.cases) - shownCases; more > 0 {
		fmt.Fprintf(w, "and %d more cases\n", more)
	}
	if r.failed() {
		fmt.Fprintln(w, "the front:")
		for _, event := range r.lives[0] {
			fmt.Fprintf(w, "    %s\n", event)
		}
	}
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintf(t, "\nseed\t%d\n", r.seed)
	fmt.Fprintf(t, "time\t%v\n", time.Since(r.begun).Round(time.Second))
	fmt.Fprintf(t, "passed\t%d\n", r.counts[passed])
	fmt.Fprintf(t, "redelivered\t%d\n", r.back)
	fmt.Fprintf(t, "broken\t%d\n", r.counts[broken])
	fmt.Fprintf(t, "workers\t%d\n", r.born)
	for _, f := range faults {
		fmt.Fprintf(t, "fault: %s\t%d\n", f.name, r.injected[f.name])
	}
	fmt.Fprintf(t, "lost\t%d\ndoubled\t%d\nleaked\t%d\n", r.counts[lost], r.counts[doubled], r.counts[leaked])
	t.Flush()
	fmt.Fprintf(w, "\nlost %d doubled %d leaked %d\n", r.counts[lost], r.counts[doubled], r.counts[leaked])
	for _, f := range r.failures {
		fmt.Fprintln(w, "FAILED:", f)
	}
}
