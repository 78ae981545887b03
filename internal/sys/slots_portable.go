//go:build unix && (!linux || fdpass_portable)

package sys

// FreeSlots is how many descriptors, up to want or MaxProbe, this process could open now. Any answer races with other
// goroutines and threads. Source is any open descriptor.
func FreeSlots(source, want int) int { return probeByDup(source, want) }
