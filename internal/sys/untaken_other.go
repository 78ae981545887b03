//go:build unix && !linux

package sys

// Untaken implements Kernel.
func (*system) Untaken(int) int { return -1 }
