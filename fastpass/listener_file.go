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
	d, err := newStagingDir(path)
	if err != nil {
		return nil, nil, err
	}
	defer d.remove()
	ln, err := d.listen(c, network)
	if err != nil {
		return nil, nil, err
	}
	fi, err := d.publish(path)
	if err != nil {
		ln.Close()
		return nil, nil, err
	}
	return ln, fi, nil
}

// stagingDir is a directory that only this process's user can enter, in which a socket is made.
type stagingDir struct {
	path  string
	file  string   // the path of the socket
	addr  string   // a path of the socket that is short enough to bind
	alias *os.File // of the directory, for addr; nil: it needs none
}

const stagingPrefix = ".fastpass-"

func newStagingDir(path string) (*stagingDir, error) {
	d := new(stagingDir)
	parent, name := filepath.Split(path)
	for {
		d.path = parent + fmt.Sprintf("%s%08x", stagingPrefix, rand.Uint32())
		err := os.Mkdir(d.path, 0o700)
		if err == nil {
			err = os.Chmod(d.path, 0o700) // a strict umask would keep even this process out
			if err == nil {
				break
			}
			os.Remove(d.path)
		}
		if !errors.Is(err, fs.ErrExist) {
			return nil, fmt.Errorf("cannot make a directory in %s: %w", filepath.Dir(path), bareError(err))
		}
	}
	d.file = d.path + "/" + name
	d.addr = d.file
	if len(d.addr) >= sunPath {
		if err := d.shorten(path); err != nil {
			d.remove()
			return nil, err
		}
	}
	return d, nil
}

// shorten finds a way to name the socket in which its directory's path does not count.
func (d *stagingDir) shorten(path string) error {
	d.file = d.path + "/s"
	d.addr = d.file
	if len(d.addr) < sunPath {
		return nil
	}
	var err error
	if d.alias, d.addr, err = aliasOf(d.path); err != nil {
		return tooLong(path, sunPath-1-(len(d.file)-len(path)))
	}
	d.addr += "/s"
	return nil
}

func (d *stagingDir) listen(c *Config, network string) (*net.UnixListener, error) {
	ln, err := c.listenUnix(network, d.addr)
	if err != nil {
		return nil, bareError(err)
	}
	ln.SetUnlinkOnClose(false)
	if err := os.Chmod(d.file, 0o600); err != nil {
		ln.Close()
		return nil, bareError(err)
	}
	return ln, nil
}

// publish moves the socket to path, after removing a dead one.
func (d *stagingDir) publish(path string) (fs.FileInfo, error) {
	fi, err := os.Lstat(d.file)
	if err != nil {
		return nil, bareError(err)
	}
	if err = moveNew(d.file, path); errors.Is(err, fs.ErrExist) {
		err = d.replaceDead(path)
	}
	return fi, bareError(err)
}

// remove removes what is left here.
func (d *stagingDir) remove() {
	os.Remove(d.file)
	if d.alias != nil {
		d.alias.Close()
	}
	os.Remove(d.path)
}

// replaceDead removes a dead socket and publishes. Whoever does that holds a lock: without it, one might look at the
// dead socket, another replace it, and the first then remove the other's. Those who find the place free need no lock:
// what they put there is alive.
func (d *stagingDir) replaceDead(path string) error {
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
	if err = moveNew(d.file, path); errors.Is(err, fs.ErrExist) {
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
