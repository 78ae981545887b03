package ring

import "strconv"

// checkCapacity panics unless n is a power of two. With powers of two the index of a position is its lowest bits, and
// its lap all others: see runMark.
func checkCapacity(constructor string, n int) {
	if n < 1 || n&(n-1) != 0 {
		panic("ring: " + constructor + ": capacity " + strconv.Itoa(n) + " is not a power of two of at least 1")
	}
}

// between returns how many entries lie in [head, tail), two cursors that moved while they were read: without
// a snapshot the difference can leave the range 0..capacity for a moment.
func between(head, tail uint64, capacity int) int {
	return int(min(max(int64(tail-head), 0), int64(capacity)))
}
