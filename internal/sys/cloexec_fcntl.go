//go:build darwin || solaris

package sys

import (
	"syscall"

	"example.com/fdpass/cmsgpool"

	"golang.org/x/sys/unix"
)

// recvCloexec receives a message and makes its descriptors close-on-exec. There is no MSG_CMSG_CLOEXEC here: this
// process starts no other one in between.
func recvCloexec(fd int, data, control []byte, flags int) (n, ctllen, recvflags int, err error) {
	syscall.ForkLock.RLock()
	defer syscall.ForkLock.RUnlock()
	n, ctllen, recvflags, _, err = syscall.Recvmsg(fd, data, control, flags)
	if err != nil {
		return n, ctllen, recvflags, err
	}
	p := cmsgpool.Parse(control[:ctllen])
	for m, ok := p.Next(); ok; m, ok = p.Next() {
		if m.IsRights() {
			for _, fd := range m.FDs() {
				unix.CloseOnExec(int(fd))
			}
		}
	}
	return n, ctllen, recvflags, nil
}
