package bench

import (
	"fmt"
	"io"
	"os"
	"slices"
	"testing"
	"time"

	"example.com/fdpass/fastpass"

	"golang.org/x/sys/unix"
)

// BenchmarkRoundTrip sends one descriptor to another process, which sends it back, and only then the next. Reported
// are percentiles of the time that takes.
//
// links=one: both directions on one link, the default; links=two: a one-way link each way, where callers of Recv read
// the socket themselves. impl=blocking is what a C program would do, blocking system calls on a thread of its own: the
// limit here.
func BenchmarkRoundTrip(b *testing.B) {
	b.Run("impl=blocking", benchmarkBlockingRoundTrip)
	for _, protocol := range protocols {
		for _, links := range []string{"one", "two"} {
			for _, spin := range []time.Duration{0, 50 * time.Microsecond} {
				b.Run(fmt.Sprintf("proto=%v/links=%s/spin=%v", protocol, links, spin), func(b *testing.B) {
					b.ReportAllocs()
					s := setup{Protocol: protocol, Window: *window, Spin: spin, TwoLinks: links == "two"}
					there, back, other := newEcho(b, s)
					fd := aDescriptor(b)
					took := make([]time.Duration, b.N)
					trip := func(i int) error {
						start := time.Now()
						if err := there.Send(fastpass.Desc{FD: fd}); err != nil {
							return err
						}
						d, err := back.Recv()
						fd = d.FD
						took[i] = time.Since(start)
						return err
					}
					for range 100 { // warm up
						if err := trip(0); err != nil {
							b.Fatal(err)
						}
					}
					b.ResetTimer()
					for i := range took {
						if err := trip(i); err != nil {
							b.Fatal(err)
						}
					}
					b.StopTimer()
					unix.Close(fd)
					reportPercentiles(b, took)
					other()
				})
			}
		}
	}
}

func TestWhatIsSentToTheEchoComesBack(t *testing.T) {
	for _, protocol := range protocols {
		for _, two := range []bool{false, true} {
			there, back, stop := newEcho(t, setup{Protocol: protocol, TwoLinks: two})
			fd := aDescriptor(t)
			for range 10 {
				if err := there.Send(fastpass.Desc{FD: fd}); err != nil {
					t.Fatal(err)
				}
				d, err := back.Recv()
				if err != nil {
					t.Fatal(err)
				}
				fd = d.FD
			}
			unix.Close(fd)
			stop()
		}
	}
}

func reportPercentiles(b *testing.B, took []time.Duration) {
	slices.Sort(took)
	b.ReportMetric(float64(took[len(took)/2]), "p50-ns")
	b.ReportMetric(float64(took[len(took)*99/100]), "p99-ns")
}

// aDescriptor returns a copy of a TCP connection, the caller's to give away.
func aDescriptor(tb testing.TB) int {
	fd, err := unix.FcntlInt(uintptr(lent.get(tb).fds[0]), unix.F_DUPFD_CLOEXEC, 0)
	if err != nil {
		tb.Fatal(err)
	}
	return fd
}

// newEcho starts a process that sends back what it gets; stop ends it.
func newEcho(tb testing.TB, s setup) (there, back *fastpass.Passer, stop func()) {
	tb.Helper()
	lent.get(tb) // if there can be none, nothing is started that would be left over
	ways := []fastpass.Direction{fastpass.Both}
	if s.TwoLinks {
		ways = []fastpass.Direction{fastpass.SendOnly, fastpass.RecvOnly}
	}
	var ends []*fastpass.Passer
	var files []*os.File
	for _, d := range ways {
		p, f, err := fastpass.Pair(s.config(d))
		if err != nil {
			tb.Fatal(err)
		}
		ends, files = append(ends, p), append(files, f)
	}
	other, err := startPeer("echo", s, files...)
	for _, f := range files {
		f.Close()
	}
	if err != nil {
		tb.Fatal(err)
	}
	return ends[0], ends[len(ends)-1], func() {
		for _, p := range ends {
			p.Close()
		}
		if err := other.stop(); err != nil {
			tb.Error(err)
		}
	}
}

// beEcho sends back what it receives: over the same link, or over the second if there is one.
func beEcho() error {
	s, err := theSetup()
	if err != nil {
		return err
	}
	const first = 3
	in, out := fastpass.Both, fastpass.Both
	if s.TwoLinks {
		in, out = fastpass.RecvOnly, fastpass.SendOnly
	}
	from, err := inherited(first, s.config(in))
	if err != nil {
		return err
	}
	defer from.Close()
	to := from
	if s.TwoLinks {
		if to, err = inherited(first+1, s.config(out)); err != nil {
			return err
		}
		defer to.Close()
	}
	for {
		d, err := from.Recv()
		if err == io.EOF {
			return nil
		} else if err != nil {
			return err
		}
		if err := to.Send(fastpass.Desc{FD: d.FD}); err != nil {
			return err
		}
	}
}
