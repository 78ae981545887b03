package bench

import (
	"flag"
	"fmt"
	"os"
	"testing"

	"example.com/fdpass/internal/leak"

	"golang.org/x/sys/unix"
)

// roleVar is set in the environment of the processes that the benchmarks start: this binary once more, as the other
// end.
const roleVar = "FASTPASS_BENCH_ROLE"

var roles = map[string]func() error{
	"receive":       beReceiver,
	"echo":          beEcho,
	"blocking echo": beBlockingEcho,
}

var (
	window   = flag.Int("window", 0, "Config.Window of the benchmarks' links; 0 is the library's default, and 16384 where batches are lent")
	only     = flag.String("only", "", "BenchmarkRatio: measure only the groups whose name ends so, such as 253-lend")
	rounds   = flag.Int("rounds", 7, "BenchmarkRatio: interleaved rounds")
	perRound = flag.Int("descriptors", 500_000, "BenchmarkRatio: descriptors per measurement in full messages (a fifth of that one at a time)")
)

func TestMain(m *testing.M) {
	raiseLimit()
	if role := roles[os.Getenv(roleVar)]; role != nil {
		if err := role(); err != nil {
			fmt.Fprintf(os.Stderr, "%s: %v\n", os.Getenv(roleVar), err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	os.Exit(leak.Run(m, func() error {
		lent.close()
		costs, err := reportCosts()
		fmt.Print(ofLimit, costs)
		return err
	}))
}

// raiseLimit makes room for the default window, which is the smaller the fewer descriptors may be open; without the
// privilege the limit stays as it is.
func raiseLimit() {
	const enough = 1 << 16
	var r unix.Rlimit
	if unix.Getrlimit(unix.RLIMIT_NOFILE, &r) == nil && r.Cur < enough {
		r.Cur, r.Max = enough, max(r.Max, enough)
		_ = unix.Setrlimit(unix.RLIMIT_NOFILE, &r)
	}
}
