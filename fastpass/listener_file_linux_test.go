package fastpass

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

// A live datagram socket is in use, whoever it is connected to.
func TestADatagramSocketThatIsConnectedIsInUse(t *testing.T) {
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

// Listen removes nothing but a dead socket and what it has made itself.
func TestListenLeavesAFileThatIsCalledLikeItsLock(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "socket")
	deadSocket(t, "unixpacket", path)
	other := filepath.Join(dir, ".socket.lock") // also: .fastpass-socket.lock
	if err := os.WriteFile(other, []byte("precious"), 0o600); err != nil {
		t.Fatal(err)
	}
	l, err := Listen(path, nil)
	if err == nil {
		l.Close()
	}
	if b, err := os.ReadFile(other); string(b) != "precious" {
		t.Errorf("the user's own file: %q, %v", b, err)
	}
}

// Close removes the socket file, also where the path leads through a symbolic link and back.
func TestListenOnAPathThatLeadsBackFromASymbolicLink(t *testing.T) {
	dir := t.TempDir()
	os.MkdirAll(filepath.Join(dir, "real", "sub"), 0o700)
	os.Symlink(filepath.Join(dir, "real", "sub"), filepath.Join(dir, "link"))
	path := dir + "/link/../socket" // real/socket
	l, err := Listen(path, nil)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := os.Lstat(filepath.Join(dir, "real", "socket")); err != nil {
		t.Error(err)
	}
	l.Close()
	if _, err := os.Lstat(filepath.Join(dir, "real", "socket")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("after Close: %v", err)
	}
}
