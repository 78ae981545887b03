//go:build linux

package fastpass

import (
	"errors"
	"fmt"
	"io"
	"math"
	"net"
	"os"
	"runtime"
	"slices"
	"strconv"
	"strings"
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

// raw is the other end of a link, driven by the test: a peer that may do anything.
type raw struct {
	t  testing.TB
	fd int
}

func newRaw(t testing.TB, f *os.File) *raw {
	t.Helper()
	fd, err := dupFD(f)
	if err != nil {
		t.Fatal(err)
	}
	f.Close()
	unix.SetNonblock(fd, true)
	return &raw{t, fd}
}

// rawLink makes a link whose other end is a raw peer, which may send descriptors also to an end that only sends, as
// where the kernel cannot refuse them.
func rawLink(t testing.TB, l linkConfig) (*Passer, *raw) {
	t.Helper()
	p, f, err := Pair(l.config())
	if err != nil {
		t.Fatal(err)
	}
	closeAfter(t, p)
	setPassRights(t, p, 1)
	r := newRaw(t, f)
	t.Cleanup(r.close)
	return p, r
}

func (r *raw) close() {
	if r.fd >= 0 {
		unix.Close(r.fd)
		r.fd = -1
	}
}

// send sends one message with n descriptors of no interest. A peer that has heard enough is no error.
func (r *raw) send(data []byte, n int) {
	r.t.Helper()
	var rights []byte
	if n > 0 {
		fds := fdsOf(nulls(r.t, n))
		defer CloseFDs(fds)
		rights = unix.UnixRights(fds...)
	}
	if err := r.sendmsg(data, rights); err != nil && err != unix.EPIPE && err != unix.ECONNRESET {
		r.t.Fatal(err)
	}
}

func (r *raw) sendmsg(data, rights []byte) error {
	for end := time.Now().Add(patience); ; time.Sleep(time.Millisecond) {
		err := unix.Sendmsg(r.fd, data, rights, nil, unix.MSG_NOSIGNAL|unix.MSG_DONTWAIT)
		if err != unix.EAGAIN || time.Now().After(end) {
			return err
		}
	}
}

// recv takes one message and closes what came with it.
func (r *raw) recv() ([]byte, error) {
	b, oob := make([]byte, 64<<10), make([]byte, unix.CmsgSpace(4*cmsgpool.MaxFDs))
	n, oobn, _, _, err := unix.Recvmsg(r.fd, b, oob, unix.MSG_CMSG_CLOEXEC|unix.MSG_DONTWAIT)
	if err != nil {
		return nil, err
	}
	CloseFDs(cmsgpool.AppendFDs(nil, oob[:oobn]))
	return b[:n], nil
}

func (r *raw) hello() { r.t.Helper(); r.send(helloFrame(nil, nil), 0) }

// helloFrame is a good HELLO, changed by the functions.
func helloFrame(header func(*wire.Header), body func(*wire.Hello)) []byte {
	h := wire.Header{Type: wire.TypeHello, Count: wire.MaxCount, Length: wire.HelloSize}
	hello := wire.Hello{Sends: true, Receives: true, MaxPayload: 4096, MaxBody: 16 << 10, Credit: 1000}
	if header != nil {
		header(&h)
	}
	if body != nil {
		body(&hello)
	}
	b := make([]byte, wire.HeaderSize+wire.HelloSize)
	h.Put(b)
	hello.Put(b[wire.HeaderSize:])
	return b
}

// dataFrame is a good DATA frame for count descriptors from seq on with the given payload lengths, changed by the
// function.
func dataFrame(seq uint64, count int, header func(*wire.Header), payloads ...int) []byte {
	b := make([]byte, wire.HeaderSize+count*wire.RecordSize)
	for i := range count {
		n := 0
		if i < len(payloads) {
			n = payloads[i]
		}
		wire.PutRecord(b[wire.HeaderSize+i*wire.RecordSize:], uint64(i), n, 0)
		b = append(b, make([]byte, n)...)
	}
	h := wire.Header{Type: wire.TypeData, Count: count, Seq: seq, Length: len(b) - wire.HeaderSize}
	if header != nil {
		header(&h)
	}
	h.Put(b)
	return b
}

// plainFrame is a DATA frame without records, with these flags besides.
func plainFrame(seq uint64, count int, flags uint16) []byte {
	b := make([]byte, wire.HeaderSize)
	h := wire.Header{Type: wire.TypeData, Count: count, Seq: seq, Flags: wire.FlagPlain | flags}
	h.Put(b)
	return b
}

func ackFrame(seq uint64, credit int) []byte {
	b := make([]byte, wire.HeaderSize)
	h := wire.Header{Type: wire.TypeAck, Seq: seq, Credit: credit}
	h.Put(b)
	return b
}

func resendFrame(seq, from uint64) []byte {
	b := make([]byte, wire.HeaderSize+wire.ResendSize)
	h := wire.Header{Type: wire.TypeAck, Flags: wire.FlagResend, Seq: seq, Length: wire.ResendSize, Credit: 100}
	h.Put(b)
	wire.PutResend(b[wire.HeaderSize:], from)
	return b
}

func goodbye() []byte {
	b := make([]byte, wire.HeaderSize)
	h := wire.Header{Type: wire.TypeBye}
	h.Put(b)
	return b
}

// patched is b with the byte at i changed.
func patched(b []byte, i int, to byte) []byte { b[i] = to; return b }

// message is what a raw peer sends at once.
type message struct {
	data []byte
	fds  int
}

var good = message{helloFrame(nil, nil), 0}

// hostilePeers are peers that break the protocol, each in its own way.
var hostilePeers = []struct {
	name string
	dir  Direction // of this end
	sent int       // how many descriptors this end has sent before
	says []message
	want string // part of the error
}{
	{"speaks HTTP", Both, 0, []message{{[]byte("GET / HTTP/1.1\r\nHost: localhost\r\n\r\n"), 0}}, `"GET "`},
	{"speaks HTTP and sends descriptors", Both, 0, []message{{[]byte("GET / HTTP/1.1\r\nHost: localhost\r\n\r\n"), 3}}, `"GET "`},
	{"has another magic number", Both, 0, []message{{patched(helloFrame(nil, nil), 0, 0xFE), 0}}, "magic"},
	{"speaks version 2", Both, 0, []message{{patched(helloFrame(nil, nil), 2, 2), 0}}, "version 2"},
	{"sends a frame of unknown type", Both, 0, []message{good, {patched(goodbye(), 3, 9), 1}}, "type 9"},
	{"sends a frame of type 0", Both, 0, []message{{patched(helloFrame(nil, nil), 3, 0), 0}}, "type 0"},
	{"says HELLO twice", Both, 0, []message{good, good}, "HELLO"},
	{"sends DATA before HELLO", Both, 0, []message{{dataFrame(0, 2, nil), 2}}, "HELLO"},
	{"acknowledges before HELLO", Both, 0, []message{{ackFrame(0, 0), 0}}, "HELLO"},
	{"says BYE before HELLO", Both, 0, []message{{goodbye(), 0}}, "HELLO"},
	{"says HELLO with descriptors", Both, 0, []message{{helloFrame(nil, nil), 2}}, "2 descriptors with HELLO"},
	{"has no role", Both, 0, []message{{helloFrame(nil, func(h *wire.Hello) { h.Sends, h.Receives = false, false }), 0}}, "role"},
	{"has a batch limit of 0", Both, 0, []message{{helloFrame(func(h *wire.Header) { h.Count = 0 }, nil), 0}}, "batch limit"},
	{"has a batch limit of 254", Both, 0, []message{{helloFrame(func(h *wire.Header) { h.Count = 254 }, nil), 0}}, "batch limit"},
	{"may send payloads that are too long", Both, 0, []message{{helloFrame(nil, func(h *wire.Hello) { h.MaxPayload = 8192 }), 0}}, "MaxPayload"},
	{"takes bodies of no size", Both, 0, []message{{helloFrame(nil, func(h *wire.Hello) { h.MaxBody = 1 }), 0}}, "body 1"},
	{"gives more credit at first than anybody has", Both, 0, []message{{helloFrame(nil, func(h *wire.Hello) { h.Credit = 1<<31 - 1 }), 0}}, "credit"},
	{"sends only, to an end that only sends", SendOnly, 0, []message{{helloFrame(nil, func(h *wire.Hello) { h.Receives = false }), 0}}, "send only"},
	{"receives only, from an end that only receives", RecvOnly, 0, []message{{helloFrame(nil, func(h *wire.Hello) { h.Sends = false }), 0}}, "receive only"},

	{"sends more descriptors than announced", Both, 0, []message{good, {dataFrame(0, 2, nil), 5}}, "5 descriptors in a message that announces 2"},
	{"sends fewer descriptors than announced", Both, 0, []message{good, {dataFrame(0, 5, nil), 2}}, "only 2 descriptors"},
	{"sends no descriptors where some are announced", RecvOnly, 0, []message{good, {dataFrame(0, 5, nil), 0}}, "only 0 descriptors"},
	{"announces no descriptors", Both, 0, []message{good, {dataFrame(0, 0, nil), 1}}, "0 descriptors"},
	{"announces 254 descriptors", Both, 0, []message{good, {dataFrame(0, 254, nil), 253}}, "254 descriptors"},
	{"announces 65535 descriptors", Both, 0, []message{good, {dataFrame(0, 1, func(h *wire.Header) { h.Count = 65535 }), 1}}, "65535 descriptors"},
	{"has a body too short for the records", Both, 0, []message{good, {dataFrame(0, 1, func(h *wire.Header) { h.Count = 2 }), 2}}, "too short"},
	{"announces a body that is longer than allowed", Both, 0, []message{good, {dataFrame(0, 1, func(h *wire.Header) { h.Length = 1 << 20 }), 1}}, "body of 1048576"},
	{"announces a body of 4 GiB", Both, 0, []message{good, {dataFrame(0, 1, func(h *wire.Header) { h.Length = -1 }), 1}}, "body of 4294967295"},
	{"has payload lengths that do not add up", Both, 0, []message{good, {patched(dataFrame(0, 2, nil, 10, 10), wire.HeaderSize+8, 11), 2}}, "add up"},
	{"has a payload over the limit", Both, 0, []message{good, {dataFrame(0, 1, nil, 4097), 1}}, "4097"},
	{"has a payload of 4 GiB", Both, 0, []message{good, {patched(patched(dataFrame(0, 1, nil), wire.HeaderSize+11, 0xFF), wire.HeaderSize+8, 0xFF), 1}}, "payload"},
	{"has unknown record flags", Both, 0, []message{good, {patched(dataFrame(0, 1, nil), wire.HeaderSize+15, 0x80), 1}}, "flags"},
	{"has unknown frame flags", Both, 0, []message{good, {dataFrame(0, 1, func(h *wire.Header) { h.Flags = 8 }), 1}}, "flags 0x8"},
	{"has unknown flags in a frame without records", Both, 0, []message{good, {plainFrame(0, 1, 8), 1}}, "flags 0xa"},
	{"has records in a frame without", Both, 0, []message{good, {dataFrame(0, 1, func(h *wire.Header) { h.Flags = wire.FlagPlain }), 1}}, "body of 16"},
	{"shares all in a frame with records", Both, 0, []message{good, {dataFrame(0, 1, func(h *wire.Header) { h.Flags = wire.FlagShared }), 1}}, "flags 0x4"},
	{"sends fewer descriptors than announced, without records", Both, 0, []message{good, {plainFrame(0, 5, 0), 2}}, "only 2 descriptors"},
	{"sends beyond its credit, without records", Both, 0, []message{good, {plainFrame(1<<40, 2, 0), 2}}, "credit"},
	{"begins with a number that is not the next", Both, 0, []message{good, {dataFrame(1, 1, nil), 1}}, "begins at 1"},
	{"sends a number twice", Both, 0, []message{good, {dataFrame(0, 2, nil), 2}, {dataFrame(0, 2, nil), 2}}, "begins at 0"},
	{"has numbers that wrap", Both, 0, []message{good, {dataFrame(1<<64-1, 2, nil), 2}}, "credit"},
	{"sends far beyond its credit", Both, 0, []message{good, {dataFrame(1<<40, 2, nil), 2}}, "credit"},
	{"sends although it only receives", Both, 0, []message{{helloFrame(nil, func(h *wire.Hello) { h.Sends = false }), 0}, {dataFrame(0, 3, nil), 3}}, "only receives"},
	{"sends to an end that only sends", SendOnly, 0, []message{good, {dataFrame(0, 3, nil), 3}}, "only sends"},

	{"acknowledges to an end that only receives", RecvOnly, 0, []message{good, {ackFrame(0, 1), 0}}, "only receives"},
	{"acknowledges what was never sent", Both, 10, []message{good, {ackFrame(11, 100), 0}}, "acknowledgement of 11"},
	{"acknowledges far more than was sent", SendOnly, 10, []message{good, {ackFrame(1<<63, 100), 0}}, "acknowledgement of"},
	{"takes an acknowledgement back", Both, 10, []message{good, {ackFrame(5, 100), 0}, {ackFrame(4, 100), 0}}, "goes back from 5 to 4"},
	{"gives too much credit", Both, 10, []message{good, {ackFrame(5, 1<<24+1), 0}}, "credit"},
	{"wants what was never sent again", Both, 10, []message{good, {resendFrame(5, 11), 0}}, "resend from 11"},
	{"wants what it has acknowledged again", Both, 10, []message{good, {resendFrame(5, 4), 0}}, "resend from 4"},
	{"acknowledges with descriptors", Both, 10, []message{good, {ackFrame(5, 100), 3}}, "3 descriptors with ACK"},
	{"acknowledges with a body", Both, 10, []message{good, {append(patched(ackFrame(5, 100), 16, 4), "body"...), 0}}, "ACK with"},
	{"acknowledges with a count", Both, 10, []message{good, {patched(ackFrame(5, 100), 4, 1), 0}}, "ACK with"},
	{"says BYE with descriptors", Both, 0, []message{good, {goodbye(), 200}}, "200 descriptors with BYE"},
	{"says BYE with a body", RecvOnly, 0, []message{good, {append(patched(goodbye(), 16, 4), "body"...), 1}}, "descriptors with BYE|BYE with"},
	{"ends in the middle of a header", RecvOnly, 0, []message{good, {dataFrame(0, 1, nil)[:20], 1}}, "20 bytes"},
	{"ends in the middle of a body", RecvOnly, 0, []message{good, {dataFrame(0, 1, nil)[:30], 1}}, "body of 16 bytes and has one of 6"},
}

func TestAPeerThatBreaksTheProtocolEndsItsOwnLinkOnly(t *testing.T) {
	for _, network := range []string{"unixpacket", "unix"} {
		for _, h := range hostilePeers {
			t.Run(network+", "+h.name, func(t *testing.T) {
				if network == "unix" && strings.HasPrefix(h.name, "ends in the middle") {
					t.Skip("a stream may pause anywhere")
				}
				if strings.HasPrefix(h.want, "only ") && !sys.ReportsTruncation() {
					t.Skip("this system does not say that descriptors were cut off (qemu-user is known for it), so fewer are no lie")
				}
				noLeaks(t)
				l := linkConfig{Network: network, Direction: h.dir}
				bystander, other := link(t, nil, nil)
				p, r := rawLink(t, l)
				for range h.sent {
					if err := p.Send(Desc{FD: 0, Keep: true}); err != nil {
						t.Fatal(err)
					}
				}
				for i, m := range h.says {
					if i == 1 && h.sent > 0 { // HELLO was heard, and all that was queued is on its way
						until(t, "all are sent", func() bool { return p.Stats().Sent == uint64(h.sent) })
					}
					if i == 2 && h.sent > 0 {
						until(t, "the acknowledgement is heard", func() bool { return p.Stats().Delivered > 0 })
					}
					r.send(m.data, m.fds)
				}
				expectProtocolError(t, p, h.want)
				if d := p.Undelivered(); h.sent > 0 && len(d)+int(p.Stats().Delivered) != h.sent {
					t.Errorf("%d come back and %d are delivered of %d", len(d), p.Stats().Delivered, h.sent)
				}
				for i := range 3 {
					if err := bystander.Send(Desc{FD: null(t), Tag: uint64(i)}); err != nil {
						t.Fatal(err)
					}
				}
				soon(t, "another link goes on", func() {
					ds, err := recvN(other, 3, 3)
					if err != nil {
						t.Error(err)
					}
					CloseFDs(fdsOf(ds))
				})
			})
		}
	}
}

// expectProtocolError takes what still comes, and then wants the link to end with ErrProtocol.
func expectProtocolError(t testing.TB, p *Passer, want string) {
	t.Helper()
	soon(t, "the link ends", func() {
		if p.cfg.receives() {
			for {
				d, err := p.Recv()
				if err != nil {
					if !errors.Is(err, ErrProtocol) {
						t.Errorf("Recv: %v, want ErrProtocol", err)
					}
					break
				}
				CloseFDs([]int{d.FD})
			}
		}
		<-p.Done()
	})
	err := p.Err()
	if !errors.Is(err, ErrProtocol) {
		t.Errorf("Err is %v, want ErrProtocol", err)
		return
	}
	for _, w := range strings.Split(want, "|") {
		if strings.Contains(err.Error(), w) {
			return
		}
	}
	t.Errorf("the error is %q, which does not contain %q", err, want)
}

// In Bare there is little that a peer can break.
func TestABarePeerThatSendsToAnEndThatOnlySends(t *testing.T) {
	for _, network := range []string{"unixpacket", "unix"} {
		t.Run(network, func(t *testing.T) {
			noLeaks(t)
			p, r := rawLink(t, linkConfig{Protocol: Bare, Network: network, Direction: SendOnly})
			r.send([]byte("x"), 5)
			expectProtocolError(t, p, "5 descriptors to an end that only sends")
		})
	}
}

// A foreign peer may take bodies that are too small for the records of a batch.
func TestNoFrameExceedsWhatThePeerTakes(t *testing.T) {
	for _, payload := range []int{0, 20} {
		t.Run(fmt.Sprint(payload, " bytes each"), func(t *testing.T) {
			noLeaks(t)
			const most = 100
			p, r := rawLink(t, linkConfig{Network: "unixpacket", MaxPayload: 30})
			for range 50 {
				if err := p.Push(Desc{FD: 0, Keep: true, Payload: make([]byte, payload)}); err != nil {
					t.Fatal(err)
				}
			}
			r.send(helloFrame(nil, func(h *wire.Hello) { h.MaxPayload, h.MaxBody = 30, most }), 0)
			for got := 0; got < 50; {
				b, err := r.recv()
				if err == unix.EAGAIN {
					until(t, "another frame comes", func() bool {
						n, _ := unix.Poll([]unix.PollFd{{Fd: int32(r.fd), Events: unix.POLLIN}}, 0)
						return n > 0
					})
					continue
				}
				var h wire.Header
				if err == nil {
					err = h.Parse(b)
				}
				if err != nil {
					t.Fatal(err)
				}
				if h.Length > most {
					t.Fatalf("%v with a body of %d bytes", h.Type, h.Length)
				}
				if h.Type == wire.TypeData {
					got += h.Count
				}
			}
		})
	}
}

func TestFramesThatComeInPiecesAreAsGoodAsWhole(t *testing.T) {
	for _, dir := range []Direction{Both, RecvOnly} {
		t.Run(dir.String(), func(t *testing.T) {
			noLeaks(t)
			p, r := rawLink(t, linkConfig{Network: "unix", Direction: dir})
			drip := func(b []byte, fds int) {
				for i := range b {
					r.send(b[i:i+1], fds)
					fds = 0
				}
			}
			var wg sync.WaitGroup
			wg.Go(func() {
				drip(helloFrame(nil, nil), 0)
				for i := range 3 {
					drip(dataFrame(uint64(2*i), 2, nil, 3, 0), 2)
				}
			})
			soon(t, "all arrive", func() {
				ds, err := recvN(p, 6, 1)
				wg.Wait()
				if err != nil {
					t.Error(err)
				}
				for i, d := range ds {
					if d.Tag != uint64(i%2) || len(d.Payload) != []int{3, 0}[i%2] || !isOpen(d.FD) {
						t.Errorf("descriptor %d: %v", i, d)
					}
				}
				CloseFDs(fdsOf(ds))
				drip(goodbye(), 0)
				if _, err := p.Recv(); !isEnd(err) {
					t.Errorf("Recv: %v", err)
				}
			})
		})
	}
}

func TestDescriptorsWithEveryByteOfAFrame(t *testing.T) {
	for _, dir := range []Direction{Both, RecvOnly} {
		t.Run(dir.String(), func(t *testing.T) {
			noLeaks(t)
			p, r := rawLink(t, linkConfig{Network: "unix", Direction: dir})
			r.hello()
			var wg sync.WaitGroup
			wg.Go(func() {
				for _, b := range dataFrame(0, 200, nil) {
					r.send([]byte{b}, 3)
				}
			})
			expectProtocolError(t, p, "descriptors|body of 3200 bytes")
			wg.Wait()
		})
	}
}

// A frame that never ends holds descriptors that nobody else knows of.
func TestCloseInTheMiddleOfAFrameClosesItsDescriptors(t *testing.T) {
	for _, dir := range []Direction{Both, RecvOnly} {
		for _, size := range []int{1, 20, wire.HeaderSize, 30} {
			for _, end := range []string{"closed here", "closed there", "killed there"} {
				t.Run(dir.String()+", "+end, func(t *testing.T) {
					noLeaks(t)
					p, r := rawLink(t, linkConfig{Network: "unix", Direction: dir})
					r.hello()
					r.send(dataFrame(0, 2, nil)[:size], 2)
					p.SetReadDeadline(time.Now().Add(5 * time.Millisecond))
					if _, err := p.Recv(); !errors.Is(err, os.ErrDeadlineExceeded) {
						t.Errorf("Recv: %v, want os.ErrDeadlineExceeded", err)
					}
					p.SetReadDeadline(time.Time{})
					switch end {
					case "closed there":
						r.send(goodbye(), 0)
						fallthrough
					case "killed there":
						r.close()
						soon(t, "the link ends", func() { p.Recv() })
					}
					soon(t, "Close returns", func() { p.Close() })
				})
			}
		}
	}
}

// A peer that sends and never reads: acknowledgements get stuck.
func TestRecvFromAPeerThatReadsNothing(t *testing.T) {
	for _, l := range framedLinks {
		for _, dir := range []Direction{Both, RecvOnly} {
			l.Direction = dir
			for _, how := range []string{"deadline", "close"} {
				t.Run(l.String()+", "+how, func(t *testing.T) {
					const callers = 3
					noLeaks(t)
					p, r := rawLink(t, l)
					r.hello()
					var wg sync.WaitGroup
					defer wg.Wait()
					wg.Go(func() {
						for i := range 500 { // what the first credit allows, and more acknowledgements than a socket holds
							if r.sendmsg(dataFrame(uint64(i), 1, nil), unix.UnixRights(0)) != nil {
								break
							}
						}
					})
					var want error
					switch how {
					case "deadline":
						want = os.ErrDeadlineExceeded
						p.SetReadDeadline(time.Now().Add(100 * time.Millisecond))
					case "close":
						want = net.ErrClosed
						time.AfterFunc(100*time.Millisecond, func() { p.Close() })
					}
					var receiving sync.WaitGroup
					for range callers {
						receiving.Go(func() {
							for {
								d, err := p.Recv()
								if err != nil {
									if !errors.Is(err, want) {
										t.Errorf("Recv: %v, want %v", err, want)
									}
									break
								}
								CloseFDs([]int{d.FD})
							}
						})
					}
					soon(t, "all give up", receiving.Wait)
					soon(t, "Close returns", func() { p.Close() })
				})
			}
		}
	}
}

// A peer that sends one message, and never reads: the acknowledgement waits behind descriptors that are to be sent.
func TestTheReadDeadlineBesideASenderThatWaitsForTheSocket(t *testing.T) {
	noLeaks(t)
	p, r := rawLink(t, linkConfig{Network: "unix", Direction: Both})
	r.hello()
	until(t, "HELLO has come", p.out.established.Load)
	for p.TrySend(Desc{FD: 0, Keep: true, Payload: make([]byte, 4096)}) == nil {
	}
	until(t, "the socket is full", p.out.blocked.Load)
	r.send(dataFrame(0, 1, nil), 1)
	out := make(chan error, 1)
	go func() {
		_, err := p.Recv()
		out <- err
	}()
	until(t, "Recv waits", func() bool { return p.in.blocked.Load() == 1 })
	if err := p.SetReadDeadline(time.Now().Add(20 * time.Millisecond)); err != nil {
		t.Fatal(err)
	}
	soon(t, "Recv gives up", func() {
		if err := <-out; !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("Recv: %v, want %v", err, os.ErrDeadlineExceeded)
		}
	})
	soon(t, "Close returns", func() { p.Close() })
}

// A peer that takes nothing any more, lives, and sends for ever what nobody asks for.
func TestABarePeerThatOnlySends(t *testing.T) {
	for _, network := range []string{"unix", "unixpacket"} {
		for _, rights := range []int{0, 253} {
			t.Run(fmt.Sprintf("%s, %d descriptors", network, rights), func(t *testing.T) {
				noLeaks(t)
				p, r := rawLink(t, linkConfig{Protocol: Bare, Network: network})
				if err := unix.Shutdown(r.fd, unix.SHUT_RD); err != nil {
					t.Fatal(err)
				}
				var oob []byte
				if rights > 0 {
					oob = unix.UnixRights(make([]int, rights)...)
				}
				var sending sync.WaitGroup
				defer sending.Wait()
				sending.Go(func() {
					err := error(nil)
					for end := time.Now().Add(patience); (err == nil || err == unix.EAGAIN || err == unix.ETOOMANYREFS) && time.Now().Before(end); {
						err = unix.Sendmsg(r.fd, []byte("more"), oob, nil, unix.MSG_NOSIGNAL|unix.MSG_DONTWAIT)
					}
				})
				var most int32
				soon(t, "the link ends", func() {
					for err := error(nil); err == nil; err = p.Send(Desc{FD: 0, Keep: true}) {
						most = max(most, p.in.queued.Load())
					}
					<-p.Done()
				})
				if most = max(most, p.in.queued.Load()); most > unaskedCredit+2*fullCall { // a call may bring as many
					t.Errorf("%d descriptors or messages are queued, and nobody has asked for any", most)
				}
				if !errors.Is(p.Err(), ErrPeerGone) {
					t.Errorf("Err: %v, want %v", p.Err(), ErrPeerGone)
				}
			})
		}
	}
}

// What a peer that takes nothing any more has sent before comes, and then the end.
func TestABarePeerThatTakesNothingAnyMore(t *testing.T) {
	for _, network := range []string{"unix", "unixpacket"} {
		t.Run(network, func(t *testing.T) {
			noLeaks(t)
			p, r := rawLink(t, linkConfig{Protocol: Bare, Network: network})
			for range 9 {
				r.send([]byte("x"), 3)
			}
			if err := unix.Shutdown(r.fd, unix.SHUT_RD); err != nil {
				t.Fatal(err)
			}
			for p.Send(Desc{FD: 0, Keep: true}) == nil {
			}
			soon(t, "all arrive", func() {
				ds, err := recvN(p, 9*3, 4)
				if err != nil {
					t.Error(err)
				}
				CloseFDs(fdsOf(ds))
				if d, err := p.Recv(); !errors.Is(err, ErrPeerGone) {
					t.Errorf("Recv: %v, %v, want %v", d, err, ErrPeerGone)
				}
				<-p.Done()
			})
		})
	}
}

// What is queued by then is no less, and several receive it at the same time.
func TestMuchFromABarePeerThatTakesNothingAnyMore(t *testing.T) {
	noLeaks(t)
	for range 40 {
		p, r := rawLink(t, linkConfig{Protocol: Bare, Network: "unixpacket"})
		if err := unix.Shutdown(r.fd, unix.SHUT_RD); err != nil {
			t.Fatal(err)
		}
		const messages = 12 // the largest there are
		for range messages {
			r.send([]byte("x"), cmsgpool.MaxFDs)
		}
		until(t, "much is queued", func() bool { return p.in.queued.Load() >= unaskedCredit })
		var receiving sync.WaitGroup
		var got atomic.Int32
		for range 2 {
			receiving.Go(func() {
				for err := error(nil); err == nil; {
					var d Desc
					if d, err = p.Recv(); err == nil {
						CloseFDs([]int{d.FD})
						got.Add(1)
					}
				}
			})
		}
		until(t, "somebody receives", func() bool { return got.Load() > 0 })
		for p.Send(Desc{FD: 0, Keep: true}) == nil {
		}
		soon(t, "all is received, and the link ends", func() {
			receiving.Wait()
			<-p.Done()
		})
		if got.Load() != messages*cmsgpool.MaxFDs {
			t.Fatalf("%d descriptors have come of %d", got.Load(), messages*cmsgpool.MaxFDs)
		}
		p.Close()
		r.close()
	}
}

// On a seqpacket socket a message without bytes looks like the end. Two in a row do, if the peer has gone.
func TestMessagesOfNothingAreNotTheEnd(t *testing.T) {
	tight := &spaciousKernel{Kernel: sys.System} // there is never room for a message of the largest size
	tight.free.Store(10)
	for _, k := range []sys.Kernel{sys.System, tight} {
		for _, gone := range []bool{false, true} {
			t.Run(fmt.Sprintf("%T, gone %v", k, gone), func(t *testing.T) {
				if k == tight && sys.Implementation == "sendmsg/recvmsg" {
					t.Skip("without MSG_PEEK nothing comes into a table that has no room for the largest message")
				}
				noLeaks(t)
				p, r := bareOn(t, k, Config{})
				descriptors := 0
				script := "00d0d000d00d"
				if gone {
					script = "0d0d0d"
				}
				for _, c := range script {
					if c == '0' {
						r.send(nil, 0)
					} else {
						r.send([]byte("d"), 1)
						descriptors++
					}
				}
				if gone {
					unix.Shutdown(r.fd, unix.SHUT_WR)
				}
				soon(t, "all arrive", func() {
					ds, err := recvN(p, descriptors, 1)
					if err != nil {
						t.Error(err)
					}
					CloseFDs(fdsOf(ds))
					unix.Shutdown(r.fd, unix.SHUT_WR)
					if d, err := p.Recv(); err != io.EOF {
						t.Errorf("Recv: %v, %v, want %v", d, err, io.EOF)
					}
				})
			})
		}
	}
}

// What has come of a frame is closed with a Passer that nobody has any more.
func TestHalfAFrameGoesWithItsPasser(t *testing.T) {
	noLeaks(t)
	a, b := socketpair(t, "unix")
	r := newRaw(t, b)
	defer r.close()
	var pipe [2]int
	if err := unix.Pipe2(pipe[:], unix.O_CLOEXEC|unix.O_NONBLOCK); err != nil {
		t.Fatal(err)
	}
	defer unix.Close(pipe[0])
	func() {
		c, err := fileConn(a)
		if err != nil {
			t.Fatal(err)
		}
		p, err := New(c, &Config{Network: "unix", Direction: RecvOnly})
		if err != nil {
			t.Fatal(err)
		}
		r.hello()
		if err := r.sendmsg(dataFrame(0, 1, nil)[:10], unix.UnixRights(pipe[1])); err != nil {
			t.Fatal(err)
		}
		unix.Close(pipe[1])
		p.SetReadDeadline(time.Now().Add(20 * time.Millisecond))
		if d, err := p.Recv(); !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("Recv: %v, %v", d, err)
		}
	}()
	until(t, "nobody has the other end of the pipe", func() bool {
		runtime.GC()
		n, err := unix.Read(pipe[0], make([]byte, 1))
		return n == 0 && err == nil
	})
}

// An empty message with a descriptor is not the end of a seqpacket socket, although it looks like it.
func TestAnEmptyBareMessageWithADescriptor(t *testing.T) {
	noLeaks(t)
	p, r := rawLink(t, linkConfig{Protocol: Bare, Network: "unixpacket"})
	r.send(nil, 2)
	r.send([]byte("x"), 1)
	soon(t, "all arrive", func() {
		ds, err := recvN(p, 3, 3)
		if err != nil {
			t.Error(err)
		}
		CloseFDs(fdsOf(ds))
	})
}

// Numbers that are no descriptors of this process.

func TestADescriptorThatIsNotOpenIsRefusedAndTheOthersGo(t *testing.T) {
	notOpen := func(t testing.TB) int { // a number in reach that is not open
		fd := 15_000 // far beyond those that the test opens
		for isOpen(fd) {
			fd++
		}
		return fd
	}
	for _, l := range everyLink {
		for name, bad := range map[string]func(testing.TB) int{
			"-1":            func(testing.TB) int { return -1 },
			"the least int": func(testing.TB) int { return -1 << 31 },
			"the largest":   func(testing.TB) int { return 1<<31 - 1 },
			"not open":      notOpen,
		} {
			for _, batch := range []int{1, 10, 253, 600} {
				for _, at := range []string{"first", "middle", "last", "several"} {
					t.Run(l.String()+", "+name+", "+at, func(t *testing.T) {
						noLeaks(t)
						var refused []int
						cfg := l.config()
						cfg.OnRefused = func(d Desc, err error) {
							if !errors.Is(err, syscall.EBADF) {
								t.Errorf("refused because of %v", err)
							}
							refused = append(refused, d.FD)
						}
						p, q := link(t, cfg, l.config())
						ds := nulls(t, batch)
						wrong := map[string][]int{"first": {0}, "middle": {batch / 2}, "last": {batch - 1}, "several": {0, batch / 3, batch / 2}}[at]
						for _, i := range wrong {
							if ds[i].FD >= 0 && isOpen(ds[i].FD) {
								unix.Close(ds[i].FD)
							}
							ds[i].FD = bad(t)
						}
						nWrong := 0
						for _, d := range ds {
							if !isOpen(d.FD) {
								nWrong++
							}
						}
						var err error
						told := 0
						if batch == 1 {
							err = p.Send(ds[0])
						} else {
							for rest := ds; len(rest) > 0; {
								var n int
								n, err = p.SendBatch(rest)
								if n == len(rest) {
									break
								}
								// The next one was not taken: skip it.
								if de := (*DescError)(nil); !errors.As(err, &de) || de.FD != rest[n].FD || !errors.Is(err, syscall.EBADF) {
									t.Fatalf("after %d: %v", n, err)
								}
								told++
								rest = rest[n+1:]
							}
						}
						if l.Protocol == Bare || batch == 1 && told == 0 && err != nil {
							if de := (*DescError)(nil); told == 0 && !errors.As(err, &de) {
								t.Errorf("%v, want a *DescError", err)
							}
						}
						soon(t, "the others arrive", func() {
							got, err := recvN(q, batch-nWrong, 50)
							if err != nil {
								t.Error(err)
							}
							CloseFDs(fdsOf(got))
							if err := p.Shutdown(t.Context()); err != nil {
								t.Error(err)
							}
							if _, err := q.Recv(); !isEnd(err) {
								t.Errorf("Recv: %v, want io.EOF", err)
							}
						})
						if told == 0 && len(refused) != nWrong && !(batch == 1 && err != nil) {
							t.Errorf("OnRefused was called for %v", refused)
						}
					})
				}
			}
		}
	}
}

// One that does not fit into what the kernel takes is not mistaken for the one that its lower half is the number of.
func TestANumberTooLargeIsNotCutShort(t *testing.T) {
	if strconv.IntSize == 32 {
		t.Skip("an int has 32 bits here: there is none")
	}
	for _, l := range everyLink {
		t.Run(l.String(), func(t *testing.T) {
			noLeaks(t)
			var refused []int
			cfg := l.config()
			cfg.OnRefused = func(d Desc, err error) {
				if de := (*DescError)(nil); !errors.As(err, &de) || de.FD != d.FD || !errors.Is(err, syscall.EBADF) {
					t.Errorf("%d was refused because of %v", d.FD, err)
				}
				refused = append(refused, d.FD)
			}
			p, q := link(t, cfg, l.config())
			ds := nulls(t, 2)
			fd := ds[0].FD
			defer unix.Close(fd)
			ds[0].FD |= math.MaxInt &^ math.MaxUint32
			n, err := p.SendBatch(ds)
			if de := (*DescError)(nil); n != 2 || !errors.As(err, &de) || de.FD != ds[0].FD {
				t.Errorf("SendBatch: %d, %v", n, err)
			}
			d, err := q.Recv()
			if err != nil {
				t.Fatal(err)
			}
			CloseFDs([]int{d.FD})
			if err := p.Shutdown(t.Context()); err != nil {
				t.Error(err)
			}
			if !slices.Equal(refused, []int{-1}) {
				t.Errorf("OnRefused was told of %d, want -1: %d is open, and another one", refused, fd)
			}
		})
	}
}

// Configurations.

func TestAConfigurationThatCannotBeIsAnErrorThatSaysSo(t *testing.T) {
	for _, c := range []struct {
		name string
		cfg  Config
		want []string
	}{
		{"a batch of 254", Config{Batch: 254}, []string{"Batch", "254", "253"}},
		{"a batch of -1", Config{Batch: -1}, []string{"Batch", "-1"}},
		{"a window of 1000", Config{Window: 1000}, []string{"Window", "1000", "power of two"}},
		{"a window of -1", Config{Window: -1}, []string{"Window"}},
		{"a window of 2^21", Config{Window: 1 << 21}, []string{"Window", "2097152"}},
		{"65 messages", Config{Messages: 65}, []string{"Messages", "65", "64"}},
		{"payloads of 65537 bytes", Config{MaxPayload: 65537}, []string{"MaxPayload", "65537"}},
		{"payloads of -1 bytes", Config{MaxPayload: -1}, []string{"MaxPayload"}},
		{"protocol 2", Config{Protocol: 2}, []string{"Protocol(2)"}},
		{"direction 3", Config{Direction: 3}, []string{"Direction(3)"}},
		{"network tcp", Config{Network: "tcp"}, []string{"Network", "tcp"}},
		{"spin -1", Config{Spin: -1}, []string{"Spin"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			noLeaks(t)
			f, g := socketpair(t, "unix")
			defer g.Close()
			conn, err := fileConn(f)
			if err != nil {
				t.Fatal(err)
			}
			_, errNew := New(conn, &c.cfg)
			_, _, errPair := Pair(&c.cfg)
			for _, err := range []error{errNew, errPair} {
				for _, w := range c.want {
					if err == nil || !strings.Contains(err.Error(), w) {
						t.Errorf("%v, want an error with %q", err, w)
					}
				}
			}
		})
	}
}

func TestADatagramSocketIsRefused(t *testing.T) {
	noLeaks(t)
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(fds[1])
	conn, err := fileConn(os.NewFile(uintptr(fds[0]), "socket"))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := New(conn, nil); err == nil || !strings.Contains(err.Error(), "datagram") {
		t.Errorf("%v, want an error that names the datagram socket", err)
	}
}

// hastyKernel reports the end of a seqpacket socket before the last messages that came, once, as the real one does now
// and then: it finds the queue empty, then somebody sends and closes, and then it finds the peer gone.
type hastyKernel struct {
	sys.Kernel
	done bool
}

func (k *hastyKernel) Recv(fd int, v *sys.Vector, n, flags int) (int, syscall.Errno) {
	look := []unix.PollFd{{Fd: int32(fd), Events: unix.POLLRDHUP}}
	if _, err := unix.Poll(look, 0); err == nil && look[0].Revents&unix.POLLHUP != 0 && !k.done {
		k.done = true
		v.Deliver(0, 0, 0, 0)
		return 1, 0
	}
	return k.Kernel.Recv(fd, v, n, flags)
}

// onKernel makes a Passer of one end of a pair on a kernel that is not quite the real one.
func onKernel(t testing.TB, k sys.Kernel, f *os.File, cfg *Config) *Passer {
	t.Helper()
	p, err := passerOn(k, f, cfg)
	if err != nil {
		t.Fatal(err)
	}
	closeAfter(t, p)
	return p
}

// bareOn returns a Bare link that only receives, on k, and the socket at its other end.
func bareOn(t *testing.T, k sys.Kernel, cfg Config) (*Passer, *raw) {
	t.Helper()
	cfg.Protocol, cfg.Network, cfg.Direction = Bare, "unixpacket", RecvOnly
	a, b := socketpair(t, cfg.Network)
	p := onKernel(t, k, a, &cfg)
	r := newRaw(t, b)
	t.Cleanup(r.close)
	return p, r
}

// bareStream returns a Bare link over a stream that only receives, the socket at its other end, and how many bytes it
// receives at a time.
func bareStream(t *testing.T, k sys.Kernel) (p *Passer, r *raw, buffer int) {
	t.Helper()
	a, b := socketpair(t, "unix")
	p = onKernel(t, k, a, &Config{Protocol: Bare, Network: "unix", Direction: RecvOnly})
	r = newRaw(t, b)
	t.Cleanup(r.close)
	v := p.vectors.get()
	defer v.put()
	return p, r, len(v.data[0])
}

func passerOn(k sys.Kernel, f *os.File, cfg *Config) (*Passer, error) {
	c, err := fileConn(f)
	if err != nil {
		return nil, err
	}
	full, err := cfg.withDefaults(sys.System.SoftLimit())
	if err != nil {
		return nil, err
	}
	conn, err := c.SyscallConn()
	if err != nil {
		return nil, err
	}
	var kind int
	conn.Control(func(fd uintptr) { kind, err = sys.SocketType(int(fd)) })
	if err != nil {
		return nil, err
	}
	own, socket := sys.Own(c, conn, false)
	p := assemble(k, own, socket, kind == unix.SOCK_STREAM, full)
	if err := p.start(); err != nil {
		return nil, err
	}
	if full.sends() {
		go p.in.pump()
	}
	return p, nil
}

// Whoever believes the first end of file takes back what was acknowledged.
func TestTheLastAcknowledgementOfADyingPeerCounts(t *testing.T) {
	noLeaks(t)
	p, r := hastyLink(t, linkConfig{Network: "unixpacket"})
	r.hello()
	if err := p.Send(Desc{FD: null(t)}); err != nil {
		t.Fatal(err)
	}
	until(t, "it is sent", func() bool { return p.Stats().Sent == 1 })
	for _, err := r.recv(); err == nil; _, err = r.recv() { // otherwise the end is a reset
	}
	unix.Shutdown(r.fd, unix.SHUT_RD) // nothing in between can be read twice
	r.send(ackFrame(1, 100), 0)
	r.close()
	wait(t, "the link ends", p.Done())
	if n := len(p.Undelivered()); n != 0 {
		t.Errorf("%d descriptors come back that the peer has acknowledged", n)
	}
}

// And whoever receives takes a peer that said goodbye for dead, or loses its last descriptors.
func TestTheLastMessagesOfADyingPeerArrive(t *testing.T) {
	for _, dir := range []Direction{Both, RecvOnly} {
		for _, proto := range []Protocol{Framed, Bare} {
			t.Run(fmt.Sprint(proto, ", ", dir), func(t *testing.T) {
				noLeaks(t)
				p, r := hastyLink(t, linkConfig{Protocol: proto, Network: "unixpacket", Direction: dir})
				last := []byte("x")
				if proto == Framed {
					r.hello()
					for _, err := r.recv(); err == nil; _, err = r.recv() {
					}
					last = dataFrame(0, 3, nil)
				}
				r.send(last, 3)
				r.close()
				soon(t, "all arrive, and the end", func() {
					ds, err := recvN(p, 3, 3)
					if err != nil {
						t.Error(err)
					}
					CloseFDs(fdsOf(ds))
					if _, err := p.Recv(); proto == Framed && !errors.Is(err, ErrPeerGone) || proto == Bare && !isEnd(err) {
						t.Errorf("Recv: %v", err)
					}
				})
			})
		}
	}
}

// hastyLink is rawLink on a hastyKernel.
func hastyLink(t testing.TB, l linkConfig) (*Passer, *raw) {
	t.Helper()
	f, g := socketpair(t, l.Network)
	r := newRaw(t, g)
	t.Cleanup(r.close)
	return onKernel(t, &hastyKernel{Kernel: sys.System}, f, l.config()), r
}

// A Framed peer that lives sends no message without a frame.
func TestAnEmptyMessageBreaksTheProtocol(t *testing.T) {
	noLeaks(t)
	p, r := rawLink(t, linkConfig{Network: "unixpacket", Direction: RecvOnly})
	r.hello()
	r.send(nil, 0)
	if _, err := p.Recv(); !errors.Is(err, ErrProtocol) {
		t.Errorf("Recv: %v", err)
	}
}
