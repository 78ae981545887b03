//go:build unix && !(darwin || solaris)

package sys

import (
	"syscall"

	"golang.org/x/sys/unix"
)

// recvCloexec receives a message whose descriptors are close-on-exec.
func recvCloexec(fd int, data, control []byte, flags int) (n, ctllen, recvflags int, err error) {
	n, ctllen, recvflags, _, err = syscall.Recvmsg(fd, data, control, flags|unix.MSG_CMSG_CLOEXEC)
	return n, ctllen, recvflags, err
}
