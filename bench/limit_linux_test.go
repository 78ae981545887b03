package bench

import (
	"context"
	"errors"
	"fmt"
	"testing"

	"example.com/fdpass/bench/limit"
)

// BenchmarkLimit is the same passing by the C program that holds nothing of the library.
func BenchmarkLimit(b *testing.B) {
	needLimit(b)
	for _, batch := range batches {
		for _, give := range []bool{false, true} {
			b.Run(fmt.Sprintf("batch=%d/own=%s", batch, ownership(give)), func(b *testing.B) {
				r, err := runLimit(b.Context(), batch, b.N, give)
				if err != nil {
					b.Fatal(err)
				}
				reportRate(b, r.NsPerDescriptor)
				b.ReportMetric(r.SenderCPUNs, "send-cpu-ns")
				b.ReportMetric(r.ReceiverCPUNs, "recv-cpu-ns")
			})
		}
	}
}

// needLimit skips, and says why, where the limit cannot be measured.
func needLimit(b *testing.B) {
	b.Helper()
	if _, err := limit.Build(b.Context()); errors.Is(err, limit.ErrNoCompiler) {
		b.Skipf("no limit to compare with: %v", err)
	} else if err != nil {
		b.Fatal(err)
	}
}

func runLimit(ctx context.Context, batch, n int, give bool) (limit.Result, error) {
	r, err := limit.Run(ctx, limit.Options{Batch: batch, Messages: limit.Messages(batch, !give), Total: int64(n), Lend: !give})
	if err == nil && r.Refused > 0 {
		err = fmt.Errorf("the kernel refused %d sends: that is not the limit", r.Refused)
	}
	return r, err
}
