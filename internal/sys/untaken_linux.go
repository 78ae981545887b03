package sys

import "golang.org/x/sys/unix"

// Untaken implements Kernel.
func (*system) Untaken(fd int) int {
	n, err := unix.IoctlGetInt(fd, unix.SIOCOUTQ)
	if err != nil {
		return -1
	}
	return n
}
