package cmsgpool

import (
	"fmt"
	"slices"
	"testing"
)

func TestBufferHoldsEverythingThatOneMessageCanCarry(t *testing.T) {
	const creds, pidfd, spare = 4*7 + 4*16, 4, 128 // sockcred with 16 groups
	eachLayout(t, func(t *testing.T) {
		need := len(build(rights(make([]int32, MaxFDs)...), other(creds), other(pidfd))) + spare
		if got := len(new(Buffer).Raw()); got < need {
			t.Errorf("Raw has %d bytes, need %d", got, need)
		}
	})
}

func TestRightsRoundTripsEveryCount(t *testing.T) {
	eachLayout(t, func(t *testing.T) {
		var b Buffer
		for n := 1; n <= MaxFDs; n++ {
			for i := range b.words { // what an earlier use leaves behind
				b.words[i] = ^uint64(0)
			}
			slots := b.Rights(n)
			if len(slots) != n || cap(slots) != n {
				t.Fatalf("Rights(%d) has %d slots, capacity %d", n, len(slots), cap(slots))
			}
			want := make([]int, n)
			for i := range slots {
				slots[i] = int32(1000*n + i)
				want[i] = 1000*n + i
			}
			oob := b.Raw()[:Space(n)]
			if got := AppendFDs(nil, oob); !slices.Equal(got, want) {
				t.Fatalf("n = %d: got %v", n, got)
			}
			if got := walk(t, oob); len(got) != 1 || got[0] != fmt.Sprint("rights ", slots) {
				t.Fatalf("n = %d: got %q", n, got)
			}
		}
	})
}

func TestCountsOutOfRangePanic(t *testing.T) {
	for _, n := range []int{-1 << 31, -1, 0, MaxFDs + 1, 1 << 30} {
		if !panics(func() { new(Buffer).Rights(n) }) {
			t.Errorf("Rights(%d) did not panic", n)
		}
		if n != 0 && !panics(func() { Space(n) }) {
			t.Errorf("Space(%d) did not panic", n)
		}
	}
	if got := Space(0); got != 0 {
		t.Errorf("Space(0) = %d", got)
	}
}

func panics(f func()) (yes bool) {
	defer func() { yes = recover() != nil }()
	f()
	return false
}
