//go:build unix

package fastpass

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"syscall"

	"example.com/fdpass/internal/sys"
)

// Dial connects to the Listener at path and makes the connection one end of a link. On Linux a path that begins with
// "@" is an abstract name. Config.Network must be the listener's, and so must Protocol.
//
// Before anything is sent to the process that listens, or read from it, Config.Authorize is asked about its
// credentials, which are those it had when it began to listen; a nil Authorize takes the same user and root. On
// systems that do not tell (see Credentials), a nil Authorize takes anybody: then who may make a socket in that
// directory decides.
//
// Dial blocks only while the listener has more connections waiting than it has room for, no longer than until ctx is
// done, and while Config.Authorize does. That the other end refuses this process shows later: Recv and Send then return
// ErrPeerGone. Any number of goroutines may dial.
//
// Errors: that of ctx; fs.ErrNotExist; syscall.ECONNREFUSED if nobody listens there, or not on a socket;
// syscall.EPROTOTYPE if the listener has the other socket type; syscall.ENAMETOOLONG; fs.ErrPermission if this
// process may not connect, or if the listener is not to be trusted; what Config.Authorize returned. They say which.
func Dial(ctx context.Context, path string, cfg *Config) (*Passer, error) {
	c, err := cfg.withDefaults(sys.System.SoftLimit())
	if err != nil {
		return nil, err
	}
	conn, err := dial(ctx, path, &c)
	if err != nil {
		return nil, fmt.Errorf("fastpass: dial %s: %w", path, err)
	}
	return New(conn, cfg)
}

// dial returns a connection whose other end is authorized.
func dial(ctx context.Context, path string, c *Config) (*net.UnixConn, error) {
	if err := checkPath(path); err != nil {
		return nil, err
	}
	conn, err := c.connect(ctx, path)
	if err != nil {
		return nil, err
	}
	if err := c.authorize(conn); err != nil {
		closeSocket(conn)
		return nil, fmt.Errorf("the process that listens there is not authorized: %w", err)
	}
	return conn, nil
}

// connect returns a connection to the socket at path. While the backlog is full Linux says EAGAIN at once instead of
// letting a non-blocking connect wait, and never says when there is room.
func (c *Config) connect(ctx context.Context, path string) (*net.UnixConn, error) {
	network, d := c.network(), net.Dialer{Control: c.prepare}
	for pause := shortage; ; {
		conn, err := d.DialContext(ctx, network, path)
		if err == nil {
			return conn.(*net.UnixConn), nil
		}
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		if !errors.Is(err, syscall.EAGAIN) {
			return nil, explainConnect(path, network, err)
		}
		if err := pause.wait(ctx, nil); err != nil {
			return nil, err
		}
	}
}

// explainConnect adds to an error of connect(2) what it means for path.
func explainConnect(path, network string, err error) error {
	var errno syscall.Errno
	if !errors.As(err, &errno) {
		return err
	}
	if !isAbstract(path) && (errno == syscall.ECONNREFUSED || errno == syscall.ENOTSOCK) {
		if fi, serr := os.Stat(path); serr == nil && fi.Mode().Type() != fs.ModeSocket {
			return fmt.Errorf("it is %s and no socket: %w", kindOf(fi.Mode()), errno)
		}
	}
	switch {
	case errno == syscall.ECONNREFUSED && isAbstract(path):
		return fmt.Errorf("nobody listens on this abstract name: %w", errno)
	case errno == syscall.ECONNREFUSED:
		return fmt.Errorf("nobody listens on this socket, which a process that has ended may have left: %w", errno)
	case errno == syscall.EPROTOTYPE:
		return fmt.Errorf("the listener's Config.Network is not %q: %w", network, errno)
	case errno == syscall.EACCES:
		return fmt.Errorf("the mode of the socket or of a directory above it does not let this process connect: %w", errno)
	}
	return errno
}
