package ring

import "strconv"

// checkCapacity panics unless n is a power of two. Powers of two make the index of a position one AND, and a lap one
// shift.
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
