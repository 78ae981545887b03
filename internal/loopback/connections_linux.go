package loopback

import (
	"os"
	"syscall"

	"golang.org/x/sys/unix"
)

// Connections makes n TCP connections, one after the other, and gives keep the two ends of each, which belong to it
// from then on. The clients are blocking; the accepted ends are as flags say, those of accept4(2) beside SOCK_CLOEXEC.
func Connections(n, flags int, keep func(client, accepted int) error) error {
	ln, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return os.NewSyscallError("socket", err)
	}
	defer unix.Close(ln)
	if err := unix.Bind(ln, &unix.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}}); err != nil {
		return os.NewSyscallError("bind", err)
	}
	if err := unix.Listen(ln, 1); err != nil {
		return os.NewSyscallError("listen", err)
	}
	to, err := unix.Getsockname(ln)
	if err != nil {
		return os.NewSyscallError("getsockname", err)
	}
	for range n {
		client, accepted, err := connect(ln, to, flags)
		if err == nil {
			err = keep(client, accepted)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// Copy returns a copy of fd, for benchmarks to give away. It stands for a descriptor that was accepted, so it is made by
// the cheapest call: F_DUPFD_CLOEXEC counts two more references to the file where there are threads. Children inherit it.
func Copy(fd int) (int, error) {
	copied, _, errno := syscall.RawSyscall6(unix.SYS_DUP, uintptr(fd), 0, 0, 0, 0, 0) // RawSyscall is one more call, of 5 ns
	if errno != 0 {
		return -1, os.NewSyscallError("dup", errno)
	}
	return int(copied), nil
}

func connect(ln int, to unix.Sockaddr, flags int) (client, accepted int, err error) {
	client, err = unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return -1, -1, os.NewSyscallError("socket", err)
	}
	if err = unix.Connect(client, to); err != nil {
		err = os.NewSyscallError("connect", err)
	} else if accepted, _, err = unix.Accept4(ln, flags|unix.SOCK_CLOEXEC); err != nil {
		err = os.NewSyscallError("accept4", err)
	}
	if err != nil {
		unix.Close(client)
	}
	return client, accepted, err
}
