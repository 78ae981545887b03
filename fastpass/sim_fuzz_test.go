//go:build linux

package fastpass

import (
	"encoding/binary"
	"math/rand/v2"
	"strings"
	"testing"
)

// fuzzChoices are choices that a fuzzer makes, two bytes each; where they end, random ones follow.
type fuzzChoices struct {
	in   []byte
	rest *rand.PCG
}

func (c *fuzzChoices) Uint64() uint64 {
	if len(c.in) < 2 {
		return c.rest.Uint64()
	}
	x := binary.BigEndian.Uint16(c.in)
	c.in = c.in[2:]
	return uint64(x) << 48 // package rand looks at the high bits of a number first
}

// FuzzSimulation makes runs of the simulation whose every choice, what link there is, who does what next and what goes
// wrong with each call, can be the fuzzer's.
func FuzzSimulation(f *testing.F) {
	for seed := range uint64(8) {
		choices := rand.NewPCG(seed, 1)
		in := make([]byte, 0, 2048)
		for len(in) < cap(in)>>seed {
			in = binary.BigEndian.AppendUint16(in, uint16(choices.Uint64()>>48))
		}
		f.Add(in)
	}
	f.Fuzz(func(t *testing.T, in []byte) {
		run := func(tracing bool) *sim {
			return simulate(t, &fuzzChoices{in, rand.NewPCG(0, 0)}, tracing, nil)
		}
		if s := run(false); s.bad != "" {
			t.Fatalf("%s\n  %s", s.bad, strings.Join(run(true).trace, "\n  "))
		}
	})
}
