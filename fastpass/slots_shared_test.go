//go:build linux

package fastpass

import (
	"io"
	"runtime"
	"sync"
	"syscall"
	"testing"
	"time"

	"example.com/fdpass/internal/sys"

	"golang.org/x/sys/unix"
)

// A sharedKernel is that of several links. It notes which Bare ones receive when another has taken slots since they
// looked.
type sharedKernel struct {
	sys.Kernel
	mu     sync.Mutex
	looked map[int]bool // by the socket; missing: a Framed link, which need not look
	calls  int
	blind  int
}

func (k *sharedKernel) FreeSlots(source, want int) int {
	k.mu.Lock()
	if _, bare := k.looked[source]; bare {
		k.looked[source] = true
	}
	k.mu.Unlock()
	return k.Kernel.FreeSlots(source, want)
}

func (k *sharedKernel) Recv(fd int, v *sys.Vector, n, flags int) (int, syscall.Errno) {
	k.mu.Lock()
	_, bare := k.looked[fd]
	k.calls++
	long := bare && k.calls%4 == 1
	k.mu.Unlock()
	if runtime.Gosched(); long { // the others go on
		time.Sleep(time.Millisecond)
	}
	got, errno := k.Kernel.Recv(fd, v, n, flags)
	if errno == 0 && flags&unix.MSG_PEEK == 0 {
		k.mu.Lock()
		defer k.mu.Unlock()
		for socket, looked := range k.looked {
			if socket == fd && !looked {
				k.blind++
			}
			k.looked[socket] = looked && socket == fd
		}
	}
	return got, errno
}

// Two links of a process would take the same free slots, and together overfill the table.
func TestNobodyTakesTheSlotsThatABareLinkHasSeen(t *testing.T) {
	for _, other := range []Protocol{Bare, Framed} {
		t.Run(other.String(), func(t *testing.T) {
			noLeaks(t)
			k := &sharedKernel{Kernel: sys.System, looked: map[int]bool{}}
			var ps, senders []*Passer
			for _, protocol := range []Protocol{Bare, other} {
				a, b := socketpair(t, "unixpacket")
				p := onKernel(t, k, a, &Config{Protocol: protocol, Direction: RecvOnly})
				if protocol == Bare {
					k.looked[p.socket] = false
				}
				sender := passerOf(t, b, &Config{Protocol: protocol, Direction: SendOnly})
				closeAfter(t, sender)
				ps, senders = append(ps, p), append(senders, sender)
			}
			const messages = 300
			var wg sync.WaitGroup
			for i, p := range ps {
				wg.Go(func() {
					for range messages {
						if err := senders[i].Send(Desc{FD: 2, Keep: true}); err != nil {
							t.Error(err)
						}
					}
				})
				wg.Go(func() {
					ds, err := recvN(p, messages, 3)
					if err != nil {
						t.Error(err)
					}
					CloseFDs(fdsOf(ds))
				})
			}
			soon(t, "all arrive", wg.Wait)
			if k.blind > 0 {
				t.Errorf("%d receives on a look at slots that another link has taken since", k.blind)
			}
		})
	}
}

// Framed links share nothing once there is no Bare one.
func TestALinkThatIsClosedLooksNoMore(t *testing.T) {
	k := &ownSlots{Kernel: sys.System}
	a, b := socketpair(t, "unixpacket")
	defer b.Close()
	p := onKernel(t, k, a, &Config{Protocol: Bare, Direction: Both})
	if !k.slots.LookedAt() {
		t.Error("nobody looks")
	}
	p.Close()
	if k.slots.LookedAt() {
		t.Error("it looks although it is closed")
	}
}

func TestALinkThatHasEndedLooksNoMore(t *testing.T) {
	for _, d := range []Direction{Both, RecvOnly} {
		k := &ownSlots{Kernel: sys.System}
		a, b := socketpair(t, "unixpacket")
		p := onKernel(t, k, a, &Config{Protocol: Bare, Direction: d})
		closeAfter(t, p)
		b.Close()
		if _, err := p.Recv(); err != io.EOF {
			t.Fatal(err)
		}
		wait(t, "the link ends", p.Done())
		if k.slots.LookedAt() {
			t.Errorf("%v: it looks although it has ended", d)
		}
	}
}

// ownSlots has a table that no other link knows.
type ownSlots struct {
	sys.Kernel
	slots sys.Slots
}

func (k *ownSlots) Slots() *sys.Slots { return &k.slots }
