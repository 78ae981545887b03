//go:build unix

package cmsgpool

import "golang.org/x/sys/unix"

const (
	solSocket = unix.SOL_SOCKET
	scmRights = unix.SCM_RIGHTS
)

// host is asked of x/sys at start, because DragonFly's alignment depends on the
// version of the kernel.
var host = layout{
	header: unix.SizeofCmsghdr,
	data:   unix.CmsgLen(0),
	align:  unix.CmsgSpace(1) - unix.CmsgSpace(0),
}
