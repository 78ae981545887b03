package growth

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"slices"
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

func dimensions() []dimension {
	most := mostOpen()
	return []dimension{
		{"in flight", []int{10, 100, 1000, 4000, 16000}, 16000, func(n int) work { return work{InFlight: n} }},
		{"open descriptors", upTo(most, 100, 1000, 4000), most, func(n int) work { return work{Open: n} }},
		{"payload bytes", []int{0, 16, 64, 256, 1024, 4096}, 4096, func(n int) work { return work{Payload: n} }},
		{"workers", []int{1, 4, 16, 64}, 16, func(n int) work { return work{Workers: n} }},
		{"goroutines", []int{1, 4, 16, 64}, 64, func(n int) work { return work{Goroutines: n} }},
	}
}

// Suite measures how cost grows.
func Suite() *suite.Suite {
	return &suite.Suite{
		Name: "growth", Title: "How cost grows", About: about,
		Metrics: []result.Metric{cpuEach, perDescriptor},
		Cases:   cases,
		Files:   2*limit.Sockets + 256, // 16,000 in flight take more, and say so
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
	for _, d := range dimensions() {
		values := d.values
		if quick {
			values = upTo(d.quick, values[0])
		}
		for _, n := range values {
			label := strconv.Itoa(n)
			all = append(all, suite.Case{
				Case: result.Case{Name: label + " " + d.name, Group: d.name, Label: label, X: float64(max(1, n))},
				Work: d.work(n),
			})
		}
	}
	return all
}

// upTo returns those of the values that are less than most, and most.
func upTo(most int, values ...int) []int {
	return append(slices.DeleteFunc(values, func(n int) bool { return n >= most }), most)
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

// reasons say why a line rises or falls: what more of something has the kernel do, or do no more. They name no numbers,
// for a quick run has others; what is not there was not seen to be more than flat, and nobody has looked into it.
var reasons = map[string]struct{ rise, fall string }{
	"in flight": {fall: "of few in flight few share the system calls and the wake-ups, of many many do"},
	"payload bytes": {rise: "the kernel copies the bytes in and out, and a message holds fewer descriptors; the library has copied them " +
		"before, for the caller may use its own again"},
	"goroutines": {fall: "one that sends one by one often finds nobody else at it, and makes a message of one descriptor; of several more merge"},
	"workers": {rise: "253 among them are as many messages, the smaller the more there are, and as many processes to wake on the processors that there are; in each of ours " +
		"a second thread, the Go runtime's monitor, wakes as well when it closes what has come"},
}

// verdicts say of every line how far it rises, and how far it falls.
func verdicts(r *result.Suite) (all []string) {
	for _, g := range r.Groups() {
		for _, c := range r.Contenders {
			if c.Role != result.Own {
				continue
			}
			rise, fall := steps(r, g, c.Name)
			all = append(all, rise.verdict(r, c.Name, reasons[g].rise)...)
			all = append(all, fall.verdict(r, c.Name, reasons[g].fall)...)
		}
	}
	return all
}

// step is two cases of a group, and how many times what a descriptor costs in the cheap one it costs in the dear one.
type step struct {
	cheap, dear result.Case
	factor      result.Figure
}

// steps returns the largest step from less of something to more of it, and the largest one back; their factors have no
// samples where more is never dearer, or never cheaper.
func steps(r *result.Suite, group, contender string) (rise, fall step) {
	cases := r.InGroup(group)
	for i, more := range cases {
		for _, less := range cases[:i] {
			rise = larger(rise, step{less, more, dearness(r, contender, more, less)})
			fall = larger(fall, step{more, less, dearness(r, contender, less, more)})
		}
	}
	return rise, fall
}

func larger(a, b step) step {
	if b.factor.Median > max(1, a.factor.Median) {
		return b
	}
	return a
}

// dearness says round by round how many times the cost at b the cost at a is.
func dearness(r *result.Suite, contender string, a, b result.Case) result.Figure {
	dear, _ := r.Figure(a.Name, contender, cpuEach.Key)
	cheap, _ := r.Figure(b.Name, contender, cpuEach.Key)
	return result.Quotient(dear, cheap)
}

func (s step) verdict(r *result.Suite, contender, reason string) []string {
	if len(s.factor.Samples) == 0 {
		return nil
	}
	text := fmt.Sprintf("%s, %s: %s is %.2f (%.2f to %.2f) times as dear as %s", s.dear.Group, contender, s.dear.Label, s.factor.Median, s.factor.Q1, s.factor.Q3, s.cheap.Label)
	if limit := dearness(r, limitName, s.dear, s.cheap); len(limit.Samples) > 0 {
		text += fmt.Sprintf(", in the C limit %.2f (%.2f to %.2f)", limit.Median, limit.Q1, limit.Q3)
	}
	text += fmt.Sprintf("; the target, %.1f, is %s", flat, s.factor.AtMost(flat))
	if reason == "" {
		reason = "why is not known"
	}
	if s.factor.Median > flat {
		text += ": " + reason
	}
	return []string{text + "."}
}
