//go:build linux && !fdpass_portable

package sys

import "golang.org/x/sys/unix"

func closeRange(lo, hi int) {
	if unix.CloseRange(uint(lo), uint(hi), 0) != nil { // before Linux 5.9, or forbidden by a seccomp filter
		closeEach(lo, hi)
	}
}
