package leak

import (
	"bytes"
	"fmt"
	"os"
	"runtime"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// isolated is set in the environment of a test binary that has a network namespace of its own, and of what it starts.
const isolated = "FDPASS_TEST_NETNS"

// isolate starts this binary anew in a network namespace of its own, unless that was done.
func isolate() {
	if os.Getenv(isolated) != "" {
		return
	}
	failed := make(chan error)
	go func() {
		// The thread that has changed its namespace ends with this goroutine if exec fails.
		runtime.LockOSThread()
		failed <- execIsolated()
	}()
	say("sockets in the kernel are not checked: no network namespace of its own: %v", <-failed)
}

func execIsolated() error {
	self, err := os.Executable()
	if err != nil {
		return err
	}
	if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
		return fmt.Errorf("unshare: %w", err)
	}
	if err := raiseLoopback(); err != nil {
		return fmt.Errorf("loopback: %w", err)
	}
	args := os.Args
	if emulator := os.Getenv("FDPASS_TEST_EMULATOR"); emulator != "" { // make s390x
		self, args = emulator, append([]string{emulator, self}, os.Args[1:]...)
	}
	return fmt.Errorf("exec: %w", syscall.Exec(self, args, append(os.Environ(), isolated+"=1")))
}

func raiseLoopback() error {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	lo, err := unix.NewIfreq("lo")
	if err != nil {
		return err
	}
	lo.SetUint16(unix.IFF_UP | unix.IFF_RUNNING)
	return unix.IoctlIfreq(fd, unix.SIOCSIFFLAGS, lo)
}

// sockets returns a line for each socket of the namespace, for those that /proc/net/unix lists what it says; nil if it is shared with
// other processes.
func sockets() []string {
	if os.Getenv(isolated) == "" {
		return nil
	}
	collect()
	text, err := os.ReadFile("/proc/self/net/unix")
	if err != nil {
		return nil
	}
	lines := strings.Split(string(bytes.TrimSpace(text)), "\n")[1:]
	text, err = os.ReadFile("/proc/self/net/sockstat")
	if err != nil {
		return lines
	}
	var used int
	fmt.Sscanf(string(text), "sockets: used %d", &used)
	for len(lines) < used {
		lines = append(lines, "a socket that has no name there: another family, or closed and its peer is not")
	}
	return lines
}

// collect has the kernel look for sockets that are only referred to from their own queues: it does so when one is closed.
func collect() {
	if fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0); err == nil {
		unix.Close(fds[0])
		unix.Close(fds[1])
	}
}
