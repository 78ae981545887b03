package role

import (
	"fmt"
	"net"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// UnixConn makes a connection of a Unix socket that this process was given, and closes f.
func UnixConn(f *os.File) (*net.UnixConn, error) {
	defer f.Close()
	c, err := net.FileConn(f)
	if err != nil {
		return nil, err
	}
	u, ok := c.(*net.UnixConn)
	if !ok {
		c.Close()
		return nil, fmt.Errorf("descriptor %d is a %T, not a Unix socket", f.Fd(), c)
	}
	return u, nil
}

// CPUTime is what this process has used so far, user and system.
func CPUTime() time.Duration {
	var u unix.Rusage
	_ = unix.Getrusage(unix.RUSAGE_SELF, &u)
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// NeedFiles returns an error if this process, and so those that it starts, may not have n files open. Who receives waits
// for room, for ever if there cannot be enough.
func NeedFiles(n int) error {
	var r unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &r); err != nil {
		return os.NewSyscallError("getrlimit", err)
	}
	if r.Cur < uint64(n) {
		return fmt.Errorf("%d descriptors are needed, the limit is %d (ulimit -n)", n, r.Cur)
	}
	return nil
}
