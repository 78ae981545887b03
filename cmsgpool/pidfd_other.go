//go:build !linux

package cmsgpool

// isPidfd: only Linux has SCM_PIDFD, and its number means something else here.
func isPidfd(level, typ int32) bool { return false }
