//go:build unix && !(darwin || solaris)

package sys

import (
	"syscall"

	"golang.org/x/sys/unix"
)

// recvCloexec receives a message whose descriptors are close-on-exec.
func recvCloexec(fd int, data, control []byte, flags int) (n, ctllen, came int, err error) {
	n, ctllen, came, _, err = syscall.Recvmsg(fd, data, control, flags|unix.MSG_CMSG_CLOEXEC)
	return n, ctllen, came, err
}
