//go:build unix && race

package sys

import "syscall"

// noteRead and noteWrite tell the race detector what it learns from the calls of package syscall: that what a goroutine
// did before it wrote to a connection happened before what another one does that has read from it.
func noteRead(fd int) { _, _ = syscall.Read(fd, nil) }

func noteWrite() { _, _ = syscall.Write(-1, nil) }
