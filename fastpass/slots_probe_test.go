//go:build linux && !fdpass_portable

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

// A strictKernel wants a look at the table before each receive that brings something, when the last look is older than
// certainFor: in that time others may have filled the table. Each call takes as long.
type strictKernel struct {
	sys.Kernel
	probed  bool          // since the last receive
	blind   int           // receives without
	closing chan struct{} // CloseRange waits for it, if not nil
}

func (k *strictKernel) FreeSlots(source, want int) int {
	k.probed = true
	return k.Kernel.FreeSlots(source, want)
}

func (k *strictKernel) Recv(fd int, v *sys.Vector, n, flags int) (int, syscall.Errno) {
	got, errno := k.Kernel.Recv(fd, v, n, flags)
	if errno == 0 && flags&unix.MSG_PEEK == 0 {
		if !k.probed {
			k.blind++
		}
		k.probed = false
		time.Sleep(2 * certainFor)
	}
	return got, errno
}

func (k *strictKernel) CloseRange(lo, hi int) {
	if k.closing != nil {
		<-k.closing
	}
	k.Kernel.CloseRange(lo, hi)
}

func TestEachOfSeveralCallsForOneRecvKnowsHowOldTheLastLookAtTheTableIs(t *testing.T) {
	const messages = 20
	k := &strictKernel{Kernel: sys.System}
	p, r := bareOn(t, k, Config{Messages: 1})
	for range messages {
		r.send([]byte{0}, 1)
	}
	ds := make([]Desc, messages)
	for got := 0; got < messages; {
		n, err := p.RecvBatch(ds)
		if err != nil {
			t.Fatal(err)
		}
		got += n
		CloseFDs(fdsOf(ds[:n]))
	}
	if k.blind > 0 {
		t.Errorf("%d of %d messages were received on an old look at the table", k.blind, messages)
	}
}

func TestWhoHasWaitedForTheReaperLooksAtTheTableAgain(t *testing.T) {
	k := &strictKernel{Kernel: sys.System, closing: make(chan struct{})}
	p, r := bareOn(t, k, Config{Messages: 1, Kinds: StreamSocket})
	stream, end := socketpair(t, "unix")
	t.Cleanup(func() { errors.Join(stream.Close(), end.Close()) })
	got := make(chan error)
	go func() {
		ds := make([]Desc, maxPending)
		n, err := p.RecvBatch(ds)
		CloseFDs(fdsOf(ds[:n]))
		got <- err
	}()
	for range maxPending/200 + 1 {
		r.send([]byte{0}, 200) // none is of its kind, so all are to be closed
	}
	until(t, "it waits for the reaper", func() bool { return p.Stats().Rejected > maxPending })
	time.Sleep(2 * certainFor)
	if err := r.sendmsg([]byte{0}, unix.UnixRights(int(stream.Fd()))); err != nil {
		t.Fatal(err)
	}
	close(k.closing)
	if err := <-got; err != nil {
		t.Fatal(err)
	}
	if k.blind > 0 {
		t.Errorf("%d messages were received on an old look at the table", k.blind)
	}
}

// Whatever else there is to say, what is wrong with the link or the descriptor comes before a deadline that has passed.
func TestADeadlineIsTheLastThingThatSendTellsOf(t *testing.T) {
	sending := func(t *testing.T, d Direction) (*Passer, *os.File) {
		p, f, err := Pair(&Config{Protocol: Bare, Network: "unixpacket", Direction: d})
		if err != nil {
			t.Fatal(err)
		}
		closeAfter(t, p)
		p.SetWriteDeadline(time.Unix(1, 0))
		return p, f
	}
	mine := Desc{FD: int(os.Stderr.Fd()), Keep: true}
	p, f := sending(t, SendOnly)
	if err := p.Send(mine); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("after the deadline: %v", err)
	}
	large := mine
	large.Payload = make([]byte, 1<<20)
	for _, d := range []Desc{large, {FD: -1}} {
		if err := p.Send(d); !errors.As(err, new(*DescError)) {
			t.Errorf("%v: %v, want what is wrong with it", d, err)
		}
	}
	f.Close()
	<-p.Done()
	if err := p.Send(mine); !errors.Is(err, ErrPeerGone) {
		t.Errorf("to a peer that is gone: %v", err)
	}
	q, g := sending(t, RecvOnly)
	defer g.Close()
	if err := q.Send(mine); !errors.Is(err, errReceiveOnly) {
		t.Errorf("over an end that receives: %v", err)
	}
}

// A crampedKernel has no room for what comes.
type crampedKernel struct {
	sys.Kernel
	peeks int
}

func (k *crampedKernel) FreeSlots(int, int) int { return 0 }

func (k *crampedKernel) Recv(fd int, v *sys.Vector, n, flags int) (int, syscall.Errno) {
	got, errno := k.Kernel.Recv(fd, v, n, flags)
	if errno == 0 && flags&unix.MSG_PEEK != 0 {
		k.peeks++
		v.Deliver(0, v.Bytes(0), v.Control(0), v.Flags(0)|unix.MSG_CTRUNC)
	}
	return got, errno
}

func TestWhoSpinsDoesNotPeekAllTheTimeAtWhatThereIsNoRoomFor(t *testing.T) {
	for _, vain := range []int{0, enoughMisses} {
		k := &crampedKernel{Kernel: sys.System}
		p, r := bareOn(t, k, Config{Spin: time.Second})
		h := &p.in.role.spinner
		h.parkAt, h.misses, h.waits = never, vain, 1
		r.send([]byte{0}, 1)
		p.SetReadDeadline(time.Now().Add(30 * time.Millisecond))
		if _, err := p.Recv(); !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Error(err)
		}
		if k.peeks > 20 {
			t.Errorf("after it looked %d times in vain, %d peeks", vain, k.peeks)
		}
	}
}

// A loweredKernel has somebody lower the limit during the second receive that brings something, until the next one is
// over.
type loweredKernel struct {
	sys.Kernel
	limit int
	flags []int // of each receive
}

func (k *loweredKernel) Recv(fd int, v *sys.Vector, n, flags int) (int, syscall.Errno) {
	switch len(k.flags) {
	case 1:
		limitTo(0, 3)
	case 2:
		defer limitTo(0, k.limit)
	}
	got, errno := k.Kernel.Recv(fd, v, n, flags)
	if errno == 0 {
		k.flags = append(k.flags, flags)
	}
	return got, errno
}

func TestWhoHasJustLostDescriptorsLooksBeforeTheNextCall(t *testing.T) {
	const messages = 5
	k := &loweredKernel{Kernel: sys.System, limit: sys.System.SoftLimit()}
	p, r := bareOn(t, k, Config{Messages: 1})
	for range messages {
		r.send([]byte{0}, 1)
	}
	ds, err := recvN(p, messages, messages)
	if err != nil {
		t.Fatal(err)
	}
	for _, d := range ds {
		if d.FD >= 0 {
			unix.Close(d.FD)
		}
	}
	if lost := p.Stats().Lost; lost != 1 || k.flags[2]&unix.MSG_PEEK == 0 {
		t.Errorf("%d messages lost descriptors, want one; flags of the receives: %#x", lost, k.flags)
	}
}
