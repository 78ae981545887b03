// Package suitetest tests suites.
package suitetest

import (
	"io"
	"testing"
	"time"

	"example.com/fdpass/bench/compare/peer"
	"example.com/fdpass/bench/compare/role"
	"example.com/fdpass/bench/compare/suite"
)

// Run runs s in very short, and wants key measured wherever a contender is there and able.
func Run(t *testing.T, s *suite.Suite, key string) {
	t.Helper()
	if err := role.NeedFiles(s.Files); err != nil {
		t.Fatal(err)
	}
	s.Quick = time.Millisecond
	shop := &peer.Shop{Dir: t.TempDir(), Log: t.Output()}
	r, err := suite.Run(t.Context(), s, suite.Options{Quick: true, Rounds: 1}, shop, suite.NewLines(io.Discard, time.Minute))
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range r.Contenders {
		if c.Missing != "" {
			t.Logf("%s is missing: %s", c.Name, c.Missing)
		}
	}
	for _, c := range r.Cells {
		t.Log(c.Contender, c.Case, c.Figures, c.Unable)
		switch {
		case c.Failed != "":
			t.Errorf("%s, %s: %s", c.Contender, c.Case, c.Failed)
		case c.Unable == "" && c.Figures[key].Median == 0:
			t.Errorf("%s, %s: nothing came of it: %v", c.Contender, c.Case, c.Figures)
		}
	}
	for _, v := range r.Verdicts {
		t.Log(v)
	}
}
