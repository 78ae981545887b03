//go:build darwin || solaris

package sys

import (
	"example.com/fdpass/cmsgpool"

	"golang.org/x/sys/unix"
)

const msgCloexec = 0 // there is no MSG_CMSG_CLOEXEC here

// closeOnExec marks the descriptors of a control message. A fork between recvmsg and here lets them through; the
// system offers no way to prevent it.
func closeOnExec(control []byte) {
	p := cmsgpool.Parse(control)
	for m, ok := p.Next(); ok; m, ok = p.Next() {
		if m.IsRights() {
			for _, fd := range m.FDs() {
				unix.CloseOnExec(int(fd))
			}
		}
	}
}
