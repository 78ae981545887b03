//go:build unix && (!linux || fdpass_portable)

package sys

import "net"

type quiet struct{ Conn }

// newQuiet returns nil: a quiet is for epoll.
func newQuiet(int, net.Addr) *quiet { return nil }
