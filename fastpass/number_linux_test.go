package fastpass

import (
	"errors"
	"strconv"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

// Numbers that are not open are ignored, as documented, and no other is closed in their place.
func TestCloseFDsCutsNoNumberShort(t *testing.T) {
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
			wrong = append(wrong, beyond(fd))
		}
		CloseFDs(wrong)
		for _, fd := range fds {
			if !isOpen(fd) {
				t.Errorf("%d is closed by way of %d", fd, beyond(fd))
			} else {
				unix.Close(fd)
			}
		}
	}
	fd := null(t)
	defer unix.Close(fd)
	if c, err := NewConn(Desc{FD: beyond(fd)}); err == nil || !errors.Is(err, syscall.EBADF) {
		t.Errorf("NewConn: %v, %v", c, err)
	}
}

// A number that no descriptor has is refused.
func TestInheritCutsNoNumberShort(t *testing.T) {
	if ^uint(0)>>32 == 0 {
		t.Skip("int has 32 bits")
	}
	a, b := socketpair(t, "unixpacket")
	defer b.Close()
	fd, _ := dupFD(a)
	a.Close()
	_ = fd
	t.Setenv(inheritEnv, strconv.Itoa(beyond(fd)))
	p, err := Inherit(nil)
	if err == nil {
		p.Close()
		t.Errorf("Inherit takes %d for %d", beyond(fd), fd)
	} else {
		unix.Close(fd)
	}
}

// beyond is a number whose lowest bits are those of fd. It has more than 32 bits; where int has no more it is fd.
func beyond(fd int) int {
	high := 1 << 30
	return fd + 4*high
}
