//go:build linux && !fdpass_portable

package sys

import "golang.org/x/sys/unix"

func closeRange(lo, hi int) {
	// It does not tell of a number that is not open. It fails before Linux 5.9, and where a seccomp filter forbids it.
	if invariants || unix.CloseRange(uint(lo), uint(hi), 0) != nil {
		closeEach(lo, hi)
	}
}
