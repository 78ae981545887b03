//go:build unix

package fastpass

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// How a socket file comes into being: bound and listening in a directory beside its place that nobody else can enter,
// and moved into its place from there, by an operation that fails if something is there already. So its mode is never open
// to others, umask(2), which belongs to the whole process, stays alone, a client that finds the file finds somebody
// listening, and two that want the same place cannot both have it. fchmod(2) on a socket before bind(2) makes Linux
// create the file with that mode, but only Linux, and the file would exist before anybody listens.

// sunPath is the size of a socket address's path here: 108 bytes on Linux and illumos, 104 on most others.
const sunPath = len(unix.RawSockaddrUnix{}.Path)

// checkPath says what is wrong with path as the address of a socket.
func checkPath(path string) error {
	limit := sunPath - 1 // a zero byte ends it
	if isAbstract(path) {
		limit = sunPath
	}
	switch {
	case path == "":
		return fmt.Errorf("the path is empty: %w", syscall.EINVAL)
	case isAbstract(path) && len(path) == 1:
		return fmt.Errorf("no name follows the @: %w", syscall.EINVAL)
	case strings.IndexByte(path, 0) >= 0:
		return fmt.Errorf("the path contains a zero byte: %w", syscall.EINVAL)
	case len(path) > limit:
		return tooLong(path, limit)
	}
	return nil
}

func tooLong(path string, limit int) error {
	return fmt.Errorf("the path is %d bytes long, and a socket's may be %d here: %w", len(path), limit, syscall.ENAMETOOLONG)
}

func isAbstract(path string) bool { return hasAbstract && strings.HasPrefix(path, "@") }

func listenAbstract(addr *net.UnixAddr) (*net.UnixListener, error) {
	ln, err := net.ListenUnix(addr.Net, addr)
	if errors.Is(err, syscall.EADDRINUSE) {
		return nil, errInUse
	}
	return ln, bareError(err)
}

// listenFile makes a socket file at path and listens on it.
func listenFile(path, network string) (*net.UnixListener, fs.FileInfo, error) {
	b, err := newBirthplace(path)
	if err != nil {
		return nil, nil, err
	}
	defer b.remove()
	ln, err := b.listen(network)
	if err != nil {
		return nil, nil, err
	}
	fi, err := b.publish(path)
	if err != nil {
		ln.Close()
		return nil, nil, err
	}
	return ln, fi, nil
}

// birthplace is a directory that only this process's user can enter, in which a socket is made.
type birthplace struct {
	dir   string // its path
	file  string // the socket's
	addr  string // a path of the socket that is short enough to bind
	alias *os.File
}

const birthplacePrefix = ".fastpass-"

func newBirthplace(path string) (*birthplace, error) {
	b := new(birthplace)
	parent, name := filepath.Dir(path), filepath.Base(path)
	for {
		b.dir = filepath.Join(parent, fmt.Sprintf("%s%08x", birthplacePrefix, rand.Uint32()))
		err := os.Mkdir(b.dir, 0o700)
		if err == nil {
			break
		}
		if !errors.Is(err, fs.ErrExist) {
			return nil, bareError(err)
		}
	}
	b.file = filepath.Join(b.dir, name)
	b.addr = b.file
	if len(b.addr) >= sunPath {
		if err := b.shorten(path); err != nil {
			b.remove()
			return nil, err
		}
	}
	return b, nil
}

// shorten finds a way to name the socket in which its directory's path does not count.
func (b *birthplace) shorten(path string) error {
	b.file = filepath.Join(b.dir, "s")
	b.addr = b.file
	if len(b.addr) < sunPath {
		return nil
	}
	var err error
	if b.alias, b.addr, err = aliasOf(b.dir); err != nil {
		return tooLong(path, sunPath-1-(len(b.file)-len(path)))
	}
	b.addr += "/s"
	return nil
}

func (b *birthplace) listen(network string) (*net.UnixListener, error) {
	ln, err := net.ListenUnix(network, &net.UnixAddr{Name: b.addr, Net: network})
	if err != nil {
		return nil, bareError(err)
	}
	ln.SetUnlinkOnClose(false)
	if err := os.Chmod(b.file, 0o600); err != nil {
		ln.Close()
		return nil, bareError(err)
	}
	return ln, nil
}

// publish moves the socket to path, after removing a dead one.
func (b *birthplace) publish(path string) (fs.FileInfo, error) {
	fi, err := os.Lstat(b.file)
	if err != nil {
		return nil, bareError(err)
	}
	if err = moveNew(b.file, path); errors.Is(err, fs.ErrExist) {
		err = b.replaceDead(path)
	}
	return fi, bareError(err)
}

// remove removes what is left here.
func (b *birthplace) remove() {
	os.Remove(b.file)
	if b.alias != nil {
		b.alias.Close()
	}
	os.Remove(b.dir)
}

// replaceDead removes a dead socket and publishes. Whoever does that holds a lock: without it, one might look at
// the dead socket, another replace it, and the first then remove the other's. Those who find the place free need no lock:
// what they put there is alive.
func (b *birthplace) replaceDead(path string) error {
	if err := checkDead(path); err != nil {
		return err
	}
	unlock, err := lockPlace(path)
	if err != nil {
		return err
	}
	defer unlock()
	if err := checkDead(path); err == nil {
		if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	} else if !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if err := moveNew(b.file, path); !errors.Is(err, fs.ErrExist) {
		return err
	}
	return errInUse // somebody has found the place free
}

var errInUse = fmt.Errorf("another process, or this one, listens there: %w", syscall.EADDRINUSE)

// checkDead returns nil if there is a socket of this process's user at path that no process has open.
func checkDead(path string) error {
	fi, err := os.Lstat(path)
	if err != nil {
		return err
	}
	if fi.Mode().Type() != fs.ModeSocket {
		return fmt.Errorf("it is %s, which is not replaced: %w", kindOf(fi.Mode()), fs.ErrExist)
	}
	if owner, own := int(fi.Sys().(*syscall.Stat_t).Uid), os.Geteuid(); owner != own {
		return fmt.Errorf("it is a socket of user %d, and this process, of user %d, replaces only its own: %w", owner, own, fs.ErrPermission)
	}
	switch errno := probeSocket(path); errno {
	case syscall.ECONNREFUSED:
		return nil
	case 0, syscall.EPROTOTYPE:
		return errInUse
	default:
		return fmt.Errorf("there is a socket, and whether it is in use cannot be told: %w", os.NewSyscallError("connect", errno))
	}
}

// probeSocket connects a datagram socket to path: a living stream or seqpacket socket refuses that with EPROTOTYPE,
// and its owner notices nothing; one that is bound and does not listen yet does as well. A dead one answers ECONNREFUSED.
func probeSocket(path string) syscall.Errno {
	syscall.ForkLock.RLock()
	fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_DGRAM, 0)
	if err == nil {
		unix.CloseOnExec(fd)
	}
	syscall.ForkLock.RUnlock()
	if err == nil {
		defer unix.Close(fd)
		err = unix.Connect(fd, &unix.SockaddrUnix{Name: path})
	}
	errno := syscall.Errno(0)
	errors.As(err, &errno)
	return errno
}

// placeLocks keeps goroutines apart: record locks belong to the process.
var placeLocks sync.Mutex

const lockPatience = 5 * time.Second

// lockPlace takes a lock that processes of this user share which want to replace what is at path. It is a file beside it,
// of mode 0600, so that no other user can hold the lock, and the one who has it removes the file before letting go of it: a process
// that has the lock on a file that is not there any more has nothing, and tries again.
func lockPlace(path string) (unlock func(), err error) {
	placeLocks.Lock()
	name := filepath.Join(filepath.Dir(path), "."+filepath.Base(path)+".lock")
	var f *os.File
	ctx, cancel := context.WithTimeout(context.Background(), lockPatience)
	defer cancel()
	for pause := (backoff{first: time.Millisecond, most: 16 * time.Millisecond}); ; {
		if f, err = tryLock(name); err != errLocked {
			break
		}
		if pause.wait(ctx, nil) != nil {
			break
		}
	}
	if err != nil {
		placeLocks.Unlock()
		return nil, fmt.Errorf("lock %s: %w", name, err)
	}
	return func() {
		os.Remove(name)
		f.Close()
		placeLocks.Unlock()
	}, nil
}

var errLocked = errors.New("another process holds it")

func tryLock(name string) (*os.File, error) {
	f, err := os.OpenFile(name, os.O_RDWR|os.O_CREATE|unix.O_NOFOLLOW|unix.O_NONBLOCK, 0o600)
	if err != nil {
		return nil, bareError(err)
	}
	if err = lockFile(f, name); err != nil {
		f.Close()
		return nil, err
	}
	return f, nil
}

// lockFile locks f, if it is still the file called name.
func lockFile(f *os.File, name string) error {
	fi, err := f.Stat()
	if err != nil {
		return bareError(err)
	}
	if !fi.Mode().IsRegular() || int(fi.Sys().(*syscall.Stat_t).Uid) != os.Geteuid() {
		return fmt.Errorf("it is not this user's file: %w", fs.ErrPermission)
	}
	switch err := unix.FcntlFlock(f.Fd(), unix.F_SETLK, &unix.Flock_t{Type: unix.F_WRLCK}); err {
	case nil:
	case unix.EAGAIN, unix.EACCES, unix.EINTR:
		return errLocked
	default:
		return os.NewSyscallError("fcntl", err)
	}
	if now, err := os.Lstat(name); err != nil || !os.SameFile(fi, now) {
		return errLocked // by one who has removed it since
	}
	return nil
}

// moveNew gives the file old the name new, unless there is one already: then it returns an fs.ErrExist.
func moveNew(old, new string) error {
	switch err := renameNew(old, new); err {
	case unix.ENOSYS, unix.EINVAL, unix.ENOTSUP:
		// This system or filesystem cannot. Two names for a moment do no harm.
	default:
		return err
	}
	if err := os.Link(old, new); err != nil {
		return err
	}
	return os.Remove(old)
}

// bareError is the error in err, without the names of files that the caller knows nothing of.
func bareError(err error) error {
	var call *os.SyscallError
	var path *fs.PathError
	var link *os.LinkError
	switch {
	case errors.As(err, &call):
		return call
	case errors.As(err, &path):
		return os.NewSyscallError(path.Op, path.Err)
	case errors.As(err, &link):
		return os.NewSyscallError(link.Op, link.Err)
	}
	return err
}

// kindOf names what kind of file m is.
func kindOf(m fs.FileMode) string {
	switch m.Type() {
	case 0:
		return "a regular file"
	case fs.ModeDir:
		return "a directory"
	case fs.ModeSymlink:
		return "a symbolic link"
	case fs.ModeNamedPipe:
		return "a named pipe"
	case fs.ModeSocket:
		return "a socket"
	}
	return "a device"
}
