//go:build unix && (!linux || fdpass_portable)

package sys

// FileType returns the type of file that fd is, as in st_mode: S_IFREG and so on, 0 for what is none of the usual, and
// for what is not open.
func FileType(fd int) uint32 { return fstatType(fd) }
