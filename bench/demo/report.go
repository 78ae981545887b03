//go:build unix

package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"strings"
	"text/tabwriter"

	"example.com/fdpass/fastpass"
	"example.com/fdpass/internal/loopback"
)

// report is the result. What only the demo's own clients can tell is nil with --listen.
type report struct {
	Address     string   `json:"address"`
	Policy      string   `json:"policy"`
	Connections uint64   `json:"connections"`            // taken by workers
	Opened      *uint64  `json:"connections_opened"`     // by clients: as many
	Seconds     float64  `json:"seconds"`                // in which they came
	Rate        float64  `json:"connections_per_second"` // their quotient
	Answered    *uint64  `json:"requests_answered"`
	P50         *float64 `json:"p50_ms"`
	P99         *float64 `json:"p99_ms"`
	Max         *float64 `json:"max_ms"`

	Redelivered uint64 `json:"redelivered"`
	Broken      *int   `json:"broken"`
	Lost        int    `json:"lost"`
	Twice       int    `json:"delivered_twice"` // to two workers; must be 0
	Retried     int    `json:"retried"`

	Mallocs           *float64 `json:"mallocs_per_connection"` // nil: too few connections to tell
	SteadyMallocs     uint64   `json:"steady_mallocs"`
	SteadyConnections uint64   `json:"steady_connections"`
	SteadySeconds     float64  `json:"steady_seconds"`

	Killed  int `json:"killed"`
	Stopped int `json:"stopped"`
	Drained int `json:"drained"`

	Batches []batches      `json:"batches"`
	Workers []workerReport `json:"workers"`

	losses []string
}

// batches counts messages by how many connections they carried.
type batches struct {
	From     int    `json:"from"`
	To       int    `json:"to"`
	Messages uint64 `json:"messages"`
}

type workerReport struct {
	Number      int    `json:"worker"`
	Process     int    `json:"process"`
	Replaces    int    `json:"replaces,omitempty"`
	Connections uint64 `json:"connections"`
	Back        int    `json:"redelivered"` // taken back from it
	Fate        string `json:"fate"`
}

const fewest = 100 // connections from which on mallocs per connection mean something

func (f *front) report() *report {
	r := &report{
		Address: f.ln.Addr().String(), Policy: f.policy,
		Connections: f.delivered(), Seconds: round(f.ended.Sub(f.begun).Seconds(), 3),
		Redelivered:   f.pool.Stats().Redelivered,
		SteadyMallocs: f.steady.malloced, SteadyConnections: f.steady.connections, SteadySeconds: round(f.steady.seconds, 3),
	}
	var sizes fastpass.Histogram
	for _, w := range f.workers {
		s := w.link.Stats()
		for i, n := range s.SentBatches {
			sizes[i] += n
		}
		if w.told && w.served > s.Delivered {
			r.Twice += int(w.served - s.Delivered) // it has served them, but others were given them too
		}
		r.Workers = append(r.Workers, workerReport{w.number, w.cmd.Process.Pid, w.replaces, s.Delivered, w.back, w.fate()})
		switch {
		case w.killed:
			r.Killed++
		case errors.Is(w.leftFor, fastpass.ErrStalled):
			r.Stopped++
		case w.drained:
			r.Drained++
		}
	}
	for i, n := range sizes {
		r.Batches = append(r.Batches, batches{1 << i, min(2<<i-1, 253), n})
	}
	if s := &f.steady; s.connections >= fewest {
		r.Mallocs = new(round(float64(s.malloced)/float64(s.connections), 4))
	}
	if t := f.totals; t != nil {
		r.Seconds = round(t.Seconds, 3)
		r.Opened, r.Answered = &t.Opened, &t.Answered
		r.P50 = new(round(t.P50.Seconds()*1000, 3))
		r.P99 = new(round(t.P99.Seconds()*1000, 3))
		r.Max = new(round(t.Max.Seconds()*1000, 3))
	}
	if r.Seconds > 0 {
		r.Rate = round(float64(r.Connections)/r.Seconds, 1)
	}
	f.classify(r)
	return r
}

// classify says what became of the connections that got no answer.
func (f *front) classify(r *report) {
	// Accepted, and no worker would have them.
	for _, d := range f.pool.Undelivered() {
		fastpass.CloseFDs([]int{d.FD})
		if f.listen != "" {
			r.lose("%v was accepted and given to no worker", d)
		}
	}
	if f.listen != "" {
		if r.Killed == 0 {
			r.Broken = new(0)
		}
		return
	}
	owner := map[uint64]*worker{}
	for _, w := range f.workers {
		for _, client := range w.taken {
			if client != 0 && owner[client] != nil { // 0: not known
				r.Twice++
			}
			owner[client] = w
		}
	}
	r.Broken = new(0)
	for _, failed := range f.failures {
		switch w := owner[loopback.Label(failed.Client)]; {
		case w != nil && w.killed:
			*r.Broken++
		case failed.Retried:
			r.Retried++
		case w == nil:
			r.lose("%v, taken by no worker: %s", failed.Client, failed.Error)
		default:
			r.lose("%v, taken by worker %d: %s", failed.Client, w.number, failed.Error)
		}
	}
}

func (r *report) lose(format string, args ...any) {
	r.Lost++
	r.losses = append(r.losses, fmt.Sprintf(format, args...))
}

func round(v float64, digits int) float64 {
	scale := math.Pow10(digits)
	return math.Round(v*scale) / scale
}

func (r *report) writeJSON(w io.Writer) error {
	e := json.NewEncoder(w)
	e.SetIndent("", "  ")
	return e.Encode(r)
}

// writeTable writes the result for people.
func (r *report) writeTable(w io.Writer) error {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	row := func(name, format string, args ...any) { fmt.Fprintf(t, name+"\t"+format+"\n", args...) }
	row("\nconnections", "%d in %.1f s, %.0f per second", r.Connections, r.Seconds, r.Rate)
	if r.P50 != nil {
		row("latency", "p50 %.2f ms, p99 %.2f ms, max %.0f ms (connect to last byte, those of the stopped worker included)", *r.P50, *r.P99, *r.Max)
		row("requests answered", "%d", *r.Answered)
	}
	row("redelivered", "%d (taken back from workers, given to others)", r.Redelivered)
	if r.Broken != nil {
		row("broken", "%d (a killed worker had already taken them)", *r.Broken)
	} else {
		row("broken", "not known: only the clients can tell")
	}
	row("lost", "%d", r.Lost)
	if r.Twice > 0 {
		row("delivered twice", "%d", r.Twice)
	}
	if r.Retried > 0 {
		row("retried", "%d (kept alive, and closed by a worker that left)", r.Retried)
	}
	if r.Mallocs != nil {
		row("mallocs per connection", "%.4f (all of the front process: %d while %d connections passed in %.1f s)",
			*r.Mallocs, r.SteadyMallocs, r.SteadyConnections, r.SteadySeconds)
	}
	t.Flush()

	fmt.Fprintf(t, "\nworker\tprocess\tconnections\tredelivered\t\n")
	for _, k := range r.Workers {
		fmt.Fprintf(t, "%d\t%d\t%d\t%d\t%s", k.Number, k.Process, k.Connections, k.Back, k.Fate)
		if k.Replaces > 0 {
			fmt.Fprintf(t, " (in place of %d)", k.Replaces)
		}
		fmt.Fprintln(t)
	}
	t.Flush()

	fmt.Fprintf(t, "\nconnections per message\tmessages\t\n")
	var most uint64 = 1
	for _, b := range r.Batches {
		most = max(most, b.Messages)
	}
	for _, b := range r.Batches {
		size := fmt.Sprint(b.From)
		if b.To > b.From {
			size = fmt.Sprintf("%d to %d", b.From, b.To)
		}
		fmt.Fprintf(t, "%s\t%d\t%s\n", size, b.Messages, strings.Repeat("#", int((b.Messages*40+most-1)/most)))
	}
	err := t.Flush()

	const shown = 10
	for _, l := range r.losses[:min(len(r.losses), shown)] {
		fmt.Fprintln(w, "lost:", l)
	}
	if more := len(r.losses) - shown; more > 0 {
		fmt.Fprintln(w, "lost:", more, "more")
	}
	return err
}
