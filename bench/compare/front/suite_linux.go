package front

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"example.com/fdpass/bench/compare/result"
	"example.com/fdpass/bench/compare/suite"
	"example.com/fdpass/fastpass"
)

const about = `HTTP over short connections, from one port to four worker processes. The workers are the same program, with net/http, in
every row; the rows differ in how a connection gets to one. Those of the C front and of WriteMsgUnix receive with this library's
Bare protocol, which is cheaper than net.FileConn: what these two rows lack is the front's doing, not the receiver's. All drain
in the same way, which loses no request that was accepted (http.Server.Shutdown does).

The load is a process of its own. Each of its clients opens a connection, asks once, checks the answer against the question, waits for
the other end to close, and begins again. p50 and p99 are from connect until the connection has ended behind the answer, of light requests. A light
request of the mixture is some 20 µs of work, and one in 50 is 100 times heavier. Imbalance is the work of the busiest worker over that of
the mean one, in every tenth of a second and not in all of them together: over seconds all workers do the same, within the
chance of who gets the heavy requests, however badly the work is spread at any moment. Acceptor CPU is that of the process that accepts, per connection; where there is none the workers accept, at
their own expense. Both together is what a way costs, whatever else the machine does: a front with Framed links keeps its copy of a connection until
the worker has acknowledged it, and whoever of the two closes last has the kernel's work of ending it; the workers wait with that for a moment. In a rolling restart the workers are replaced one after another, each new one ready before the old one is told to finish: all four
twice in a second, in every row, for a process that starts takes from those that serve. What failed is per restart of all four.`

// scene is what a case of the front suite has happen.
type scene struct {
	clients int
	mixture mixture
	restart bool // the workers, meanwhile
}

const workers = 4

const (
	lightCase   = "light requests, 64 clients"
	fewCase     = "light requests, 2 clients"
	mixedCase   = "mixed requests, 32 clients"
	restartCase = "rolling restart, 16 clients"
)

func scenes(quick bool) (all []suite.Case) {
	add := func(name string, s scene) {
		all = append(all, suite.Case{Case: result.Case{Name: name, Group: "short connections", Label: name}, Work: s})
	}
	add(lightCase, scene{clients: 64, mixture: light})
	if !quick {
		add(fewCase, scene{clients: 2, mixture: light})
	}
	add(mixedCase, scene{clients: 32, mixture: mixed})
	add(restartCase, scene{clients: 16, mixture: light, restart: true})
	return all
}

var (
	frontCPU  = result.Metric{Key: "cpu", Name: "acceptor CPU µs", Digits: 2}
	wholeCPU  = result.Metric{Key: "whole", Name: "both CPU µs", Digits: 1}
	perSecond = result.Metric{Key: "rate", Name: "connections/s", More: true, Chart: true}
	imbalance = result.Metric{Key: "imbalance", Name: "imbalance", Digits: 2}
	failures  = result.Metric{Key: "failed", Name: "requests failed", Digits: 1}
)

// Suite compares whole fronts.
func Suite() *suite.Suite {
	s := &suite.Suite{
		Name: "front", Title: "A real front", About: about,
		Metrics: []result.Metric{
			perSecond,
			frontCPU,
			{Key: "worker", Name: "worker CPU µs", Digits: 1},
			wholeCPU,
			{Key: "p50", Name: "p50 µs"},
			{Key: "p99", Name: "p99 µs", Chart: true},
			imbalance,
			failures,
		},
		Cases: scenes,
		Files: 256,                                        // with too few the workers wait for room, and never are ready
		Each:  time.Second, Quick: 150 * time.Millisecond, // not in turns: each begins with processes that are cold
		Verdicts: verdicts,
	}
	p := new(program)
	for _, k := range []kind{
		cFront,
		pool("fastpass RoundRobin", "RoundRobin", framed, fastpass.Framed),
		pool("fastpass LeastLoaded", "LeastLoaded", framed, fastpass.Framed),
		pool("fastpass Hash", "Hash", framed, fastpass.Framed),
		reuseport, prefork, netFront,
	} {
		c := p.contenderOf(k)
		c.Measure = func(ctx context.Context, c suite.Case, d time.Duration) (suite.Sample, error) {
			s := c.Work.(scene)
			if k.policy == "Hash" && s.clients < workers {
				return nil, suite.Unable("Hash goes by the clients' addresses, and these are fewer than the workers")
			}
			t, err := newTeam(ctx, k, "front: work", workers, p.path)
			if err != nil {
				return nil, err
			}
			sample, err := s.play(ctx, t, d)
			return sample, errors.Join(err, t.stop())
		}
		s.Contenders = append(s.Contenders, c)
	}
	return s
}

// play measures a team for about d.
func (s scene) play(ctx context.Context, t *team, d time.Duration) (suite.Sample, error) {
	if s.restart {
		return s.playRestart(ctx, t, d)
	}
	before, err := t.done()
	if err != nil {
		return nil, err
	}
	var b balance
	o, err := measure(t, s.clients, s.mixture, func() error {
		if s.mixture.Share > 0 {
			return b.watch(ctx, t, d)
		}
		return pass(ctx, d)
	})
	if err != nil {
		return nil, err
	}
	after, err := t.done()
	if err != nil {
		return nil, err
	}
	if o.Failed > 0 {
		return nil, fmt.Errorf("%d requests failed, %d were answered: %s", o.Failed, o.Answered, o.Error)
	}
	sample := o.sample()
	sample["worker"] = workerCPU(before, after)
	sample[wholeCPU.Key] = sample[frontCPU.Key] + sample["worker"]
	if s.mixture.Share > 0 {
		sample["imbalance"] = b.imbalance()
	}
	return sample, nil
}

// restarts is how many times all workers are replaced while it is measured, whatever a contender could do: each new
// process takes from the others.
const restarts = 2

// playRestart measures for about d while the workers are replaced one after another.
func (s scene) playRestart(ctx context.Context, t *team, d time.Duration) (suite.Sample, error) {
	o, err := measure(t, s.clients, s.mixture, func() error {
		start, pause := time.Now(), d/(restarts*workers)
		for i := range restarts * workers {
			if err := t.replace(i % workers); err != nil {
				return err
			}
			if err := pass(ctx, time.Until(start.Add(time.Duration(i+1)*pause))); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	sample := o.sample()
	sample["failed"] = float64(o.Failed) / restarts
	delete(sample, "cpu") // taking in new workers is no part of accepting
	return sample, nil
}

// pass lets time pass.
func pass(ctx context.Context, d time.Duration) error {
	select {
	case <-time.After(d):
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// workerCPU is the workers' processor time per connection.
func workerCPU(before, after []done) float64 {
	var all done
	for i := range after {
		d := after[i].since(before[i])
		all.CPU += d.CPU
		all.Connections += d.Connections
	}
	return microseconds(all.CPU) / float64(max(1, all.Connections))
}

// balance is how much work the busiest worker and the mean one did, moment by moment.
type balance struct{ busiest, mean float64 }

// imbalance is the one over the other.
func (b *balance) imbalance() float64 { return b.busiest / max(1, b.mean) }

// moment is how long a piece of time is for which the busiest worker is looked for.
const moment = 100 * time.Millisecond

// watch adds up what the workers of a team do for about d.
func (b *balance) watch(ctx context.Context, t *team, d time.Duration) error {
	before, err := t.done()
	if err != nil {
		return err
	}
	for start := time.Now(); time.Since(start) < d; {
		if err := pass(ctx, moment); err != nil {
			return err
		}
		after, err := t.done()
		if err != nil {
			return err
		}
		b.add(before, after)
		before = after
	}
	return nil
}

// add counts one moment.
func (b *balance) add(before, after []done) {
	var most, all uint64
	for i := range after {
		n := after[i].since(before[i]).Units
		most, all = max(most, n), all+n
	}
	b.busiest += float64(most)
	b.mean += float64(all) / float64(len(after))
}

// verdicts say whether the targets are met: 0.95 of the rate of SO_REUSEPORT, better balance than it, no failed
// request, and an acceptor that costs little more than the C front.
func verdicts(r *result.Suite) (all []string) {
	say := func(format string, args ...any) { all = append(all, fmt.Sprintf(format, args...)) }
	for _, c := range r.Contenders {
		for _, at := range r.Cases {
			of, ok := r.Ratio(at.Name, perSecond, c.Name, reuseport.name)
			switch {
			case !ok:
			case c.Role == result.Limit:
				say("%s, %s: %.2f (%.2f to %.2f) of the connections/s of %s: what is left to a front that does nothing but what it must.",
					at.Name, c.Name, of.Median, of.Q1, of.Q3, reuseport.name)
			case c.Role == result.Own:
				say("%s, %s: %.2f (%.2f to %.2f) of the connections/s of %s; the target, 0.95, is %s.",
					at.Name, c.Name, of.Median, of.Q1, of.Q3, reuseport.name, of.AtLeast(0.95))
			}
		}
		if c.Role != result.Own {
			continue
		}
		if of, ok := r.Ratio(mixedCase, imbalance, reuseport.name, c.Name); ok {
			say("%s, %s: imbalance %.2f (%.2f to %.2f) of that of %s; the target, no more than it, is %s.",
				mixedCase, c.Name, of.Median, of.Q1, of.Q3, reuseport.name, of.AtMost(1))
		}
		if lost, ok := r.Figure(restartCase, c.Name, failures.Key); ok {
			most := slices.Max(lost.Samples)
			say("%s, %s: at most %.1f requests failed per restart of all four; the target, none in any round, is %s.", restartCase, c.Name, most, result.Met(most == 0))
		}
		for _, at := range r.Cases {
			all = append(all, acceptorVerdict(r, at.Name, frontCPU, c.Name)...)
			limit, ok1 := r.Ratio(at.Name, wholeCPU, cFront.name, c.Name)
			peer, ok2 := r.Ratio(at.Name, wholeCPU, reuseport.name, c.Name)
			if ok1 && ok2 {
				say("%s, %s: acceptor and workers together take %.2f (%.2f to %.2f) of the CPU of the C front and its workers, and %.2f (%.2f to %.2f) of that of %s.",
					at.Name, c.Name, limit.Median, limit.Q1, limit.Q3, peer.Median, peer.Q1, peer.Q3, reuseport.name)
			}
		}
	}
	return all
}
