//go:build linux

package fastpass

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"testing"
)

// Close removes the socket file, also where the path leads through a symbolic link and back.
func TestR2ListenOnAPathThatLeadsBackFromASymbolicLink(t *testing.T) {
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
