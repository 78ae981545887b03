//go:build linux && !fdpass_portable

package fastpass

import (
	"fmt"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"example.com/fdpass/cmsgpool"
	"example.com/fdpass/internal/sys"

	"golang.org/x/sys/unix"
)

// A wholeKernel counts the receives that take descriptors without a look.
type wholeKernel struct {
	sys.Kernel
	whole int
}

func (k *wholeKernel) Recv(fd int, v *sys.Vector, n, flags int) (int, syscall.Errno) {
	_, control := v.Message(0)
	got, errno := k.Kernel.Recv(fd, v, n, flags)
	if errno == 0 && flags&unix.MSG_PEEK == 0 && len(control) > 0 {
		k.whole++
	}
	return got, errno
}

// Where room is short a message is looked at first, however many bytes it has.
func TestAMessageLongerThanTheBufferIsLookedAtFirst(t *testing.T) {
	for _, n := range []int{1, cmsgpool.MaxFDs} {
		t.Run(fmt.Sprintf("%d descriptors", n), func(t *testing.T) {
			noLeaks(t)
			k := &wholeKernel{Kernel: sys.System}
			p, r, buffer := bareStream(t, k)
			r.send(make([]byte, buffer+1), n)
			defer CloseFDs(hog(n + 3))
			soon(t, "they arrive", func() {
				ds, err := recvN(p, n, n)
				if err != nil {
					t.Error(err)
				}
				CloseFDs(fdsOf(ds))
			})
			if k.whole > 0 || p.Stats().Lost > 0 {
				t.Errorf("%d receives without a look, Lost %d", k.whole, p.Stats().Lost)
			}
		})
	}
}

// Also where the control message of another option hides whose they are.
func TestDescriptorsBehindAFullBufferComeWithTheirOwnBytes(t *testing.T) {
	for _, credentials := range []int{0, 1} {
		t.Run(fmt.Sprintf("SO_PASSCRED=%d", credentials), func(t *testing.T) {
			noLeaks(t)
			p, r, buffer := bareStream(t, sys.System)
			unix.SetsockoptInt(p.socket, unix.SOL_SOCKET, unix.SO_PASSCRED, credentials)
			r.send(make([]byte, buffer), 0)
			r.send([]byte("xyz"), 1)
			defer CloseFDs(hog(cmsgpool.MaxFDs + 3))
			soon(t, "both arrive", func() {
				ds, err := recvN(p, 2, 1)
				if err != nil {
					t.Error(err)
					return
				}
				unix.Close(ds[1].FD)
				if ds[0].FD >= 0 || string(ds[1].Payload) != "xyz" {
					t.Errorf("%d with %d bytes, then %d with %q", ds[0].FD, len(ds[0].Payload), ds[1].FD, ds[1].Payload)
				}
			})
		})
	}
}

// slowAfterPeek takes its time over the first close after a peek.
type slowAfterPeek struct {
	sys.Kernel
	peeked, slow atomic.Bool
}

func (k *slowAfterPeek) Recv(fd int, v *sys.Vector, n, flags int) (int, syscall.Errno) {
	got, errno := k.Kernel.Recv(fd, v, n, flags)
	if flags&unix.MSG_PEEK != 0 && got > 0 {
		k.peeked.Store(true)
	}
	return got, errno
}

func (k *slowAfterPeek) CloseRange(lo, hi int) {
	if k.peeked.Swap(false) {
		k.slow.Store(true)
		time.Sleep(200 * time.Millisecond)
	}
	k.Kernel.CloseRange(lo, hi)
}

// When Close has returned, the duplicates of what was peeked at in vain are closed.
func TestCloseWaitsForWhatWasPeekedAt(t *testing.T) {
	k := &slowAfterPeek{Kernel: sys.System}
	p, r := bareOn(t, k, Config{})
	fds := fdsOf(nulls(t, 10))
	held := hog(5)
	if err := r.sendmsg([]byte("x"), unix.UnixRights(fds...)); err != nil {
		t.Fatal(err)
	}
	received := make(chan error)
	go func() {
		_, err := p.Recv()
		received <- err
	}()
	until(t, "the duplicates are being closed", k.slow.Load)
	p.Close()
	if n := p.in.peeks.pending.Load(); n > 0 {
		t.Errorf("Close has returned, and %d duplicates are open", n)
	}
	CloseFDs(held)
	CloseFDs(fds)
	<-received
}

// afterEmpty reads from another descriptor of the socket, when the first empty message has come.
type afterEmpty struct {
	sys.Kernel
	read func()
}

func (k *afterEmpty) MarkMessages(fd int) bool {
	more := k.Kernel.MarkMessages(fd)
	if read := k.read; read != nil {
		k.read = nil
		read()
	}
	return more
}

// Who shares the socket of a Bare link, and has room for one descriptor and no other control message, gets it.
func TestEmptyMessagesTakeNothingFromAnotherReader(t *testing.T) {
	a, b := socketpair(t, "unixpacket")
	other, err := unix.FcntlInt(a.Fd(), unix.F_DUPFD_CLOEXEC, 3)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(other)
	r := newRaw(t, b)
	r.send(nil, 0)
	r.send([]byte("d"), 1)
	r.close()
	got := 0
	k := &afterEmpty{Kernel: sys.System, read: func() {
		control := make([]byte, unix.CmsgSpace(4))
		_, n, flags, _, err := unix.Recvmsg(other, make([]byte, 10), control, 0)
		fds := cmsgpool.AppendFDs(nil, control[:n])
		if got = len(fds); err != nil || flags&unix.MSG_CTRUNC != 0 {
			t.Errorf("%v, flags %#x", err, flags)
		}
		CloseFDs(fds)
	}}
	p := onKernel(t, k, a, &Config{Protocol: Bare, Network: "unixpacket", Direction: RecvOnly, Messages: 1})
	if d, err := p.Recv(); err == nil {
		t.Errorf("Recv: %v", d)
	}
	if got != 1 {
		t.Errorf("the other reader got %d descriptors", got)
	}
}
