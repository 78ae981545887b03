package sys

import (
	"bytes"
	"os"
	"strconv"
	"sync"

	"golang.org/x/sys/unix"
)

// wmemMax is what an unprivileged process may ask for with SO_SNDBUF; it gets twice as much.
var wmemMax = sync.OnceValue(func() int {
	b, _ := os.ReadFile("/proc/sys/net/core/wmem_max")
	if n, err := strconv.Atoi(string(bytes.TrimSpace(b))); err == nil {
		return n
	}
	return 212992 // the kernel's default
})

// EnlargeBuffers does nothing: the default is large enough.
func EnlargeBuffers(int) {}

// KeepRaisable lowers the send buffer of fd if it is so large that RaiseSendBuffer could raise it no further.
func KeepRaisable(fd int) {
	n, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_SNDBUF)
	if most := wmemMax(); err == nil && n > most {
		unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_SNDBUF, most/2)
	}
}
