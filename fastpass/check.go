//go:build unix

package fastpass

import (
	"fmt"
	"math"
	"syscall"
)

// checkDesc says what is wrong with d, as far as that can be told without asking the kernel.
func checkDesc(d *Desc, maxPayload int) error {
	if !isNumber(d.FD) {
		return &DescError{d.FD, syscall.EBADF}
	}
	return checkPayload(d, maxPayload)
}

// isNumber reports whether fd can be the number of a descriptor.
func isNumber(fd int) bool { return fd >= 0 && fd <= math.MaxInt32 }

func checkPayload(d *Desc, maxPayload int) error {
	if len(d.Payload) > maxPayload {
		return &DescError{d.FD, fmt.Errorf("a payload of %d bytes, over the limit of %d (MaxPayload)", len(d.Payload), maxPayload)}
	}
	return nil
}
