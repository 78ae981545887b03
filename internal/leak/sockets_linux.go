package leak

import (
	"bytes"
	"encoding/binary"
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
	if err := unix.IoctlIfreq(fd, unix.SIOCSIFFLAGS, lo); err != nil {
		return err
	}
	if err := addLinkLocal(); err != nil {
		say("the loopback has no link-local address, and tests that want one skip themselves: %v", err)
	}
	return nil
}

// addLinkLocal gives the loopback, the namespace's first and only interface, the address fe80::1, for tests of zones.
func addLinkLocal() error {
	fd, err := unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW|unix.SOCK_CLOEXEC, unix.NETLINK_ROUTE)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	const size = unix.SizeofNlMsghdr + unix.SizeofIfAddrmsg + unix.SizeofRtAttr + 16
	var m bytes.Buffer
	for _, part := range []any{
		unix.NlMsghdr{Len: size, Type: unix.RTM_NEWADDR, Flags: unix.NLM_F_REQUEST | unix.NLM_F_CREATE | unix.NLM_F_ACK},
		unix.IfAddrmsg{Family: unix.AF_INET6, Prefixlen: 64, Scope: unix.RT_SCOPE_LINK, Index: 1},
		unix.RtAttr{Len: unix.SizeofRtAttr + 16, Type: unix.IFA_LOCAL},
		[16]byte{0: 0xfe, 1: 0x80, 15: 1},
	} {
		if err := binary.Write(&m, binary.NativeEndian, part); err != nil {
			return err
		}
	}
	if err := unix.Sendto(fd, m.Bytes(), 0, &unix.SockaddrNetlink{Family: unix.AF_NETLINK}); err != nil {
		return err
	}
	var b [1 << 10]byte
	n, err := unix.Read(fd, b[:])
	if err != nil {
		return err
	}
	if n < unix.SizeofNlMsghdr+4 {
		return fmt.Errorf("an answer of %d bytes", n)
	}
	if errno := int32(binary.NativeEndian.Uint32(b[unix.SizeofNlMsghdr:])); errno != 0 {
		return syscall.Errno(-errno)
	}
	return nil
}

// sockets returns a line for each socket of the namespace, for those that /proc/net/unix lists what it says; nil if it
// is shared with other processes.
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

// collect has the kernel look for sockets that are only referred to from their own queues: it does so when one is
// closed.
func collect() {
	if fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0); err == nil {
		unix.Close(fds[0])
		unix.Close(fds[1])
	}
}
