package front

import (
	"errors"
	"time"

	"example.com/fdpass/bench/compare/suite"
)

// outcome is what one measurement of a front comes to.
type outcome struct {
	totals
	accepted
}

func (o outcome) sample() suite.Sample {
	s := suite.Sample{}
	if o.Answered > 0 {
		s["rate"] = float64(o.Answered) / o.Elapsed.Seconds()
	}
	if o.Passed > 0 {
		s["cpu"] = microseconds(o.CPU) / float64(o.Passed)
		s["batch"] = float64(o.Passed) / float64(o.Messages)
	}
	if o.P50 > 0 {
		s["p50"], s["p99"] = microseconds(o.P50), microseconds(o.P99)
	}
	return s
}

func microseconds(d time.Duration) float64 { return float64(d) / float64(time.Microsecond) }

// warmUp is how long a load runs before it is measured: the first connections cost more than others.
const warmUp = 100 * time.Millisecond

// measure puts load on a team, and measures what comes of it while during runs.
func measure(t *team, clients int, m mixture, during func() error) (o outcome, err error) {
	task := loadTask{IP: [4]byte(t.address.IP.To4()), Port: t.address.Port, Clients: clients, Mixture: m}
	l, err := startRole(t.ctx, "front: load", task)
	if err != nil {
		return o, err
	}
	o.accepted, err = l.measured(t, during)
	l.in.Close()
	if heard := l.hear(&o.totals); err == nil {
		err = heard
	}
	return o, errors.Join(err, l.wait())
}

// measured returns what the acceptor does while during runs, which is what the load counts, too.
func (l *process) measured(t *team, during func() error) (a accepted, err error) {
	time.Sleep(warmUp)
	before, err := t.accepted()
	if err != nil {
		return a, err
	}
	if err := l.order("count from now"); err != nil {
		return a, err
	}
	if err := during(); err != nil {
		return a, err
	}
	after, err := t.accepted()
	return after.since(before), err
}
