//go:build linux

package fastpass

import (
	"errors"
	"strconv"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

// Numbers that are not open are ignored, as documented, and no other is closed in their place.
func TestR2CloseFDsCutsNoNumberShort(t *testing.T) {
	if ^uint(0)>>32 == 0 {
		t.Skip("int has 32 bits")
	}
	for _, n := range []int{1, 2} {
		var fds, wrong []int
		for range n {
			fd := null(t)
			fds = append(fds, fd)
		}
		for _, fd := range fds {
			wrong = append(wrong, fd+1<<31<<1)
		}
		CloseFDs(wrong)
		for _, fd := range fds {
			if !isOpen(fd) {
				t.Errorf("%d is closed by way of %d", fd, fd+1<<31<<1)
			} else {
				unix.Close(fd)
			}
		}
	}
	fd := null(t)
	defer unix.Close(fd)
	if c, err := NewConn(Desc{FD: fd + 1<<31<<1}); err == nil || !errors.Is(err, syscall.EBADF) {
		t.Errorf("NewConn: %v, %v", c, err)
	}
}

// A number that no descriptor has is refused.
func TestR2InheritCutsNoNumberShort(t *testing.T) {
	a, b := socketpair(t, "unixpacket")
	defer b.Close()
	fd, _ := dupFD(a)
	a.Close()
	_ = fd
	t.Setenv(inheritEnv, strconv.Itoa(fd+1<<31<<1))
	p, err := Inherit(nil)
	if err == nil {
		p.Close()
		t.Errorf("Inherit takes %d for %d", fd+1<<31<<1, fd)
	} else {
		unix.Close(fd)
	}
}
