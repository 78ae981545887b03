package cmsgpool

import "golang.org/x/sys/unix"

// isPidfd: Linux ≥ 6.5, on sockets with SO_PASSPIDFD.
func isPidfd(level, typ int32) bool { return level == unix.SOL_SOCKET && typ == unix.SCM_PIDFD }
