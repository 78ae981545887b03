//go:build unix && !linux

package leak

import (
	"fmt"

	"golang.org/x/sys/unix"
)

// leftChild says whether this process has children that nobody has waited for. It may find one that has ended only
// once.
func leftChild() string {
	var ws unix.WaitStatus
	if pid, err := unix.Wait4(-1, &ws, unix.WNOHANG, nil); err == nil {
		return fmt.Sprintf("a child process (%d, status %#x)", pid, int(ws))
	}
	return ""
}
