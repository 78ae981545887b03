//go:build unix && !darwin && (!linux || fdpass_portable)

package fastpass

import (
	"os"
	"syscall"
)

// aliasOf returns a short path of a directory; there is none here, so a path to listen on must leave room for it.
func aliasOf(string) (*os.File, string, error) { return nil, "", syscall.ENAMETOOLONG }

// renameNew does not exist here.
func renameNew(string, string) error { return syscall.ENOSYS }
