//go:build unix && (!linux || fdpass_portable)

package sys

import "net"

type quiet struct {
	Conn
	fd int
}

// newQuiet returns nil: a quiet is for epoll.
func newQuiet(*net.UnixConn, int) *quiet { return nil }
