//go:build unix && !linux

package sys

// KeepHeadroom does nothing here: the largest send buffer is far above what anybody sets.
func KeepHeadroom(int) {}
