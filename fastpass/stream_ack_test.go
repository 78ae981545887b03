//go:build linux

package fastpass

import (
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"example.com/fdpass/internal/sys"
)

// A cloggedKernel has a stream socket that takes only a part of the next frame, and then nothing, while it is clogged.
type cloggedKernel struct {
	spaciousKernel
	clogged atomic.Bool
	part    atomic.Bool // that part has been taken
}

func (k *cloggedKernel) Write(fd int, b []byte) (int, syscall.Errno) {
	switch {
	case !k.clogged.Load():
		return k.Kernel.Write(fd, b)
	case k.part.Swap(true):
		return 0, syscall.EAGAIN
	}
	return k.Kernel.Write(fd, b[:10])
}

// An acknowledgement of which the socket has taken a part covers nothing until the rest is gone, though credit is
// offered in vain meanwhile.
func TestAnAcknowledgementThatHasGoneInPartCoversNothing(t *testing.T) {
	noLeaks(t)
	a, b := socketpair(t, "unix")
	k := &cloggedKernel{spaciousKernel: spaciousKernel{Kernel: sys.System}}
	k.free.Store(1000)
	p := onKernel(t, k, a, &Config{Network: "unix"})
	r := newRaw(t, b)
	t.Cleanup(r.close)
	r.hello()
	r.send(plainFrame(0, 1, 0), 1)
	until(t, "the descriptor is queued", func() bool { return p.in.queued.Load() == 1 })
	p.tail.gone.Add(1) // another frame has gone in two parts before

	room := func(n int32) {
		k.free.Store(n)
		p.in.slots.probedAt = -time.Hour
	}
	take := func(want int) {
		t.Helper()
		ds := make([]Desc, 1)
		n, err := p.in.take(ds)
		if n != want {
			t.Errorf("%d handed over, want %d (%v)", n, want, err)
		}
		CloseFDs(fdsOf(ds[:n]))
	}
	p.in.mu.Lock()
	defer p.in.mu.Unlock()
	k.clogged.Store(true)
	room(0)
	take(0) // the acknowledgement, which gives no credit, goes in part
	room(1000)
	p.in.offer()
	take(0)
	k.clogged.Store(false)
	take(1)
}
