package fastpass

import (
	"errors"
	"os"
	"syscall"
	"testing"
	"time"

	"example.com/fdpass/internal/sys"

	"golang.org/x/sys/unix"
)

// An answeringKernel has the peer answer when it is let go first.
type answeringKernel struct {
	sys.Kernel
	answer func()
	vain   int
}

func (k *answeringKernel) Yield() { k.answer() }

func (k *answeringKernel) Recv(fd int, v *sys.Vector, n, flags int) (int, syscall.Errno) {
	got, errno := k.Kernel.Recv(fd, v, n, flags)
	if errno == syscall.EAGAIN {
		k.vain++
	}
	return got, errno
}

func TestWhoIsAlwaysAnsweredInAYieldHardlyEverLooksInVain(t *testing.T) {
	k := &answeringKernel{Kernel: sys.System}
	p, r := bareOn(t, k, Config{})
	s := &p.in.role.spinner
	k.answer = func() { r.send([]byte{0}, 1) }
	const waits = 10
	for range (1 + waits) * enoughMisses {
		s.parkAt, s.noYieldUntil = never, 0 // however long the last yield took
		d, err := p.Recv()
		if err != nil {
			t.Fatal(err)
		}
		CloseFDs([]int{d.FD})
	}
	if k.vain != enoughMisses+waits {
		t.Errorf("%d looks in vain, want %d at first and %d of %d later", k.vain, enoughMisses, waits, waits*enoughMisses)
	}
}

// A fullKernel has no room, and counts who looks for some.
type fullKernel struct {
	sys.Kernel
	probes int
}

func (k *fullKernel) FreeSlots(int, int) int {
	k.probes++
	return 0
}

// What could be any message's has to wait until there is room for the largest. Without MSG_PEEK everything has to.
func TestWhoSpinsDoesNotLookForRoomAllTheTime(t *testing.T) {
	k := &fullKernel{Kernel: sys.System}
	p, r, buffer := bareStream(t, k)
	unix.SetsockoptInt(p.socket, unix.SOL_SOCKET, unix.SO_PASSCRED, 1)
	p.in.role.spinner.spin, p.in.role.spinner.parkAt = time.Second, never
	r.send(make([]byte, buffer+1), 1)
	p.SetReadDeadline(time.Now().Add(30 * time.Millisecond))
	if _, err := p.Recv(); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Error(err)
	}
	if k.probes > 40 {
		t.Errorf("looked for room %d times", k.probes)
	}
}
