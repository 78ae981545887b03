//go:build linux && !fdpass_portable

package sys

import (
	"unsafe"

	"golang.org/x/sys/unix"
)

// noPath is the path of a descriptor itself, for AT_EMPTY_PATH.
var noPath [1]byte

// FileType returns the type of file that fd is, as in st_mode: S_IFREG and so on, 0 for what is none of the usual, such
// as an eventfd, and for what is not open. The kernel knows it of every open file, but fstat(2) would ask the
// filesystem, which may be a process that never answers (FUSE): whoever sent the descriptor chose it.
func FileType(fd int) uint32 {
	var st unix.Statx_t
	// Both pointers are to memory that this call keeps alive; noPath does not move.
	_, _, errno := unix.Syscall6(unix.SYS_STATX, uintptr(fd), uintptr(unsafe.Pointer(&noPath)),
		unix.AT_EMPTY_PATH|unix.AT_STATX_DONT_SYNC, unix.STATX_TYPE, uintptr(unsafe.Pointer(&st)), 0)
	if errno == unix.ENOSYS || errno == unix.EPERM { // before Linux 4.11, or a seccomp filter that is older
		return fstatType(fd)
	}
	return uint32(st.Mode) & unix.S_IFMT
}
