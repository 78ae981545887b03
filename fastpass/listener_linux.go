//go:build linux && !fdpass_portable

package fastpass

import (
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// aliasOf returns a short path of dir, which is good as long as the file is open.
func aliasOf(dir string) (*os.File, string, error) {
	fd, err := unix.Open(dir, unix.O_PATH|unix.O_DIRECTORY|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, "", err
	}
	f := os.NewFile(uintptr(fd), dir)
	alias := fmt.Sprintf("/proc/self/fd/%d", fd)
	if _, err := os.Stat(alias); err != nil { // no /proc here
		f.Close()
		return nil, "", err
	}
	return f, alias, nil
}

// renameNew is rename(2) that fails with EEXIST if new exists (Linux ≥ 3.15; some filesystems say EINVAL).
func renameNew(old, new string) error {
	return unix.Renameat2(unix.AT_FDCWD, old, unix.AT_FDCWD, new, unix.RENAME_NOREPLACE)
}
