package growth

import (
	"os"
	"testing"

	"example.com/fdpass/bench/compare/role"
	"example.com/fdpass/bench/compare/suite/suitetest"
	"example.com/fdpass/internal/leak"
)

func TestMain(m *testing.M) {
	role.Main()
	os.Exit(leak.Run(m))
}

// Every descriptor arrives, whatever there is more of.
func TestEveryDimensionIsMeasured(t *testing.T) { suitetest.Run(t, Suite(), "ns") }

func TestEveryQueueMovesAll(t *testing.T) { suitetest.Run(t, Rings(), "ns") }
