package pass

import (
	"time"

	"example.com/fdpass/bench/compare/suite"
	"example.com/fdpass/bench/limit"
)

// work is what the two processes of a case have to do.
type work struct {
	Batch int  // descriptors per message
	Give  bool // copies, and close them
}

// messages is how many messages are handed over at a time.
func (w work) messages() int { return limit.Messages(w.Batch, !w.Give) }

// whole rounds n up to whole messages.
func (w work) whole(n int) int { return (n + w.Batch - 1) / w.Batch * w.Batch }

// amounts remembers how long a descriptor took, to know how many make up a measurement of a given length.
type amounts struct {
	ns map[string]float64 // by case
}

// measure passes as many descriptors as take about d. The first time it passes some before that, to find out how many.
func (a *amounts) measure(c suite.Case, d time.Duration, pass func(w work, n int) (suite.Sample, error)) (suite.Sample, error) {
	const first, least, most = limit.Sockets, 256, 20_000_000
	w := c.Work.(work)
	if a.ns == nil {
		a.ns = map[string]float64{}
	}
	if a.ns[c.Name] == 0 {
		sample, err := pass(w, w.whole(first))
		if err != nil {
			return nil, err
		}
		a.ns[c.Name] = sample["ns"]
	}
	n := min(max(int(float64(d.Nanoseconds())/a.ns[c.Name]), least), most)
	sample, err := pass(w, w.whole(n))
	if err == nil {
		a.ns[c.Name] = sample["ns"]
	}
	return sample, err
}
