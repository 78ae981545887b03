//go:build unix

package fastpass

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"sync"

	"example.com/fdpass/internal/sys"

	"golang.org/x/sys/unix"
)

// inheritEnv is the environment variable that tells a child process which descriptor is its end of the link.
const inheritEnv = "FASTPASS_FD"

// Spawn makes a link and starts cmd with the other end of it, of which the child makes a Passer with Inherit; a program
// in another language, with a Bare link, finds the number of its descriptor in the environment variable FASTPASS_FD,
// and README has an example. Spawn adds to cmd.ExtraFiles and sets FASTPASS_FD in cmd.Env, which begins as a copy of
// this process's environment if it is nil. This process's copy of the child's end is closed when Spawn returns, so the
// link ends when the child does.
//
// Starting is all that Spawn does with the child: the caller has to cmd.Wait for it, and is free to set everything
// else in cmd before, SysProcAttr included. A child in a session or under a user of its own (Setsid, Credential) uses
// the link like any other; Config.Authorize is not asked. Closing the Passer does not end the child, it ends the
// link, which the child's Recv reports as io.EOF. The program may also be a wrapper that executes the one that calls
// Inherit, as long as it leaves descriptors and environment alone.
//
// Spawn blocks as long as cmd.Start does. The Passer is the caller's. On error, which may be that of Pair or of
// cmd.Start, there is no child, everything is closed, and cmd.ExtraFiles and cmd.Env are what they were.
func Spawn(cmd *exec.Cmd, cfg *Config) (*Passer, error) {
	if cmd.Process != nil {
		return nil, errors.New("fastpass: spawn: the command has been started already")
	}
	p, there, err := Pair(cfg)
	if err != nil {
		return nil, err
	}
	defer there.Close()
	files, env := cmd.ExtraFiles, cmd.Env
	fd := 3 + len(files) // exec.Cmd puts ExtraFiles behind the three standard ones
	// cmd.Environ knows what the child gets if Env is nil: PWD goes with cmd.Dir.
	cmd.Env = append(withoutInherit(cmd.Environ()), inheritEnv+"="+strconv.Itoa(fd))
	cmd.ExtraFiles = append(files[:len(files):len(files)], there)
	if err := cmd.Start(); err != nil {
		cmd.ExtraFiles, cmd.Env = files, env
		p.Close()
		return nil, fmt.Errorf("fastpass: spawn: %w", err)
	}
	return p, nil
}

// withoutInherit returns a copy of env without what this process's own parent has told it.
func withoutInherit(env []string) []string {
	kept := make([]string, 0, len(env)+1)
	for _, e := range env {
		if !strings.HasPrefix(e, inheritEnv+"=") {
			kept = append(kept, e)
		}
	}
	return kept
}

// inheriting makes reading and clearing the variable one step.
var inheriting sync.Mutex

// Inherit makes a Passer of the descriptor that Spawn in the parent process has left to this one. It reads the
// variable FASTPASS_FD and clears it, whether Inherit succeeds or not, so that the programs that this one starts do
// not take the descriptor for theirs. The descriptor becomes close-on-exec: call Inherit before anything starts a
// process.
//
// It does not block. It may be called from any goroutine, and succeeds once. On success the descriptor belongs to the
// Passer. What is no stream or seqpacket socket of the family AF_UNIX stays open as it is, and Inherit returns an
// error that says so; an error of New closes the descriptor.
func Inherit(cfg *Config) (*Passer, error) {
	fd, err := inheritedFD()
	if err != nil {
		return nil, fmt.Errorf("fastpass: inherit: %w", err)
	}
	conn, err := fileConn(os.NewFile(uintptr(fd), "fastpass"))
	if err != nil {
		return nil, err
	}
	return New(conn, cfg)
}

func inheritedFD() (int, error) {
	inheriting.Lock()
	defer inheriting.Unlock()
	value, set := os.LookupEnv(inheritEnv)
	if !set {
		return -1, fmt.Errorf("%s is not set: this process was not started by Spawn, or has called Inherit before", inheritEnv)
	}
	if err := os.Unsetenv(inheritEnv); err != nil {
		return -1, err
	}
	fd, err := strconv.Atoi(value)
	if err != nil || !isNumber(fd) {
		return -1, fmt.Errorf("%s is %q, which is not the number of a descriptor", inheritEnv, value)
	}
	if err := checkInherited(fd); err != nil {
		return -1, fmt.Errorf("%s is %d: %w", inheritEnv, fd, err)
	}
	unix.CloseOnExec(fd)
	return fd, nil
}

// checkInherited says what is wrong with fd, which may be anything: the variable can come from elsewhere, and the
// number can be that of a descriptor of the runtime's.
func checkInherited(fd int) error {
	kind, err := sys.SocketType(fd)
	switch {
	case err == unix.EBADF:
		return fmt.Errorf("no such descriptor is open; something between Spawn and this process has closed it: %w", err)
	case err == unix.ENOTSOCK:
		return fmt.Errorf("the descriptor is not a socket: %w", err)
	case err != nil:
		return os.NewSyscallError("getsockopt", err)
	case kind != unix.SOCK_STREAM && kind != unix.SOCK_SEQPACKET:
		return errors.New("the descriptor is a socket, but neither of stream nor of seqpacket type")
	}
	name, err := unix.Getsockname(fd)
	if err != nil {
		return os.NewSyscallError("getsockname", err)
	}
	if _, ok := name.(*unix.SockaddrUnix); !ok {
		return errors.New("the descriptor is a socket, but no AF_UNIX socket")
	}
	return nil
}
