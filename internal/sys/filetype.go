//go:build unix

package sys

import "golang.org/x/sys/unix"

func fstatType(fd int) uint32 {
	var st unix.Stat_t
	if unix.Fstat(fd, &st) != nil {
		return 0
	}
	return uint32(st.Mode) & unix.S_IFMT
}
