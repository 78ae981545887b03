package pass

import (
	"time"

	"example.com/fdpass/bench/compare/suite"
)

// work is what the two processes of a case have to do.
type work struct {
	Batch int  // descriptors per message
	Give  bool // copies, and close them
}

// messages is how many messages are handed over at a time, where one call can take several: of descriptors that are given away no
// more than a quarter of the sockets that there are, 2,048. Who copies most of them at once writes to the same files, in
// the same order and at the same time, as the receiver of the last call.
func (w work) messages() int {
	switch {
	case w.Batch == 1:
		return 1
	case w.Give:
		return min(8, 2048/4/w.Batch)
	}
	return 8
}

// whole rounds n up to whole messages.
func (w work) whole(n int) int { return (n + w.Batch - 1) / w.Batch * w.Batch }

// amounts remembers how long a descriptor took, to know how many make up a measurement of a given length.
type amounts struct {
	ns map[string]float64 // by case
}

// measure passes as many descriptors as take about d. The first time it passes some before that, to find out how many.
func (a *amounts) measure(c suite.Case, d time.Duration, pass func(w work, n int) (suite.Sample, error)) (suite.Sample, error) {
	const first, least, most = 2 << 10, 256, 20_000_000
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
