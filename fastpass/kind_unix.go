//go:build unix

package fastpass

import (
	"example.com/fdpass/internal/sys"

	"golang.org/x/sys/unix"
)

// admit closes those of ds that are of no kind that this end takes, moves the others to the front, in order, and
// returns how many they are. All are acknowledged: what is closed has no other owner.
func (in *inbox) admit(ds []Desc) int {
	kinds := in.p.cfg.Kinds
	if kinds == 0 {
		return len(ds)
	}
	n := 0
	for i := range ds {
		d := &ds[i]
		if d.FD < 0 || kinds.includes(d.FD) {
			ds[n], *d = *d, ds[n] // exchanged, so that no two share a payload's memory
			n++
		} else {
			in.p.reaper.add(int32(d.FD))
			*d = Desc{Payload: d.Payload[:0]}
		}
	}
	in.stats.rejected.Add(uint64(len(ds) - n))
	return n
}

// includes reports whether fd is of one of the kinds. What it asks the kernel is answered from memory, whatever fd is.
func (k Kind) includes(fd int) bool {
	switch sotype, err := sys.SocketType(fd); {
	case err == nil && sotype == unix.SOCK_STREAM:
		return k&StreamSocket != 0
	case err == nil:
		return k&OtherSocket != 0
	case k&^sockets == 0:
		return false
	}
	return k&kindOfFile(sys.FileType(fd)) != 0
}

func kindOfFile(fileType uint32) Kind {
	switch fileType {
	case unix.S_IFIFO:
		return Pipe
	case unix.S_IFREG:
		return File
	case unix.S_IFDIR:
		return Directory
	case unix.S_IFCHR, unix.S_IFBLK:
		return Device
	}
	return OtherKind
}
