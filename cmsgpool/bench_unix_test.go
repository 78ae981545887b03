//go:build unix

package cmsgpool

import (
	"fmt"
	"testing"

	"golang.org/x/sys/unix"
)

// BenchmarkXSys is the baseline: the same two jobs done with x/sys.
func BenchmarkXSys(b *testing.B) {
	for _, n := range counts {
		fds := make([]int, n)
		b.Run(fmt.Sprint("op=rights/n=", n), func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				unix.UnixRights(fds...)
			}
		})
		b.Run(fmt.Sprint("op=parse/n=", n), func(b *testing.B) {
			b.ReportAllocs()
			oob := build(other(12), rights(make([]int32, n)...))
			for b.Loop() {
				msgs, err := unix.ParseSocketControlMessage(oob)
				if err != nil {
					b.Fatal(err)
				}
				if _, err := unix.ParseUnixRights(&msgs[1]); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
