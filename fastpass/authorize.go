//go:build unix

package fastpass

import (
	"errors"
	"fmt"
	"net"
	"os"

	"example.com/fdpass/internal/sys"
)

// authorize asks the kernel who is at the other end of conn, and the configuration whether that process may take
// part. Nothing has been read from conn or written to it.
func (c *Config) authorize(conn *net.UnixConn) error {
	peer, err := credentialsOf(conn)
	// Compared by identity: several errno values call themselves errors.ErrUnsupported, and one that a getsockopt
	// returns for this one socket must not open the door.
	unknown := err == errors.ErrUnsupported
	switch {
	case err != nil && !unknown:
		return fmt.Errorf("its credentials are not to be had: %w", err)
	case c.Authorize != nil:
		return c.Authorize(peer)
	case unknown:
		return nil // the mode of the socket and of its directory has decided
	}
	return sameUserOrRoot(peer)
}

// sameUserOrRoot is what a nil Config.Authorize means.
func sameUserOrRoot(peer Credentials) error {
	if own := os.Geteuid(); peer.UID != own && peer.UID != 0 {
		return fmt.Errorf("it runs as user %d, neither as this process's user %d nor as root: %w", peer.UID, own, os.ErrPermission)
	}
	return nil
}

func credentialsOf(conn *net.UnixConn) (peer Credentials, err error) {
	raw, err := conn.SyscallConn()
	if err != nil {
		return peer, err
	}
	var c sys.Credentials
	if cerr := raw.Control(func(fd uintptr) { c, err = sys.PeerCredentials(int(fd)) }); cerr != nil {
		return peer, cerr
	}
	return Credentials(c), err
}
