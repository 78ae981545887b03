//go:build unix

package sys

// maxProbe is the largest number of slots that a probe takes, or asks for with one call of poll.
const maxProbe = 1024

// probeByDup finds out by trying how many descriptors, up to want and maxProbe, this process could open now: it
// duplicates source, and closes the duplicates again. It is exact, but every duplicate costs about 200 ns, and other
// goroutines may see EMFILE meanwhile.
func probeByDup(source, want int) int {
	var fds [maxProbe]int
	n := 0
	for want = min(want, maxProbe); n < want; n++ {
		if fds[n] = System.Dup(source); fds[n] < 0 {
			break
		}
	}
	CloseFDs(fds[:n])
	return n
}

// SoftLimit implements Kernel.
func (*system) SoftLimit() int {
	n, ok := softLimit()
	if !ok {
		return 256
	}
	return int(min(n, 1<<30))
}
