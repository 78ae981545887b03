package sys

import (
	"sync"

	"golang.org/x/sys/unix"
)

// tableSize is how many descriptors GrowTable makes room for, which takes 130 KB of the kernel's memory.
const tableSize = 16 << 10

// GrowTable makes the kernel's table of this process's descriptors large, the first time. The kernel doubles it
// whenever it is full, and in a process with threads, like all of Go, waits until no processor can be looking at the
// old one: 5 to 32 ms in which nobody opens a descriptor (measured on a virtual machine). The clients of a server
// would wait at the 256th connection, the 512th and so on.
var GrowTable = sync.OnceFunc(func() {
	fd, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	if err != nil {
		return // it grows when it has to
	}
	defer unix.Close(fd)
	if high, err := unix.FcntlInt(uintptr(fd), unix.F_DUPFD_CLOEXEC, min(tableSize, System.SoftLimit())-1); err == nil {
		unix.Close(high)
	}
})
