//go:build unix

package fastpass

import (
	"slices"
	"sync"
	"testing"
)

// TestAVectorHasOneOwner takes more vectors at a time than are kept, from many goroutines.
func TestAVectorHasOneOwner(t *testing.T) {
	pool := vectorsOf(2, 321)
	var wg sync.WaitGroup
	for id := range 2 * vectorsKept {
		wg.Go(func() {
			for range 300 {
				v := pool.get()
				v.counts[0] = id // the race detector sees a second owner, too
				v.data[1][0] = byte(id)
				if v.counts[0] != id || v.data[1][0] != byte(id) {
					t.Error("two goroutines have the same vector")
				}
				v.put()
			}
		})
	}
	wg.Wait()
}

// TestVectorsAreKept holds that as many vectors as are kept are found again, and those beyond that made anew.
func TestVectorsAreKept(t *testing.T) {
	pool := vectorsOf(3, 123)
	take := func() (vs []*vector) {
		for range vectorsKept + 1 {
			vs = append(vs, pool.get())
		}
		return vs
	}
	giveBack := func(vs []*vector) {
		for _, v := range slices.Backward(vs) {
			v.put()
		}
	}
	before := take()
	giveBack(before)
	after := take()
	defer giveBack(after)
	for i, v := range before {
		if again := slices.Contains(after, v); again != (i < vectorsKept) {
			t.Errorf("vector %d is found again: %v", i, again)
		}
	}
	if vectorsOf(3, 123) != pool || vectorsOf(2, 123) == pool {
		t.Error("a pool is for one shape, and the only one for it")
	}
}
