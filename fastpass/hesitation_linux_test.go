package fastpass

import (
	"syscall"
	"testing"

	"example.com/fdpass/internal/sys"
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
	h := &p.in.role.hesitation
	k.answer = func() { r.send([]byte{0}, 1) }
	const waits = 10
	for range (1 + waits) * enoughMisses {
		h.parkAt, h.noYieldUntil = never, 0 // however long the last yield took
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
