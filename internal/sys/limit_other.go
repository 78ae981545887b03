//go:build unix && !linux

package sys

import "golang.org/x/sys/unix"

func softLimit() (n uint64, ok bool) {
	var r unix.Rlimit
	err := unix.Getrlimit(unix.RLIMIT_NOFILE, &r)
	return uint64(r.Cur), err == nil
}
