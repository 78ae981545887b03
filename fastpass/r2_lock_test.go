//go:build linux

package fastpass

import (
	"os"
	"path/filepath"
	"testing"
)

// Listen removes nothing but a dead socket and what it has made itself.
func TestR2ListenLeavesAFileThatIsCalledLikeItsLock(t *testing.T) {
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
