//go:build linux && !fdpass_portable

package fastpass

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"example.com/fdpass/cmsgpool"
	"example.com/fdpass/internal/sys"
	"example.com/fdpass/internal/wire"

	"golang.org/x/sys/unix"
)

// Peers that do with a shared page what they like.

func (g *rawPage) read(at int64) uint64 {
	var b [8]byte
	if _, err := unix.Pread(g.fd, b[:], at); err != nil {
		g.t.Error(err)
	}
	return binary.NativeEndian.Uint64(b[:])
}

// receivePage takes HELLO of the other end, and the page that comes with it.
func (r *raw) receivePage() *rawPage {
	r.t.Helper()
	b, oob := make([]byte, 1<<10), make([]byte, unix.CmsgSpace(4*8))
	n, oobn, _, _, err := unix.Recvmsg(r.fd, b, oob, unix.MSG_CMSG_CLOEXEC)
	if err != nil {
		r.t.Fatal(err)
	}
	msgs, err := unix.ParseSocketControlMessage(oob[:oobn])
	if err != nil || len(msgs) != 1 {
		r.t.Fatalf("HELLO of %d bytes comes with %d control messages, %v", n, len(msgs), err)
	}
	fds, err := unix.ParseUnixRights(&msgs[0])
	if err != nil || len(fds) != 1 {
		r.t.Fatal(fds, err)
	}
	r.t.Cleanup(func() { unix.Close(fds[0]) })
	return &rawPage{r.t, fds[0]}
}

// rawReceiver is a link to a raw peer that receives, and has got n descriptors; the page is in use.
func rawReceiver(t testing.TB, l linkConfig, n int) (*Passer, *raw, *rawPage) {
	t.Helper()
	p, r := rawLink(t, l)
	g := r.receivePage()
	g.write(limitAt, 100|topBit)
	r.hello()
	for i := range n {
		if err := p.Send(Desc{FD: 0, Tag: uint64(i), Keep: true}); err != nil {
			t.Fatal(err)
		}
	}
	until(t, "all are sent", func() bool { return p.Stats().Sent == uint64(n) })
	return p, r, g
}

func TestAReceiverThatWritesNonsenseIntoThePageEndsItsOwnLinkOnly(t *testing.T) {
	for _, c := range []struct {
		name  string
		write []uint64 // into acked, one after the other
		want  string
	}{
		{"acknowledges what was never sent", []uint64{11}, "acknowledgement of 11"},
		{"acknowledges far more than was sent", []uint64{1<<63 - 1}, "acknowledgement of"},
		{"takes an acknowledgement back", []uint64{5, 4}, "goes back from 5 to 4"},
		{"fences what it has acknowledged too much of", []uint64{topBit | 11}, "acknowledgement of 11"},
	} {
		for _, dir := range []Direction{Both, SendOnly} {
			t.Run(fmt.Sprint(c.name, ", ", dir), func(t *testing.T) {
				noLeaks(t)
				bystander, other := link(t, nil, nil)
				p, _, g := rawReceiver(t, linkConfig{Network: "unixpacket", Direction: dir}, 10)
				for i, v := range c.write {
					if i > 0 {
						until(t, "the first is seen", func() bool { return p.Stats().Delivered == c.write[0] })
					}
					g.write(ackedAt, v)
					p.Flush()
				}
				expectProtocolError(t, p, c.want)
				if d := p.Undelivered(); len(d)+int(p.Stats().Delivered) != 10 {
					t.Errorf("%d come back and %d are delivered of 10", len(d), p.Stats().Delivered)
				}
				if err := bystander.Send(Desc{FD: null(t)}); err != nil {
					t.Fatal(err)
				}
				soon(t, "another link goes on", func() {
					d, err := other.Recv()
					if err != nil {
						t.Error(err)
					}
					CloseFDs([]int{d.FD})
				})
			})
		}
	}
}

// What a receiver may say without harm.
func TestAReceiverThatGrantsTheAbsurdIsPacedByTheWindow(t *testing.T) {
	for _, limit := range []uint64{1<<63 - 1, 1 << 40, 0, 3} {
		t.Run(fmt.Sprint(limit), func(t *testing.T) {
			noLeaks(t)
			p, r, g := rawReceiver(t, linkConfig{Network: "unixpacket", Window: 16}, 8)
			g.write(ackedAt, 8)
			g.write(limitAt, limit|topBit)
			until(t, "whoever has looked before is done", func() bool { return p.out.work.Load() == 0 })
			taken := 0
			try := func() bool {
				err := p.TrySend(Desc{FD: 0, Keep: true})
				if err == nil {
					taken++
				} else if !errors.Is(err, ErrFull) {
					t.Error(err)
				}
				return taken == 16
			}
			until(t, "what is acknowledged makes room", try) // who flushes meanwhile may have looked before
			soon(t, "TrySend returns", func() {
				for range 100 {
					try()
				}
			})
			if s := p.Stats(); s.Sent > 8+16 || limit < 8 && s.Sent != 8 {
				t.Errorf("%d were sent with a limit of %d and a window of 16", s.Sent, limit)
			}
			if err := p.Err(); err != nil {
				t.Error(err)
			}
			r.send(goodbye(), 0)
			wait(t, "the link ends", p.Done())
			if n := len(p.Undelivered()) + int(p.Stats().Delivered); n != 24 {
				t.Errorf("%d of 24 came back or were delivered", n)
			}
		})
	}
}

// Whoever flushes must get away from a page that says something new each time it looks, and from one that says
// something without being in use.
func TestAReceiverThatNeverStopsWritingHoldsNobodyUp(t *testing.T) {
	for _, c := range []struct {
		name  string
		write func(g *rawPage, i uint64)
	}{
		{"is not in use and has a limit", func(g *rawPage, i uint64) { g.write(limitAt, 7) }},
		{"is not in use and has an acknowledgement", func(g *rawPage, i uint64) { g.write(ackedAt, 5) }},
		{"is in use now and then", func(g *rawPage, i uint64) { g.write(limitAt, 8|i<<63) }},
		{"has another limit each time", func(g *rawPage, i uint64) { g.write(limitAt, i%8|topBit) }},
	} {
		t.Run(c.name, func(t *testing.T) {
			noLeaks(t)
			p, r := rawLink(t, linkConfig{Network: "unixpacket", Window: 16})
			g := r.receivePage()
			c.write(g, 0)
			stop, stopped := make(chan struct{}), make(chan struct{})
			go func() {
				defer close(stopped)
				for i := uint64(0); ; i++ {
					select {
					case <-stop:
						return
					default:
						c.write(g, i)
					}
				}
			}()
			t.Cleanup(func() {
				close(stop)
				<-stopped
			})
			r.send(helloFrame(nil, func(h *wire.Hello) { h.Credit = 8 }), 0)
			soon(t, "TrySend returns", func() {
				for range 100 {
					if err := p.TrySend(Desc{FD: 0, Keep: true}); err != nil && !errors.Is(err, ErrFull) {
						t.Error(err)
					}
				}
			})
			p.SetWriteDeadline(time.Now().Add(20 * time.Millisecond))
			soon(t, "Send returns", func() { p.Send(Desc{FD: 0, Keep: true}) })
			soon(t, "Close returns", func() { p.Close() })
		})
	}
}

// newRawPage makes a page that is as it should be.
func newRawPage(t testing.TB) *rawPage {
	t.Helper()
	_, fd := sys.System.NewPage()
	if fd < 0 {
		t.Skip("there are no pages here")
	}
	t.Cleanup(func() { unix.Close(fd) })
	return &rawPage{t, fd}
}

// helloWith says HELLO with the page bit and the given descriptors.
func (r *raw) helloWith(fds ...int) {
	r.t.Helper()
	hello := helloFrame(nil, func(h *wire.Hello) { h.Page = true })
	if err := r.sendmsg(hello, unix.UnixRights(fds...)); err != nil {
		r.t.Fatal(err)
	}
}

// rawSender is a link to a raw peer that sends, and whose page is taken.
func rawSender(t testing.TB, dir Direction) (*Passer, *raw, *rawPage) {
	t.Helper()
	p, r := rawLink(t, linkConfig{Network: "unixpacket", Direction: dir})
	g := newRawPage(t)
	r.helloWith(g.fd)
	if dir == Both { // otherwise Recv reads HELLO
		until(t, "the page is taken", func() bool { return g.read(limitAt)&topBit != 0 })
	}
	return p, r, g
}

// acknowledgesOnPage reports whether p acknowledges on a page.
func acknowledgesOnPage(p *Passer) bool {
	p.in.mu.Lock()
	defer p.in.mu.Unlock()
	return p.in.page != nil
}

// expectAck waits for an ACK frame that covers seq.
func (r *raw) expectAck(seq uint64) {
	r.t.Helper()
	until(r.t, fmt.Sprintf("an ACK frame of %d comes", seq), func() bool {
		b, err := r.recv()
		var h wire.Header
		return err == nil && h.Parse(b) == nil && h.Type == wire.TypeAck && h.Seq >= seq
	})
}

func memfd(t testing.TB, size, seals int) int {
	t.Helper()
	fd, err := unix.MemfdCreate("test", unix.MFD_CLOEXEC|unix.MFD_ALLOW_SEALING)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { unix.Close(fd) })
	if err := unix.Ftruncate(fd, int64(size)); err != nil {
		t.Fatal(err)
	}
	if _, err := unix.FcntlInt(uintptr(fd), unix.F_ADD_SEALS, seals); err != nil {
		t.Fatal(err)
	}
	return fd
}

func TestAPageThatCannotBeTrustedLeavesTheLinkToFrames(t *testing.T) {
	for _, dir := range []Direction{Both, RecvOnly} {
		for name, page := range map[string]func(t *testing.T) []int{
			"none, though announced": func(*testing.T) []int { return nil },
			"not sealed":             func(t *testing.T) []int { return []int{memfd(t, 4096, 0)} },
			"two pages long":         func(t *testing.T) []int { return []int{memfd(t, 8192, unix.F_SEAL_SHRINK)} },
			"read only":              func(t *testing.T) []int { return []int{memfd(t, 4096, unix.F_SEAL_SHRINK|unix.F_SEAL_WRITE)} },
			"no memory":              func(t *testing.T) []int { fd := null(t); t.Cleanup(func() { unix.Close(fd) }); return []int{fd} },
		} {
			t.Run(fmt.Sprint(name, ", ", dir), func(t *testing.T) {
				noLeaks(t)
				p, r := rawLink(t, linkConfig{Network: "unixpacket", Direction: dir})
				r.helloWith(page(t)...)
				r.send(dataFrame(0, 3, nil), 3)
				soon(t, "all arrive", func() {
					ds, err := recvN(p, 3, 3)
					if err != nil {
						t.Error(err)
					}
					CloseFDs(fdsOf(ds))
				})
				r.expectAck(3)
				if acknowledgesOnPage(p) {
					t.Error("the page was taken")
				}
			})
		}
	}
}

func TestAHelloWithMoreThanItsPageEndsTheLink(t *testing.T) {
	for name, hello := range map[string]func(r *raw, fd int){
		"two pages":                      func(r *raw, fd int) { r.helloWith(fd, fd) },
		"a page that is not announced":   func(r *raw, fd int) { r.sendmsg(helloFrame(nil, nil), unix.UnixRights(fd)) },
		"a page, and then another HELLO": func(r *raw, fd int) { r.helloWith(fd); r.helloWith(fd) },
	} {
		for _, dir := range []Direction{Both, RecvOnly, SendOnly} {
			t.Run(fmt.Sprint(name, ", ", dir), func(t *testing.T) {
				noLeaks(t)
				p, r := rawLink(t, linkConfig{Network: "unixpacket", Direction: dir})
				hello(r, newRawPage(t).fd)
				expectProtocolError(t, p, "descriptors with HELLO|HELLO must come first")
			})
		}
	}
}

// An end that only sends has no use for a page, and no harm from one.
func TestAPageForAnEndThatOnlySends(t *testing.T) {
	noLeaks(t)
	p, r := rawLink(t, linkConfig{Network: "unixpacket", Direction: SendOnly})
	g := newRawPage(t)
	r.helloWith(g.fd)
	until(t, "HELLO is heard", p.out.established.Load)
	if v := g.read(limitAt); v != 0 || acknowledgesOnPage(p) {
		t.Errorf("the page is in use: %#x", v)
	}
}

func TestASenderThatWritesIntoWhatIsAcknowledgedEndsItsOwnLinkOnly(t *testing.T) {
	for _, dir := range []Direction{Both, RecvOnly} {
		for _, v := range []uint64{2, 4, 1<<63 - 1, 0} {
			t.Run(fmt.Sprint(dir, ", ", v), func(t *testing.T) {
				noLeaks(t)
				p, r, g := rawSender(t, dir)
				r.send(dataFrame(0, 3, nil), 3)
				ds, err := recvN(p, 3, 3)
				CloseFDs(fdsOf(ds))
				if a := g.read(ackedAt); err != nil || a != 3 {
					t.Fatalf("%d are acknowledged, %v", a, err)
				}
				g.write(ackedAt, v)
				r.send(dataFrame(3, 3, nil), 3)
				if d, err := p.Recv(); !errors.Is(err, ErrProtocol) {
					t.Errorf("Recv: %v, %v", d, err)
				}
				expectProtocolError(t, p, "written into what this end has acknowledged")
				if a := g.read(ackedAt); a != v {
					t.Errorf("%d are acknowledged", a)
				}
			})
		}
	}
}

// What a sender takes back it has taken back, whoever it is.
func TestNothingIsDeliveredOnAFencedPage(t *testing.T) {
	for _, dir := range []Direction{Both, RecvOnly} {
		for _, end := range []string{"dead", "in order", "closed here"} {
			t.Run(fmt.Sprint(dir, ", ", end), func(t *testing.T) {
				noLeaks(t)
				p, r, g := rawSender(t, dir)
				r.send(dataFrame(0, 3, nil), 3)
				ds, err := recvN(p, 3, 3)
				CloseFDs(fdsOf(ds))
				if err != nil {
					t.Fatal(err)
				}
				g.write(ackedAt, 3|topBit)
				r.send(dataFrame(3, 3, nil), 3)
				got := make(chan error, 1)
				go func() {
					d, err := p.Recv()
					if err == nil {
						CloseFDs([]int{d.FD})
						err = fmt.Errorf("%v was delivered", d)
					}
					got <- err
				}()
				want := ErrPeerGone
				switch end {
				case "in order":
					r.send(goodbye(), 0)
					want = io.EOF
				case "closed here":
					until(t, "it is noticed", p.in.cut.Load)
					p.Close()
					want = net.ErrClosed
				}
				r.close()
				soon(t, "Recv returns", func() {
					if err := <-got; !errors.Is(err, want) {
						t.Errorf("Recv: %v, want %v", err, want)
					}
				})
			})
		}
	}
}

// A sender may want a frame for each acknowledgement, and may read none of them.
func TestASenderThatAlwaysAsksHoldsNobodyUp(t *testing.T) {
	for _, dir := range []Direction{Both, RecvOnly} {
		for _, reads := range []bool{true, false} {
			t.Run(fmt.Sprint(dir, ", reads ", reads), func(t *testing.T) {
				noLeaks(t)
				p, r, g := rawSender(t, dir)
				const n = 500 // what the first credit allows, and more frames than a socket holds
				var wg sync.WaitGroup
				wg.Go(func() {
					for i := range uint64(n) {
						g.write(askedAt, 1)
						if err := r.sendmsg(dataFrame(i, 1, nil), unix.UnixRights(0)); err != nil {
							t.Error(err)
							break
						}
					}
				})
				asked := make(chan struct{})
				wg.Go(func() {
					for {
						select {
						case <-asked:
							return
						default:
							g.write(askedAt, 1)
						}
					}
				})
				soon(t, "all arrive", func() {
					for range n {
						d, err := p.Recv()
						if err != nil {
							t.Error(err)
							break
						}
						CloseFDs([]int{d.FD})
					}
				})
				if reads {
					r.expectAck(1)
				}
				close(asked)
				wg.Wait()
				if a := g.read(ackedAt); a != n {
					t.Errorf("%d are acknowledged", a)
				}
				soon(t, "Close returns", func() { p.Close() })
			})
		}
	}
}

// fussyKernel fails what the functions say.
type fussyKernel struct {
	sys.Kernel
	send  func() syscall.Errno
	write func(b []byte) syscall.Errno
	strip bool // descriptors of the first message that comes are lost, as where the table is full
}

func (k *fussyKernel) Send(fd int, v *sys.Vector, n int) (int, syscall.Errno) {
	if k.send != nil {
		if errno := k.send(); errno != 0 {
			return 0, errno
		}
	}
	return k.Kernel.Send(fd, v, n)
}

func (k *fussyKernel) Write(fd int, b []byte) (int, syscall.Errno) {
	if k.write != nil {
		if errno := k.write(b); errno != 0 {
			return 0, errno
		}
	}
	return k.Kernel.Write(fd, b)
}

func (k *fussyKernel) Recv(fd int, v *sys.Vector, n, flags int) (int, syscall.Errno) {
	n, errno := k.Kernel.Recv(fd, v, n, flags)
	if n > 0 && k.strip {
		k.strip = false
		_, control := v.Message(0)
		CloseFDs(cmsgpool.AppendFDs(nil, control[:v.Control(0)]))
		v.Deliver(0, v.Bytes(0), 0, v.Flags(0)|unix.MSG_CTRUNC)
	}
	return n, errno
}

// fussyLink is a link from an end on one kernel to an end on another.
func fussyLink(t testing.TB, here, there *fussyKernel, dir Direction) (p, q *Passer) {
	t.Helper()
	here.Kernel, there.Kernel = sys.System, sys.System
	f, g := socketpair(t, "unixpacket")
	p = onKernel(t, here, f, &Config{Window: 16})
	return p, onKernel(t, there, g, &Config{Direction: dir})
}

// passes sends and receives more than a window.
func passes(t testing.TB, p, q *Passer) {
	t.Helper()
	const n = 100
	var wg sync.WaitGroup
	wg.Go(func() {
		for i := range n {
			if err := p.Send(Desc{FD: 0, Tag: uint64(i), Keep: true}); err != nil {
				t.Error(err)
				return
			}
		}
	})
	soon(t, "all arrive", func() {
		ds, err := recvN(q, n, 7)
		CloseFDs(fdsOf(ds))
		if err != nil {
			t.Error(err)
		}
		for i, d := range ds {
			if d.Tag != uint64(i) {
				t.Errorf("%d comes where %d is expected", d.Tag, i)
				break
			}
		}
		wg.Wait()
		if err := p.Shutdown(t.Context()); err != nil {
			t.Error(err)
		}
		if _, err := q.Recv(); !isEnd(err) {
			t.Errorf("Recv: %v", err)
		}
	})
}

func TestWherePagesAreUsed(t *testing.T) {
	for _, c := range []struct {
		here, there Direction
		network     string
		want        bool // from here to there
	}{
		{Both, Both, "unixpacket", true},
		{Both, RecvOnly, "unixpacket", true},
		{SendOnly, Both, "unixpacket", true},
		{SendOnly, RecvOnly, "unixpacket", true},
		{Both, Both, "unix", false},
		{SendOnly, RecvOnly, "unix", false},
	} {
		t.Run(fmt.Sprint(c), func(t *testing.T) {
			noLeaks(t)
			p, q := link(t, &Config{Network: c.network, Direction: c.here, Window: 16}, &Config{Direction: c.there})
			passes(t, p, q)
			if usesPage(p) != c.want || acknowledgesOnPage(q) != c.want {
				t.Errorf("the sender's page is in use: %t, the receiver has one: %t", usesPage(p), acknowledgesOnPage(q))
			}
		})
	}
}

// The page goes with HELLO; where no descriptor can, HELLO goes alone.
func TestALinkWhosePageDoesNotArriveGoesOnByFrames(t *testing.T) {
	once := func(errno syscall.Errno) func() syscall.Errno {
		return func() (now syscall.Errno) { now, errno = errno, 0; return now }
	}
	for name, k := range map[string]struct{ here, there fussyKernel }{
		"ETOOMANYREFS": {here: fussyKernel{send: once(syscall.ETOOMANYREFS)}},
		"ENOBUFS":      {here: fussyKernel{send: once(syscall.ENOBUFS)}},
		"ENOMEM":       {here: fussyKernel{send: once(syscall.ENOMEM)}},
		"EPERM":        {here: fussyKernel{send: once(syscall.EPERM)}},
		"a full table": {there: fussyKernel{strip: true}},
	} {
		for _, dir := range []Direction{Both, RecvOnly} {
			t.Run(fmt.Sprint(name, ", ", dir), func(t *testing.T) {
				noLeaks(t)
				here, there := k.here, k.there
				if here.send != nil {
					errno := here.send()
					k.here.send, here.send = once(errno), once(errno)
				}
				p, q := fussyLink(t, &here, &there, dir)
				passes(t, p, q)
				if usesPage(p) || acknowledgesOnPage(q) {
					t.Error("a page is in use")
				}
			})
		}
	}
}

// An end that only sends has its kernel refuse descriptors, so HELLO comes to it without a page; what it sends
// itself is acknowledged on one.
func TestHelloToAnEndWhoseKernelRefusesDescriptors(t *testing.T) {
	needRefusal(t)
	noLeaks(t)
	f, g := socketpair(t, "unixpacket")
	setPassRights(t, g, 0)
	p, q := passerOf(t, f, nil), passerOf(t, g, &Config{Direction: SendOnly, Window: 16})
	closeAfter(t, p)
	closeAfter(t, q)
	if p.out.page != nil {
		t.Error("HELLO went with a page to an end that takes no descriptors")
	}
	until(t, "HELLO is heard", p.peerSendOnly.Load)
	passes(t, q, p)
	if !usesPage(q) {
		t.Error("what the end that only sends has sent was not acknowledged on a page")
	}
}

// An error of the frame that the sender asks for is one of the link, as it is where there are only frames: the
// sender would wait for it.
func TestAnAckFrameThatCannotBeSentEndsTheLink(t *testing.T) {
	for _, dir := range []Direction{Both, RecvOnly} {
		t.Run(dir.String(), func(t *testing.T) {
			noLeaks(t)
			there := fussyKernel{write: func(b []byte) syscall.Errno {
				if wire.Type(b[3]) == wire.TypeAck {
					return syscall.EIO
				}
				return 0
			}}
			p, q := fussyLink(t, &fussyKernel{}, &there, dir)
			soon(t, "both ends end", func() {
				go func() {
					for p.Send(Desc{FD: 0, Keep: true}) == nil {
					}
				}()
				for {
					d, err := q.Recv()
					if err != nil {
						if !errors.Is(err, syscall.EIO) {
							t.Errorf("Recv: %v", err)
						}
						break
					}
					CloseFDs([]int{d.FD})
				}
				<-p.Done()
			})
		})
	}
}

// relies reports whether acknowledgements are not looked for any more, but for a frame that tells of them.
func (o *outbox) relies() bool {
	if !o.work.CompareAndSwap(0, 1) {
		return false
	}
	looks := !o.established.Load() || o.polls.poller != nil && o.polls.within < pollSeldom
	if o.work.Swap(0) != 1 {
		o.flush() // for who has left that to the flusher
	}
	return !looks
}

// The frame that a sender waits for may have to wait itself, for memory of the kernel, and by then the application
// that would send it is not in Recv any more.
func TestAnAckFrameThatNobodySendsHoldsNobodyUp(t *testing.T) {
	for _, dir := range []Direction{Both, RecvOnly} {
		t.Run(dir.String(), func(t *testing.T) {
			noLeaks(t)
			var refused atomic.Int32
			there := fussyKernel{write: func(b []byte) syscall.Errno {
				if wire.Type(b[3]) == wire.TypeAck {
					refused.Add(1)
					return syscall.ENOBUFS
				}
				return 0
			}}
			p, q := fussyLink(t, &fussyKernel{}, &there, dir)
			if err := p.Send(Desc{FD: 0, Keep: true}); err != nil {
				t.Fatal(err)
			}
			down := make(chan error, 1)
			go func() { down <- p.Shutdown(t.Context()) }()
			until(t, "the sender looks no more", func() bool { return p.out.closing.Load() && p.out.relies() })
			d, err := q.Recv()
			if err != nil {
				t.Fatal(err)
			}
			CloseFDs([]int{d.FD})
			soon(t, "Shutdown returns", func() {
				if err := <-down; err != nil {
					t.Error(err)
				}
			})
			if refused.Load() == 0 {
				t.Error("no frame was asked for")
			}
		})
	}
}

// This library hands over no page on a stream. Who does so gets what it asks for.
func TestAPageOnAStream(t *testing.T) {
	for _, dir := range []Direction{Both, RecvOnly} {
		t.Run(dir.String(), func(t *testing.T) {
			noLeaks(t)
			p, r := rawLink(t, linkConfig{Network: "unix", Direction: dir})
			g := newRawPage(t)
			r.helloWith(g.fd)
			g.write(askedAt, 3+1)
			r.send(dataFrame(0, 3, nil), 3)
			soon(t, "all arrive", func() {
				ds, err := recvN(p, 3, 1)
				if err != nil {
					t.Error(err)
				}
				CloseFDs(fdsOf(ds))
			})
			if a, q := g.read(ackedAt), g.read(askedAt); a != 3 || q != 0 {
				t.Errorf("%d are acknowledged; asked %d", a, q)
			}
			g.write(ackedAt, 3|topBit)
			r.send(dataFrame(3, 2, nil), 2)
			r.send(goodbye(), 0)
			if d, err := p.Recv(); !isEnd(err) {
				t.Errorf("Recv: %v, %v", d, err)
			}
		})
	}
}

// A worker that writes an acknowledgement, and does not say that it acknowledges there, has acknowledged nothing.
func TestAnAcknowledgementOnAPageThatIsNotInUseIsNoSignOfLife(t *testing.T) {
	p, r := rawLink(t, linkConfig{Network: "unixpacket"})
	g := r.receivePage()
	g.write(ackedAt, 1)
	pool := newPool(t, &PoolConfig{StallTimeout: time.Hour}) // the test looks
	if err := pool.Add(p); err != nil {
		t.Fatal(err)
	}
	r.hello()
	until(t, "it is ready", func() bool { return pool.Stats().Ready == 1 })
	dispatch(t, pool, []Desc{{FD: 0, Keep: true}, {FD: 0, Keep: true}})
	until(t, "it has stalled", func() bool { pool.checkStalled(); return errors.Is(p.Err(), ErrStalled) })
}
