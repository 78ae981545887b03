//go:build unix

package fastpass

import (
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

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

// absolute returns path from the root on. It leaves ".." in it: behind a symbolic link that leads to another place than
// filepath.Abs says.
func absolute(path string) (string, error) {
	if filepath.IsAbs(path) {
		return path, nil
	}
	dir, err := os.Getwd()
	return dir + "/" + path, err
}

// isAbstract tells whether path is a name outside the filesystem, which package net writes with an "@".
func isAbstract(path string) bool {
	return (runtime.GOOS == "linux" || runtime.GOOS == "android") && strings.HasPrefix(path, "@")
}

// bareError is what err says of a system call, without the names of files that the caller knows nothing of.
func bareError(err error) error {
	switch e := err.(type) {
	case *net.OpError:
		return e.Err
	case *fs.PathError:
		return os.NewSyscallError(e.Op, e.Err)
	case *os.LinkError:
		return os.NewSyscallError(e.Op, e.Err)
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
