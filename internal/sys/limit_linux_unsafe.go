//go:build linux

package sys

import (
	"unsafe"

	"golang.org/x/sys/unix"
)

// softLimit does not allocate, as unix.Getrlimit does on 32-bit systems.
func softLimit() (n uint64, ok bool) {
	var r unix.Rlimit
	_, _, errno := unix.RawSyscall6(unix.SYS_PRLIMIT64, 0, unix.RLIMIT_NOFILE, 0, uintptr(unsafe.Pointer(&r)), 0, 0)
	return uint64(r.Cur), errno == 0
}
