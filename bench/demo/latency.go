//go:build unix

package main

import (
	"math/bits"
	"sync/atomic"
	"time"
)

// latency is a histogram of times in microseconds. Those below 64 have a bucket each, and above that every power of two
// has 32, so a quantile is at most 3 % too large.
type latency struct {
	buckets [32 * 32]atomic.Uint64
	longest atomic.Int64
}

func (l *latency) add(d time.Duration) {
	l.buckets[bucket(uint64(max(d.Microseconds(), 0)))].Add(1)
	for old := l.longest.Load(); int64(d) > old && !l.longest.CompareAndSwap(old, int64(d)); {
		old = l.longest.Load()
	}
}

func bucket(v uint64) int {
	v = min(v, 1<<32-1)
	shift := max(bits.Len64(v)-6, 0)
	return shift*32 + int(v>>shift)
}

// upper is the largest value in bucket i.
func upper(i int) uint64 {
	shift := max(i/32-1, 0)
	return uint64(i-shift*32+1)<<shift - 1
}

func (l *latency) max() time.Duration { return time.Duration(l.longest.Load()) }

// quantile returns a time that the share q of all was not above.
func (l *latency) quantile(q float64) time.Duration {
	var n, seen uint64
	for i := range l.buckets {
		n += l.buckets[i].Load()
	}
	for i := range l.buckets {
		if seen += l.buckets[i].Load(); n > 0 && float64(seen) >= q*float64(n) {
			return min(time.Duration(upper(i))*time.Microsecond, l.max())
		}
	}
	return 0
}
