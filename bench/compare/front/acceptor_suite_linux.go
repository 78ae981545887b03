package front

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"syscall"
	"time"

	"example.com/fdpass/bench/compare/result"
	"example.com/fdpass/bench/compare/strace"
	"example.com/fdpass/bench/compare/suite"
	"example.com/fdpass/fastpass"
)

const aboutAcceptor = `The process that accepts and passes, and nothing else: the workers send each connection a byte, keep it for a while and
close it then, so that the copy that the acceptor closes is never the last one.

*Queue full*: 4,000 clients have connected before the acceptor may run, so that it always finds a full batch, and what it costs is
its own doing. *As they come*: 64 clients, each opens a connection, waits for the byte and opens the next; the batches are small,
the acceptor sleeps and wakes between them, and other work on the machine shows. CPU is the process's own;
system calls are counted by strace in runs of their own, without nanosleep (the Go runtime's monitor).`

// crowd is what a case of the acceptor suite lets loose.
type crowd struct {
	workers int
	full    bool // the queue
}

const crowdClients = 64

func crowds(bool) (all []suite.Case) {
	add := func(name string, c crowd) {
		all = append(all, suite.Case{Case: result.Case{Name: name, Group: "accept and pass", Label: name}, Work: c})
	}
	add("queue full, 1 worker", crowd{1, true})
	add("queue full, 4 workers", crowd{4, true})
	add("as they come, 1 worker", crowd{1, false})
	add("as they come, 4 workers", crowd{4, false})
	return all
}

var acceptorCPU = result.Metric{Key: "cpu", Name: "CPU µs per connection", Digits: 2, Chart: true}

// Acceptor compares the fronts' acceptors alone.
func Acceptor() *suite.Suite {
	s := &suite.Suite{
		Name: "acceptor", Title: "The acceptor alone", About: aboutAcceptor,
		Metrics: []result.Metric{
			acceptorCPU,
			perSecond,
			{Key: "batch", Name: "connections per message", More: true, Digits: 1},
			{Key: "calls", Name: "system calls per connection", Digits: 2},
		},
		Cases: crowds,
		Tools: []string{"strace"},
		Files: files,
		Each:  500 * time.Millisecond, Quick: 150 * time.Millisecond, // not in turns, as in front
		Verdicts: acceptorVerdicts,
	}
	p := new(program)
	for _, k := range []kind{
		cFront,
		goLoop,
		pool("Pool.Serve, Bare", "RoundRobin", bare, fastpass.Bare),
		pool("Pool.Serve, Framed", "RoundRobin", framed, fastpass.Framed),
		netFront,
	} {
		c := p.contenderOf(k)
		c.Measure = func(ctx context.Context, c suite.Case, d time.Duration) (suite.Sample, error) {
			return c.Work.(crowd).come(ctx, k, p.path, func(t *team) (suite.Sample, error) {
				o, err := c.Work.(crowd).measure(ctx, t, d)
				return o.sample(), err
			})
		}
		c.Count = func(ctx context.Context, c suite.Case) (suite.Sample, error) {
			return c.Work.(crowd).come(ctx, k, p.path, func(t *team) (suite.Sample, error) {
				return t.countCalls(func() error { return c.Work.(crowd).meet(ctx, t) })
			})
		}
		s.Contenders = append(s.Contenders, c)
	}
	return s
}

// files is how many each process of the suite may have to open: the clients that wait in a full queue, or what a
// greeter keeps, and what is on its way. With less a greeter would never get what its acceptor waits to pass, and each
// client would wait until its patience ends.
const files = max(burstSize, kept+2*253) + 256

// come has a team do something.
func (c crowd) come(ctx context.Context, k kind, program string, do func(*team) (suite.Sample, error)) (suite.Sample, error) {
	t, err := newTeam(ctx, k, "front: greet", c.workers, program)
	if err != nil {
		return nil, err
	}
	sample, err := do(t)
	return sample, errors.Join(err, t.stop())
}

func (c crowd) measure(ctx context.Context, t *team, d time.Duration) (o outcome, err error) {
	if c.full {
		o, err = measureBursts(t, d)
	} else {
		o, err = measure(t, crowdClients, silent, func() error { return pass(ctx, d) })
	}
	if err == nil && o.Failed > 0 {
		err = fmt.Errorf("%d clients failed, %d were greeted: %s", o.Failed, o.Answered, o.Error)
	}
	return o, err
}

// meet is as much of measure as strace bears.
func (c crowd) meet(ctx context.Context, t *team) error {
	if c.full {
		return burst(t, new(outcome), 1000)
	}
	_, err := measure(t, crowdClients, silent, func() error { return pass(ctx, 200*time.Millisecond) })
	return err
}

// countCalls counts the system calls that the acceptor makes while something is done.
func (t *team) countCalls(do func() error) (suite.Sample, error) {
	log, err := os.CreateTemp("", "fdpass-strace-")
	if err != nil {
		return nil, err
	}
	defer os.Remove(log.Name())
	defer log.Close()
	before, err := t.accepted()
	if err != nil {
		return nil, err
	}
	cmd := exec.Command("strace", append(strace.Options(log.Name()), "-p", strconv.Itoa(t.acceptor.cmd.Process.Pid))...)
	says, err := cmd.StderrPipe()
	if err == nil {
		err = cmd.Start()
	}
	if err != nil {
		return nil, fmt.Errorf("strace: %w", err)
	}
	_, err = says.Read(make([]byte, 1)) // "attached"
	err = errors.Join(err, do(), cmd.Process.Signal(syscall.SIGINT))
	_ = cmd.Wait() // it ends by the signal
	after, reported := t.accepted()
	calls, read := strace.Read(log.Name())
	if err := errors.Join(err, reported, read); err != nil {
		return nil, err
	}
	return suite.Sample{"calls": float64(calls) / float64(max(1, after.since(before).Passed))}, nil
}

// acceptorVerdicts say whether the targets are met.
func acceptorVerdicts(r *result.Suite) (all []string) {
	for _, c := range r.Cases {
		for _, of := range r.Contenders {
			if limit, ok := r.Ratio(c.Name, acceptorCPU, cFront.name, of.Name); ok && of.Name == goLoop.name {
				all = append(all, fmt.Sprintf("%s, %s: %.2f (%.2f to %.2f) of the C front's CPU per connection, which the Go runtime takes without any library.",
					c.Name, of.Name, limit.Median, limit.Q1, limit.Q3))
			}
			if of.Role == result.Own {
				all = append(all, acceptorVerdict(r, c.Name, acceptorCPU, of.Name)...)
			}
		}
	}
	return all
}

// acceptorVerdict says whether an acceptor takes no more than 1.15 times the C front's CPU, and half of that of
// WriteMsgUnix, if that was measured.
func acceptorVerdict(r *result.Suite, at string, m result.Metric, name string) []string {
	limit, ok1 := r.Ratio(at, m, cFront.name, name)
	peer, ok2 := r.Ratio(at, m, netFront.name, name)
	if !ok1 || !ok2 {
		return nil
	}
	return []string{fmt.Sprintf("%s, %s: %.2f (%.2f to %.2f) of the C front's CPU per connection; the target, 1.15, is %s; "+
		"%.2f (%.2f to %.2f) of that of WriteMsgUnix; the target, 0.5, is %s.", at, name,
		limit.Median, limit.Q1, limit.Q3, limit.AtMost(1.15), peer.Median, peer.Q1, peer.Q3, peer.AtMost(0.5))}
}
