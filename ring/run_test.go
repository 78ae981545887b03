package ring

import (
	"fmt"
	"testing"
)

func TestAMarkSaysHowLongItsRunIsInItsOwnLapOnly(t *testing.T) {
	for _, capacity := range []uint64{1, 2, 8, 1 << 20} {
		for _, pos := range []uint64{0, capacity - 1, capacity, 5*capacity + capacity/2, 1<<62 + capacity - 1} {
			for _, n := range []uint64{1, (capacity + 1) / 2, capacity} {
				t.Run(fmt.Sprintf("capacity=%d/pos=%d/n=%d", capacity, pos, n), func(t *testing.T) {
					mask := capacity - 1
					mark := runMark(pos, int(n), mask)
					if got := runLength(mark, pos, mask); got != n {
						t.Errorf("the run has length %d", got)
					}
					for _, other := range []uint64{pos - capacity, pos + capacity, pos + 2*capacity, pos + 1<<32*capacity} {
						if got := runLength(mark, other, mask); got != 0 {
							t.Errorf("at %d the mark says %d", other, got)
						}
					}
					if got := runLength(0, pos, mask); got != 0 {
						t.Errorf("a mark never stored says %d", got)
					}
				})
			}
		}
	}
}
