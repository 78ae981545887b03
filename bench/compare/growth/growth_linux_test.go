package growth

import (
	"io"
	"os"
	"testing"
	"time"

	"example.com/fdpass/bench/compare/peer"
	"example.com/fdpass/bench/compare/role"
	"example.com/fdpass/bench/compare/suite"
	"example.com/fdpass/internal/leak"
)

func TestMain(m *testing.M) {
	role.Main()
	os.Exit(leak.Run(m))
}

// Every descriptor arrives, whatever there is more of.
func TestEveryDimensionIsMeasured(t *testing.T) { run(t, Suite()) }

func TestEveryQueueMovesAll(t *testing.T) { run(t, Rings()) }

func run(t *testing.T, s *suite.Suite) {
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
		switch {
		case c.Failed != "":
			t.Errorf("%s, %s: %s", c.Contender, c.Case, c.Failed)
		case c.Unable == "" && c.Figures["ns"].Median == 0:
			t.Errorf("%s, %s: nothing came of it: %v", c.Contender, c.Case, c.Figures)
		}
		t.Log(c.Case, c.Contender, c.Figures["ns"].Median, c.Figures["cpu"].Median, c.Unable)
	}
	for _, v := range r.Verdicts {
		t.Log(v)
	}
}
