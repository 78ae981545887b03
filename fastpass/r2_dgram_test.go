//go:build linux

package fastpass

import (
	"errors"
	"path/filepath"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

// A live datagram socket is in use, whoever it is connected to.
func TestR2ADatagramSocketThatIsConnectedIsInUse(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "socket")
	open := func(name string) int {
		fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { unix.Close(fd) })
		if err := unix.Bind(fd, &unix.SockaddrUnix{Name: name}); err != nil {
			t.Fatal(err)
		}
		return fd
	}
	fd := open(path)
	open(path + "2")
	if err := unix.Connect(fd, &unix.SockaddrUnix{Name: path + "2"}); err != nil {
		t.Fatal(err)
	}
	_, err := Listen(path, nil)
	if !errors.Is(err, syscall.EADDRINUSE) {
		t.Errorf("Listen: %v", err)
	}
}
