//go:build linux && !fdpass_portable

package sys

import "golang.org/x/sys/unix"

// RefuseRights has the kernel refuse descriptors that others send to the socket fd, and to the sockets that it
// accepts: their sendmsg(2) fails with EPERM. What is queued already still comes, and before Linux 6.16 the option is
// unknown (ENOPROTOOPT), so whoever calls this must be ready to close descriptors all the same.
func RefuseRights(fd int) { unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_PASSRIGHTS, 0) }
