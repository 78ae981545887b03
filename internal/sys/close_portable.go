//go:build unix && (!linux || fdpass_portable)

package sys

func closeRange(lo, hi int) { closeEach(lo, hi) }
