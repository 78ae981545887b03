//go:build unix

package fastpass

import (
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"net"
	"os"
	"path/filepath"
	"syscall"

	"golang.org/x/sys/unix"
)

// How a socket file comes into being: bound and listening in a directory beside its place that nobody else can enter,
// and moved into its place from there, by an operation that fails if something is there already. So its mode is never
// open to others, umask(2), which belongs to the whole process, stays alone, a client that finds the file finds
// somebody listening, and two that want the same place cannot both have it. fchmod(2) on a socket before bind(2)
// makes Linux create the file with that mode, but only Linux, and the file would exist before anybody listens.

func (c *Config) listenAbstract(addr *net.UnixAddr) (*net.UnixListener, error) {
	ln, err := c.listenUnix(addr.Net, addr.Name)
	if errors.Is(err, syscall.EADDRINUSE) {
		return nil, errInUse
	}
	return ln, bareError(err)
}

// listenFile makes a socket file at path and listens on it.
func (c *Config) listenFile(path, network string) (*net.UnixListener, fs.FileInfo, error) {
	if err := checkDead(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, nil, err
	}
	b, err := newBirthplace(path)
	if err != nil {
		return nil, nil, err
	}
	defer b.remove()
	ln, err := b.listen(c, network)
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
			err = os.Chmod(b.dir, 0o700) // a strict umask would keep even this process out
			if err == nil {
				break
			}
			os.Remove(b.dir)
		}
		if !errors.Is(err, fs.ErrExist) {
			return nil, fmt.Errorf("cannot make a directory in %s: %w", parent, bareError(err))
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

func (b *birthplace) listen(c *Config, network string) (*net.UnixListener, error) {
	ln, err := c.listenUnix(network, b.addr)
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

// replaceDead removes a dead socket and publishes. Whoever does that holds a lock: without it, one might look at the
// dead socket, another replace it, and the first then remove the other's. Those who find the place free need no lock:
// what they put there is alive.
func (b *birthplace) replaceDead(path string) error {
	unlock, err := lockPlace(path)
	if err != nil {
		return err
	}
	defer unlock()
	if err = checkDead(path); err == nil {
		err = os.Remove(path)
	}
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if err = moveNew(b.file, path); errors.Is(err, fs.ErrExist) {
		return errInUse // somebody has found the place free
	}
	return err
}

// moveNew gives the file old the name new, unless there is one already: then it returns an fs.ErrExist. Where that
// cannot be done at once the file keeps both names, and the caller removes the old one.
func moveNew(old, new string) error {
	switch err := renameNew(old, new); err {
	case unix.ENOSYS, unix.EINVAL, unix.ENOTSUP:
		return os.Link(old, new)
	default:
		return err
	}
}
