// Package roundtrip is the suite "There and back": how long a single descriptor takes to another process and back.
//
// The passive process sends back what it gets; the active one measures. Both are this program in a role
// (role_linux.go) or small programs in other languages beside.
package roundtrip

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"strconv"
	"strings"
	"time"

	"example.com/fdpass/bench/compare/peer"
	"example.com/fdpass/bench/compare/process"
	"example.com/fdpass/bench/compare/result"
	"example.com/fdpass/bench/compare/role"
	"example.com/fdpass/bench/compare/suite"

	"github.com/HdrHistogram/hdrhistogram-go"
	"golang.org/x/sys/unix"
)

const about = `One descriptor of a TCP connection goes to another process, which sends it back; only then the next one goes. Each side
closes its copy once it has passed the descriptor on. *Two links*: one for each direction, so that callers of Recv read the
socket themselves. Reported are percentiles of the time there and back, which are the medians of those of
the rounds. *Idle*: nothing else runs, as far as the comparison can know. *Beside a busy core*: another process
works without a pause on the last core.

C that blocks is the limit beside a busy core. On an idle machine it is none: each time the other one is woken on a processor that sleeps, which takes most of the
time, and who stays awake for a moment, as the Go runtime does, goes without.

With Spin (50 µs), fastpass looks at the socket for that long before it parks.`

var metrics = []result.Metric{
	{Key: "p50", Name: "p50 µs", Digits: 1, Chart: true},
	{Key: "p99", Name: "p99 µs", Digits: 1, Chart: true},
	{Key: "p999", Name: "p99.9 µs", Digits: 1, Chart: true},
}

// work says what else runs.
type work struct{ Busy bool }

func cases(bool) []suite.Case {
	named := func(label string, w work) suite.Case {
		return suite.Case{Case: result.Case{Name: "there and back, " + label, Group: "there and back", Label: label}, Work: w}
	}
	return []suite.Case{named("idle", work{}), named("beside a busy core", work{Busy: true})}
}

// Suite returns the suite.
func Suite() *suite.Suite {
	s := &suite.Suite{
		Name: "roundtrip", Title: "There and back", About: about, Metrics: metrics, Cases: cases,
		Each: 500 * time.Millisecond, Quick: 150 * time.Millisecond, Verdicts: verdicts,
	}
	for _, p := range programs() {
		s.Contenders = append(s.Contenders, p.contender())
	}
	return s
}

// verdicts say whether the targets are met: p50 twice that of C at most, with Spin 1.25 times, and p99 five times.
func verdicts(r *result.Suite) (all []string) {
	p50, p99 := metrics[0], metrics[1]
	for _, c := range r.Cases {
		for _, of := range r.Contenders {
			slow, ok1 := r.Ratio(c.Name, p50, blockingC, of.Name)
			late, ok2 := r.Ratio(c.Name, p99, blockingC, of.Name)
			if of.Role != result.Own || !ok1 || !ok2 {
				continue
			}
			most := 2.0
			if strings.HasSuffix(of.Name, "Spin") {
				most = 1.25
			}
			all = append(all, fmt.Sprintf("%s, %s: p50 is %.2f (%.2f to %.2f) of that of %s; the target, %.2f, is %s; p99 is %.2f (%.2f to %.2f) of its; the target, 5, is %s.",
				c.Name, of.Name, slow.Median, slow.Q1, slow.Q3, blockingC, most, slow.AtMost(most), late.Median, late.Q1, late.Q3, late.AtMost(5)))
		}
	}
	return all
}

// A program is a contender that is two processes, run as package process says, with the arguments ping|echo N. Both
// have the ends of a second socket pair as descriptor 4, for those that use one link for each direction, and the one
// that pings has the descriptor to pass as 5. Both report an outcome.
type program struct {
	name    string
	role    result.Role
	how     string
	socket  int // SOCK_SEQPACKET or SOCK_STREAM
	prepare func(ctx context.Context, shop *peer.Shop) (version string, err error)
	command func(ctx context.Context, args ...string) *exec.Cmd
}

// outcome is what a process reports.
type outcome struct {
	Passed int     `json:"passed"`
	Took   []int64 `json:"took"`  // ping: ns, of each time there and back
	Inode  uint64  `json:"inode"` // ping: of what came back at last
}

func (p program) contender() suite.Contender {
	each := map[work]float64{} // ns, as measured before
	return suite.Contender{
		Name: p.name, Role: p.role, How: p.how, Prepare: p.prepare,
		Measure: func(ctx context.Context, c suite.Case, d time.Duration) (suite.Sample, error) {
			w := c.Work.(work)
			if w.Busy {
				stop, err := busy(ctx)
				if err != nil {
					return nil, err
				}
				defer stop()
			}
			if each[w] == 0 {
				h, err := p.trips(ctx, 200)
				if err != nil {
					return nil, err
				}
				each[w] = h.Mean()
			}
			h, err := p.trips(ctx, min(max(int(float64(d.Nanoseconds())/each[w]), 200), 1_000_000))
			if err != nil {
				return nil, err
			}
			each[w] = h.Mean()
			us := func(percent float64) float64 { return float64(h.ValueAtQuantile(percent)) / 1e3 }
			return suite.Sample{"p50": us(50), "p99": us(99), "p999": us(99.9)}, nil
		},
	}
}

// trips sends a descriptor there and back n times.
func (p program) trips(ctx context.Context, n int) (*hdrhistogram.Histogram, error) {
	ctx, cancel := context.WithTimeout(ctx, 2*time.Minute) // a program that hangs must not hang the comparison
	defer cancel()
	conn, inode, err := aConnection()
	if err != nil {
		return nil, err
	}
	defer conn.Close()
	pair, err := unix.Socketpair(unix.AF_UNIX, p.socket|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, err
	}
	mine, other := os.NewFile(uintptr(pair[0]), "second link"), os.NewFile(uintptr(pair[1]), "second link")
	defer mine.Close()
	defer other.Close()
	var ping, echo outcome
	err = process.Run(p.socket,
		process.Side{Cmd: p.command(ctx, "ping", strconv.Itoa(n)), Files: []*os.File{mine, conn}, Result: &ping},
		process.Side{Cmd: p.command(ctx, "echo", strconv.Itoa(n)), Files: []*os.File{other}, Result: &echo})
	if err != nil {
		return nil, err
	}
	if ping.Passed != n || echo.Passed != n || len(ping.Took) != n || ping.Inode != inode {
		return nil, fmt.Errorf("%d times there, %d times back, %d measured, inode %d; want %d times and inode %d",
			ping.Passed, echo.Passed, len(ping.Took), ping.Inode, n, inode)
	}
	h := hdrhistogram.New(100, int64(time.Minute), 3)
	for _, ns := range ping.Took {
		if err := h.RecordValue(ns); err != nil {
			return nil, err
		}
	}
	return h, nil
}

const busyRole = "roundtrip busy"

func init() { role.Register(busyRole, beBusy) }

// busy has a process take a whole core from now on.
func busy(ctx context.Context) (stop func(), err error) {
	cmd := role.Command(ctx, busyRole)
	says, err := cmd.StdoutPipe()
	if err == nil {
		err = cmd.Start()
	}
	if err != nil {
		return nil, err
	}
	stop = func() {
		_ = cmd.Process.Kill() // the error of a process that has ended is of no interest
		_ = cmd.Wait()
	}
	if _, err := says.Read(make([]byte, 1)); err != nil {
		stop()
		return nil, fmt.Errorf("the process that takes a core: %w", err)
	}
	return stop, nil
}

// beBusy keeps the last core that there is busy, until it is killed, or for longer than any measurement takes.
func beBusy([]string) error {
	runtime.LockOSThread()
	var may, last unix.CPUSet
	if err := unix.SchedGetaffinity(0, &may); err != nil {
		return err
	}
	for cpu := range 1024 {
		if may.IsSet(cpu) {
			last.Zero()
			last.Set(cpu)
		}
	}
	if err := unix.SchedSetaffinity(0, &last); err != nil {
		return err
	}
	if _, err := os.Stdout.WriteString("\n"); err != nil {
		return err
	}
	for end := time.Now().Add(3 * time.Minute); time.Now().Before(end); {
	}
	return nil
}
