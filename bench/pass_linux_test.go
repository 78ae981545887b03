package bench

import (
	"fmt"
	"strconv"
	"testing"

	"example.com/fdpass/bench/limit"
	"example.com/fdpass/fastpass"
)

// auto, as a batch size, stands for Send one by one on a link with the defaults: full batches form by themselves
// while the receiver is the slower one.
const auto = 0

var (
	batches   = []int{1, 8, 64, 253}
	protocols = []fastpass.Protocol{fastpass.Framed, fastpass.Bare}
)

func batchName(batch int) string {
	if batch == auto {
		return "auto"
	}
	return strconv.Itoa(batch)
}

func ownership(give bool) string {
	if give {
		return "give"
	}
	return "lend"
}

func of(protocol fastpass.Protocol, batch int, give bool) setup {
	s := setup{Protocol: protocol, Batch: batch, Window: *window}
	if s.Window == 0 && !give && batch != auto {
		s.Window = limit.Window
	}
	return s
}

// BenchmarkPass passes TCP connections to another process, which closes them. One operation is one descriptor.
//
// batch=1 is one descriptor per message and call of Send; batch=auto is Send one by one with the library's defaults. No
// descriptor has a tag or a payload. own=lend passes sockets that the sender keeps; own=give a copy of each, made just
// before and closed once it is delivered, as when connections are given away. CPU time is each process's own;
// rcvr-mallocs are those of the other process.
func BenchmarkPass(b *testing.B) {
	for _, protocol := range protocols {
		for _, batch := range append([]int{auto}, batches...) {
			for _, give := range []bool{false, true} {
				b.Run(fmt.Sprintf("proto=%v/batch=%s/own=%s", protocol, batchName(batch), ownership(give)), func(b *testing.B) {
					benchmarkPass(b, of(protocol, batch, give), give)
				})
			}
		}
	}
}

// BenchmarkPayload is BenchmarkPass with so many bytes beside each descriptor, lent, over a Framed link, 253 to a
// message or as many as fit.
func BenchmarkPayload(b *testing.B) {
	for _, bytes := range []int{0, 16, 64, 256, 1024, 4096} {
		b.Run(fmt.Sprintf("bytes=%d", bytes), func(b *testing.B) {
			s := of(fastpass.Framed, 253, false)
			s.Payload = bytes
			benchmarkPass(b, s, false)
		})
	}
}

func benchmarkPass(b *testing.B, s setup, give bool) {
	b.ReportAllocs()
	s.Profile = profileOf(b)
	l := newLink(b, s, give)
	b.ResetTimer()
	r, err := l.pass(b.N)
	b.StopTimer()
	if err != nil {
		b.Fatal(err)
	}
	n := float64(b.N)
	reportRate(b, float64(r.wall.Nanoseconds())/n)
	if r.copying > 0 {
		b.ReportMetric(float64(r.copying.Nanoseconds())/n, "copy-ns")
	}
	b.ReportMetric(float64(r.sender.Calls)/n, "send-calls/op")
	b.ReportMetric(float64(r.receiver.Calls)/n, "recv-calls/op")
	b.ReportMetric(float64(r.sender.CPU.Nanoseconds())/n, "send-cpu-ns")
	b.ReportMetric(float64(r.receiver.CPU.Nanoseconds())/n, "recv-cpu-ns")
	b.ReportMetric(float64(r.receiver.Mallocs)/n, "recv-allocs/op")
}

// reportRate reports the same figure as time and as rate; ns/op would be the first again.
func reportRate(b *testing.B, nsPerDescriptor float64) {
	b.ReportMetric(nsPerDescriptor, "ns/descriptor")
	b.ReportMetric(1e9/nsPerDescriptor, "descriptors/s")
	b.ReportMetric(0, "ns/op")
}

// Each way of passing that is measured works, and the last descriptor arrives, be the batch full or not.
func TestEveryWayOfPassingPassesAll(t *testing.T) {
	for _, protocol := range protocols {
		for _, batch := range []int{auto, 1, 253} {
			for _, give := range []bool{false, true} {
				t.Run(fmt.Sprintf("%v, %s per message, %s", protocol, batchName(batch), ownership(give)), func(t *testing.T) {
					l := newLink(t, of(protocol, batch, give), give)
					if _, err := l.pass(1001); err != nil {
						t.Fatal(err)
					}
				})
			}
		}
	}
}
