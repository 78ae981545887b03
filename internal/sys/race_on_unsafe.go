//go:build unix && race

package sys

import (
	"runtime"
	"syscall"
	"unsafe"
)

// noteRead and noteWrite tell the race detector what it learns from the calls of package syscall: that what a goroutine
// did before it wrote to a connection happened before what another one does that has read from it, and which memory the
// kernel has written or is going to read.
func noteRead(fd int, b []byte) {
	if len(b) > 0 { // first: the kernel has written it before it said so
		runtime.RaceWriteRange(unsafe.Pointer(unsafe.SliceData(b)), len(b))
	}
	_, _ = syscall.Read(fd, nil)
}

func noteWrite(b []byte) {
	if len(b) > 0 {
		runtime.RaceReadRange(unsafe.Pointer(unsafe.SliceData(b)), len(b))
	}
	_, _ = syscall.Write(-1, nil)
}
