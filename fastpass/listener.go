//go:build unix

package fastpass

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"example.com/fdpass/internal/sys"
)

// Listener accepts links on a socket in the filesystem, or on an abstract name. All its methods may be called from
// any number of goroutines.
type Listener struct {
	cfg  Config // as it was given: each link makes its own defaults
	ln   *net.UnixListener
	addr net.UnixAddr
	path string      // of the socket file, absolute; "" if there is none
	file fs.FileInfo // the socket file as it was made

	turn    chan struct{} // the caller of Accept whose token is in it waits in accept(2)
	done    chan struct{} // closed by Close
	closed  sync.Once
	refused atomic.Uint64
}

// Listen makes a socket at path and listens on it. Processes that Dial it, each with the same Config.Protocol and
// Network, become links through Accept. The directory must exist. It does not block, except for the moment that
// another process takes to replace a dead socket in the same place; after 5 s of that it fails.
//
// The socket has mode 0600 from its first moment, whatever the umask, and from the moment at which path exists this
// process listens there. To let other users in, chmod it (or make the path in a directory that only they can enter) and
// set Config.Authorize.
//
// The directory must not let others rename or remove what is in it: it is not writable for them, or sticky like /tmp.
//
// Listen never replaces anything but a socket of this process's own user on which nobody listens any more, as a
// process that was killed leaves it. A socket that is alive, of whatever type, and one of another user stay as they
// are, and so does everything that is no socket, symbolic links included. Of several processes that call Listen at
// once for the same path exactly one succeeds.
//
// On Linux a path that begins with "@" is an abstract name: nothing is made in the filesystem, it ends with the
// process, and there is no mode: every process in the same network namespace can connect, so that Authorize alone
// decides.
//
// The socket is made in a directory of mode 0700 beside path, and moved from there: lists of sockets, such as that of
// ss(8), show it under the name that it was made with, .fastpass-<number>/<name>. A process that is killed at that
// moment leaves the directory behind.
//
// Errors: syscall.EADDRINUSE if the socket is in use; fs.ErrPermission if it is another user's, or this process may
// not write in the directory; fs.ErrExist if there is something else than a socket; syscall.ENAMETOOLONG if the path
// does not fit into a socket address. They say which.
func Listen(path string, cfg *Config) (*Listener, error) {
	c, err := cfg.withDefaults(sys.System.SoftLimit())
	if err != nil {
		return nil, err
	}
	l := &Listener{
		addr: net.UnixAddr{Name: path, Net: c.network()},
		turn: make(chan struct{}, 1),
		done: make(chan struct{}),
	}
	if cfg != nil {
		l.cfg = *cfg
	}
	if err := l.listen(path); err != nil {
		return nil, fmt.Errorf("fastpass: listen %s: %w", path, err)
	}
	return l, nil
}

func (l *Listener) listen(path string) (err error) {
	if err := checkPath(path); err != nil {
		return err
	}
	if isAbstract(path) {
		l.ln, err = l.cfg.listenAbstract(&l.addr)
		return err
	}
	// The caller may change the working directory before Close looks for the file again.
	if l.path, err = absolute(path); err != nil {
		return err
	}
	l.ln, l.file, err = l.cfg.listenFile(path, l.addr.Net)
	return err
}

// Accept waits for the next process that connects and may take part, and returns the link with it. It does not wait for
// the peer to say anything: one that connects and stays silent holds up no one else, and shows only in the link's own
// methods. The Passer is the caller's, and lives on when the Listener is closed.
//
// Before anything is read from the peer, or sent to it, Config.Authorize is asked about its credentials, which are
// those it had when it connected; a nil Authorize takes the same user and root. One that is refused is closed and
// counted, see Refused; Accept goes on to the next. On systems that do not tell (see Credentials) a nil Authorize
// takes everybody, so that the mode of the socket, 0600 as Listen makes it, decides.
//
// It blocks until ctx is done or the listener is closed. While this process has no descriptor left, or the system no
// memory, it waits with growing pauses and leaves the clients in the backlog. Several goroutines may call it: each
// link goes to one of them, and while one is in Authorize the others accept.
//
// Errors: that of ctx; net.ErrClosed; those of accept(2) that are not of one connection only.
func (l *Listener) Accept(ctx context.Context) (*Passer, error) {
	for {
		conn, err := l.accept(ctx)
		if err != nil {
			return nil, err
		}
		if err := l.cfg.authorize(conn); err != nil {
			newReaper(sys.System).closeSocket(conn) // no second for each stranger
			l.refused.Add(1)
			continue
		}
		p, err := New(conn, &l.cfg)
		if err == nil {
			return p, nil
		}
		// Listen has checked the configuration, so it is this connection that is no good.
		l.refused.Add(1)
	}
}

// accept returns the next connection. One caller at a time waits in the kernel, as there is only one deadline with
// which to call it back; the others wait for their turn.
func (l *Listener) accept(ctx context.Context) (*net.UnixConn, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	select {
	case l.turn <- struct{}{}:
		defer func() { <-l.turn }()
	case <-ctx.Done():
		return nil, ctx.Err()
	case <-l.done:
		return nil, net.ErrClosed
	}
	calledBack := make(chan struct{})
	stop := context.AfterFunc(ctx, func() {
		l.ln.SetDeadline(longAgo)
		close(calledBack)
	})
	defer func() {
		if !stop() {
			<-calledBack
			l.ln.SetDeadline(time.Time{})
		}
	}()
	for pause := acceptPause; ; {
		conn, err := l.ln.AcceptUnix()
		switch {
		case err == nil:
			return conn, nil
		case ctx.Err() != nil:
			return nil, ctx.Err()
		case errors.Is(err, net.ErrClosed):
			return nil, net.ErrClosed
		case !isShortage(errnoOf(err)):
			return nil, fmt.Errorf("fastpass: accept %s: %w", l.addr.Name, err)
		}
		if err := pause.wait(ctx, l.done); err != nil {
			return nil, err
		}
	}
}

// acceptPause is how long accepting pauses while the system is short of something.
var acceptPause = backoff{first: 5 * time.Millisecond, most: time.Second}

// Close stops listening and removes the socket file, unless another file has been put in its place. Calls of Accept
// return net.ErrClosed, and processes that have connected but were not accepted see the end of the connection; links
// that were accepted are not touched. It takes a second at most, if one of those has sent what takes long to close.
// Closing twice returns net.ErrClosed.
func (l *Listener) Close() error {
	err := net.ErrClosed
	l.closed.Do(func() {
		close(l.done)
		// As long as the socket is open its inode number is not used again, and no other Listen takes it for dead.
		err = l.removeFile()
		closeSocket(l.ln)
	})
	return err
}

func (l *Listener) removeFile() error {
	if l.path == "" {
		return nil
	}
	if fi, err := os.Lstat(l.path); err != nil || !os.SameFile(fi, l.file) {
		return nil // gone, or another's
	}
	if err := os.Remove(l.path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("fastpass: close %s: %w", l.addr.Name, err)
	}
	return nil
}

// Addr returns the path that was given to Listen, as a *net.UnixAddr.
func (l *Listener) Addr() net.Addr {
	addr := l.addr
	return &addr
}

// Refused returns how many connections Accept has closed because the peer was not authorized, or had gone before a
// link could be made.
func (l *Listener) Refused() uint64 { return l.refused.Load() }
