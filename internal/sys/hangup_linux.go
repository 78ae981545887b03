package sys

import "golang.org/x/sys/unix"

const pollHangUp = unix.POLLRDHUP

// MarkMessages implements Kernel: with credentials.
func (*system) MarkMessages(fd int) (more bool) {
	if n, err := unix.IoctlGetInt(fd, unix.TIOCINQ); err == nil && n > 0 {
		return true
	}
	unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_PASSCRED, 1)
	return false
}
