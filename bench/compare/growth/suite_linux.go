package growth

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
	"syscall"
	"time"

	"example.com/fdpass/bench/compare/peer"
	"example.com/fdpass/bench/compare/result"
	"example.com/fdpass/bench/compare/role"
	"example.com/fdpass/bench/compare/suite"
	"example.com/fdpass/bench/limit"
	"example.com/fdpass/fastpass"
)

const about = `Does a descriptor cost more when there is more of something? Connections that the sender keeps go from one process to
another, which closes them, in full messages, 8 per system call, and one thing at a time is made larger:

- *in flight*: one process sends so many and then receives them, turn about, so that they all lie in the window and in the socket
  before the first one is taken. With few, few share a system call.
- *open descriptors* in both processes, besides those that are passed.
- *payload bytes* with each descriptor. C sends as many bytes, and as many descriptors per message as share a frame here.
- *workers*, a process each, behind a pool that is given 253 at a time, as from accept. In C each gets its share of 253 as one
  message. The more workers, the smaller the messages, and the more processes there are to wake.
- *goroutines* that send one by one over one link. C has none.

What a descriptor costs is the processor time of all processes together; the time by the clock, which is the shorter the better they
work side by side, depends on what else the machine does.`

var (
	cpuEach       = result.Metric{Key: "cpu", Name: "CPU ns per descriptor", Chart: true}
	perDescriptor = result.Metric{Key: "ns", Name: "ns per descriptor by the clock", Chart: true}
)

// dimension is what is made larger.
type dimension struct {
	name   string
	values []int
	quick  int // beside the first one
	work   func(n int) work
}

var dimensions = []dimension{
	{"in flight", []int{10, 100, 1000, 4000, 16000}, 16000, func(n int) work { return work{InFlight: n} }},
	{"open descriptors", []int{100, 1000, 4000, 0}, 0, func(n int) work { return work{Open: n} }},
	{"payload bytes", []int{0, 16, 64, 256, 1024, 4096}, 4096, func(n int) work { return work{Payload: n} }},
	{"workers", []int{1, 4, 16, 64}, 16, func(n int) work { return work{Workers: n} }},
	{"goroutines", []int{1, 4, 16, 64}, 64, func(n int) work { return work{Goroutines: n} }},
}

// Suite measures how cost grows.
func Suite() *suite.Suite {
	return &suite.Suite{
		Name: "growth", Title: "How cost grows", About: about,
		Metrics: []result.Metric{cpuEach, perDescriptor},
		Cases:   cases,
		Each:    300 * time.Millisecond, Quick: 30 * time.Millisecond,
		Contenders: []suite.Contender{
			theLimit(),
			own("fastpass Bare", task{Protocol: fastpass.Bare, Policy: "RoundRobin"}),
			own("fastpass Framed", task{Protocol: fastpass.Framed, Policy: "RoundRobin"}),
			own("fastpass Framed, LeastLoaded", task{Protocol: fastpass.Framed, Policy: "LeastLoaded"}),
			own("fastpass Framed, Hash", task{Protocol: fastpass.Framed, Policy: "Hash"}),
		},
		Verdicts: verdicts,
	}
}

func cases(quick bool) (all []suite.Case) {
	for _, d := range dimensions {
		values := d.values
		if quick {
			values = []int{values[0], d.quick}
		}
		for _, n := range values {
			if d.name == "open descriptors" && n == 0 {
				n = mostOpen()
			}
			label := strconv.Itoa(n)
			all = append(all, suite.Case{
				Case: result.Case{Name: label + " " + d.name, Group: d.name, Label: label, X: float64(max(1, n))},
				Work: d.work(n),
			})
		}
	}
	return all
}

// mostOpen is how many descriptors a process may have open besides what the work itself takes.
func mostOpen() int {
	var r syscall.Rlimit
	_ = syscall.Getrlimit(syscall.RLIMIT_NOFILE, &r)
	const most, itself = 1 << 20, 2*limit.Sockets + 900 // connections with both ends, and the rest
	return max(100, (int(min(r.Max, most))-itself)/1000*1000)
}

func own(name string, t task) suite.Contender {
	return suite.Contender{
		Name: name, Role: result.Own,
		How: fmt.Sprintf("SendBatch; Send from goroutines; Pool.Dispatch with %s to workers", t.Policy),
		Measure: func(ctx context.Context, c suite.Case, d time.Duration) (suite.Sample, error) {
			t := t
			t.work, t.For = c.Work.(work), d
			switch {
			case t.Workers == 0 && t.Policy != "RoundRobin":
				return nil, suite.Unable("a policy is for workers")
			case t.Payload > 0 && t.Protocol == fastpass.Bare:
				return nil, suite.Unable("a Bare message has one payload")
			}
			return measure(ctx, &t)
		},
	}
}

// measure has another process do the work.
func measure(ctx context.Context, t *task) (suite.Sample, error) {
	cmd, err := role.TaskCommand(ctx, "growth: pass", t)
	if err != nil {
		return nil, err
	}
	var said bytes.Buffer
	cmd.Stderr = &said
	out, err := cmd.Output()
	if err != nil {
		return nil, fmt.Errorf("%w: %s", err, strings.TrimSpace(said.String()))
	}
	var o outcome
	if err := json.Unmarshal(out, &o); err != nil {
		return nil, err
	}
	n := float64(o.N)
	return suite.Sample{perDescriptor.Key: float64(o.Elapsed) / n, cpuEach.Key: float64(o.CPU) / n}, nil
}

func theLimit() suite.Contender {
	known := map[string]float64{} // what a case costs, to choose how many to pass
	return suite.Contender{
		Name: limitName, Role: result.Limit, How: "bench/limit: sendmmsg, recvmmsg and close_range",
		Prepare: func(ctx context.Context, _ *peer.Shop) (string, error) {
			if _, err := limit.Build(ctx); err != nil {
				return "", err
			}
			return peer.VersionOfC(ctx)
		},
		Measure: func(ctx context.Context, c suite.Case, d time.Duration) (suite.Sample, error) {
			w := c.Work.(work)
			if w.Goroutines > 0 {
				return nil, suite.Unable("C has no goroutines")
			}
			o := w.limit()
			if known[c.Name] == 0 {
				o.Total = int64(max(20_000, w.InFlight))
				r, err := limit.Run(ctx, o)
				if err != nil {
					return nil, err
				}
				known[c.Name] = r.NsPerDescriptor
			}
			o.Total = max(1, int64(float64(d)/known[c.Name]))
			r, err := limit.Run(ctx, o)
			if err != nil {
				return nil, err
			}
			known[c.Name] = r.NsPerDescriptor
			return suite.Sample{perDescriptor.Key: r.NsPerDescriptor, cpuEach.Key: r.SenderCPUNs + r.ReceiverCPUNs}, nil
		},
	}
}

const limitName = "C limit"

// flat is how much more a descriptor may cost at most in one case of a group than in another.
const flat = 1.3

// reasons say why a line is not flat: what more of something, or less, has the kernel do.
var reasons = map[string]string{
	"in flight": "of ten in flight a few share the system calls and the wake-ups, of many many do",
	"payload bytes": "the kernel copies the bytes in and out, and a message holds fewer descriptors; the library has copied them " +
		"before, for the caller may use its own again",
	"open descriptors": "with less than a quarter of the table free a Bare receiver looks at each message before it takes it, and takes one at a time",
	"goroutines":       "one that sends one by one often finds nobody else at it, and makes a message of one descriptor; of several more merge",
	"workers":          "253 among 64 workers are 64 messages of 4, and 64 processes to wake on the processors that there are",
}

// verdicts say of every line whether it is flat.
func verdicts(r *result.Suite) (all []string) {
	for _, g := range r.Groups() {
		for _, c := range r.Contenders {
			if own, ok := lineOf(r, g, c.Name, cpuEach); ok && c.Role == result.Own {
				all = append(all, verdict(r, g, c.Name, own))
			}
		}
	}
	return all
}

func verdict(r *result.Suite, group, contender string, own line) string {
	clock, _ := lineOf(r, group, contender, perDescriptor)
	text := fmt.Sprintf("%s, %s: from %.2f× to %.2f× of the first (%.2f× to %.2f× by the clock)",
		group, contender, own.least, own.most, clock.least, clock.most)
	limit, known := lineOf(r, group, limitName, cpuEach)
	if known {
		text += fmt.Sprintf(", the C limit from %.2f× to %.2f×", limit.least, limit.most)
	}
	if own.spread() <= flat {
		return text + ": flat."
	}
	text += ": **not flat**"
	if own.rise <= flat {
		text += ", but nowhere dearer than with less of it"
	} else {
		text += fmt.Sprintf(", %.2f× dearer than with less of it", own.rise)
		if known {
			text += fmt.Sprintf(" (the limit %.2f×)", limit.rise)
		}
	}
	if known && own.spread() <= flat*limit.spread() {
		text += fmt.Sprintf(", within %.1f× of the limit's own growth", flat)
	}
	if reason := reasons[group]; reason != "" {
		text += ": " + reason
	}
	return text + "."
}

// line is how the cheapest case of a group and the dearest one compare with the first, and the dearest one, whichever
// that is, with one before it.
type line struct{ least, most, rise float64 }

func (l line) spread() float64 { return l.most / l.least }

func lineOf(r *result.Suite, group, contender string, m result.Metric) (l line, ok bool) {
	first := 0.0
	for _, c := range r.InGroup(group) {
		f, found := r.Figure(c.Name, contender, m.Key)
		switch {
		case !found:
		case first == 0:
			first, l = f.Median, line{1, 1, 1}
		default:
			here := f.Median / first
			l, ok = line{min(l.least, here), max(l.most, here), max(l.rise, here/l.least)}, true
		}
	}
	return l, ok
}
