package fastpass

import (
	"os"
	"syscall"

	"golang.org/x/sys/unix"
)

// aliasOf returns a short path of a directory; there is none here, so a path to listen on must leave room for it.
func aliasOf(string) (*os.File, string, error) { return nil, "", syscall.ENAMETOOLONG }

// renameNew is rename(2) that fails with EEXIST if new exists. Not every filesystem has it: ENOTSUP.
func renameNew(old, new string) error { return unix.RenamexNp(old, new, unix.RENAME_EXCL) }
