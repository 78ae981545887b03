package fastpass

import "golang.org/x/sys/unix"

// renameNew is rename(2) that fails with EEXIST if new exists. Not every filesystem has it: ENOTSUP.
func renameNew(old, new string) error { return unix.RenamexNp(old, new, unix.RENAME_EXCL) }
