//go:build unix && (!linux || fdpass_portable)

package sys

func closeRange(lo, hi int) { closeEach(lo, hi) }

func closeBriefly(lo, hi int) { closeEach(lo, hi) }

// Brief and BriefStream return false: elsewhere package syscall makes no system call without telling the Go runtime.
func Brief(int) bool { return false }

func BriefStream(int) bool { return false }
