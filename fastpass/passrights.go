//go:build unix

package fastpass

import (
	"context"
	"fmt"
	"net"
	"os"
	"syscall"

	"example.com/fdpass/internal/sys"
)

// An end that takes no descriptors has the kernel refuse them, on a socket of its own making before anybody can send:
// what a socket accepts has the option from the one that listens.

// listenUnix is net.ListenUnix with a socket that is prepared for this configuration.
func (c *Config) listenUnix(network, name string) (*net.UnixListener, error) {
	lc := net.ListenConfig{Control: c.prepare}
	ln, err := lc.Listen(context.Background(), network, name)
	if err != nil {
		return nil, err
	}
	return ln.(*net.UnixListener), nil
}

// prepare is the Control function of sockets that are about to be bound or connected.
func (c *Config) prepare(_, _ string, raw syscall.RawConn) error {
	return raw.Control(func(fd uintptr) { c.refuseRights(int(fd)) })
}

func (c *Config) refuseRights(fd int) {
	if !c.receives() {
		sys.RefuseRights(fd)
	}
}

// errRightsRefused is what EPERM means for a message with descriptors. Sending it again does not help: one of the ends
// has to change.
var errRightsRefused = fmt.Errorf("fastpass: the kernel lets the peer's socket take no descriptors, as that of an end that only sends "+
	"(its Config.Direction, SO_PASSRIGHTS): let the peer receive, or this end only receive: %w", os.NewSyscallError("sendmsg", syscall.EPERM))
