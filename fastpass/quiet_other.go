//go:build unix && (!linux || fdpass_portable)

package fastpass

import (
	"net"
	"syscall"
)

// quiet is for epoll.
func quiet(c *net.UnixConn, raw syscall.RawConn, socket int) (conn, syscall.RawConn, int) {
	return c, raw, socket
}
