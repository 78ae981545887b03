//go:build unix

package fastpass

import (
	"fmt"
	"net"
	"os"

	"example.com/fdpass/internal/sys"

	"golang.org/x/sys/unix"
)

// Pair makes a link: this end of it, and the file to hand to another process, by exec.Cmd.ExtraFiles for example, which
// makes it a Passer with net.FileConn and New (or Inherit, if it came through Spawn). The caller closes the file when
// it is handed over. It does not block. Errors: a value in cfg that is out of range; that of a system call.
//
// In a Bare link that file is in blocking mode, as a program that knows nothing of this library expects it;
// net.FileConn and Inherit change that.
func Pair(cfg *Config) (*Passer, *os.File, error) {
	c, err := cfg.withDefaults(sys.System.SoftLimit())
	if err != nil {
		return nil, nil, err
	}
	kind := unix.SOCK_STREAM
	if c.network() == "unixpacket" {
		kind = unix.SOCK_SEQPACKET
	}
	fds, err := sys.Socketpair(kind)
	if err != nil {
		return nil, nil, fmt.Errorf("fastpass: %w", os.NewSyscallError("socketpair", err))
	}
	if c.Protocol == Bare {
		_ = unix.SetNonblock(fds[1], false)
	}
	there := os.NewFile(uintptr(fds[1]), "fastpass")
	conn, err := fileConn(os.NewFile(uintptr(fds[0]), "fastpass"))
	if err != nil {
		there.Close()
		return nil, nil, err
	}
	p, err := New(conn, cfg)
	if err != nil {
		there.Close()
		return nil, nil, err
	}
	return p, there, nil
}

// fileConn turns f, an AF_UNIX socket, into a connection. It closes f.
func fileConn(f *os.File) (*net.UnixConn, error) {
	defer f.Close()
	c, err := net.FileConn(f)
	if err != nil {
		return nil, fmt.Errorf("fastpass: %w", err)
	}
	return c.(*net.UnixConn), nil
}
