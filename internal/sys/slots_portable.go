//go:build unix && (!linux || fdpass_portable)

package sys

// FreeSlots implements Kernel.
func (system) FreeSlots(source, want int) int { return probeByDup(source, want) }
