//go:build linux && !fdpass_portable

package fastpass

import (
	"net"
	"syscall"

	"example.com/fdpass/internal/sys"
)

// quiet makes the socket of a link that only sends one that does not wake this process whenever the peer takes something.
func quiet(c *net.UnixConn, raw syscall.RawConn, socket int) (conn, syscall.RawConn, int) {
	if q := sys.NewQuiet(c, socket); q != nil {
		return q, q, q.Socket()
	}
	return c, raw, socket
}
