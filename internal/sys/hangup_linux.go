package sys

import "golang.org/x/sys/unix"

const pollHangUp = unix.POLLRDHUP

// MarkMessages implements Kernel: with credentials.
func (*system) MarkMessages(fd int) { unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_PASSCRED, 1) }
