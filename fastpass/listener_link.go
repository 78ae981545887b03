//go:build unix && !darwin && (!linux || fdpass_portable)

package fastpass

import "syscall"

// renameNew does not exist here.
func renameNew(string, string) error { return syscall.ENOSYS }
