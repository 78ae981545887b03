//go:build unix

package fastpass

import (
	"errors"
	"fmt"
	"os"
	"syscall"

	"example.com/fdpass/internal/flow"
	"example.com/fdpass/internal/sys"
	"example.com/fdpass/internal/wire"
)

// hello returns the frame that opens the link from this end. A page may be attached to it.
func (in *inbox) hello(page bool) []byte {
	c := &in.p.cfg
	h := wire.Hello{Sends: c.sends(), Receives: c.receives(), MaxPayload: c.MaxPayload, MaxBody: c.maxBody(), Page: page}
	if h.Receives {
		h.Credit = in.credit(0)
	}
	in.flow.Open(h.Credit)
	b := make([]byte, wire.HeaderSize+wire.HelloSize)
	header := wire.Header{Type: wire.TypeHello, Count: c.Batch, Length: wire.HelloSize}
	header.Put(b)
	h.Put(b[wire.HeaderSize:])
	return b
}

// takeFrame takes in one frame, with the descriptors in fds. Truncated is what the kernel says of them.
func (in *inbox) takeFrame(b []byte, truncated bool) {
	if in.eof.Load() {
		in.closeFrom(0) // behind the end
		return
	}
	if err := in.frame(b, truncated); err != nil {
		in.closeFrom(0)
		in.stop(ending{err: protocolError("%v", err)})
	}
}

func (in *inbox) frame(b []byte, truncated bool) error {
	var h wire.Header
	if err := h.Parse(b); err != nil {
		return err
	}
	body := b[wire.HeaderSize:]
	switch {
	case len(body) != h.Length:
		return fmt.Errorf("%v announces a body of %d bytes and has one of %d", h.Type, h.Length, len(body))
	case in.helloSeen == (h.Type == wire.TypeHello):
		return fmt.Errorf("%v where HELLO must come first, and once", h.Type)
	case h.Type != wire.TypeData && h.Type != wire.TypeHello && len(in.fds) > 0:
		return fmt.Errorf("%d descriptors with %v, which carries none", len(in.fds), h.Type)
	}
	switch h.Type {
	case wire.TypeHello:
		return in.takeHello(&h, body)
	case wire.TypeAck:
		return in.takeAck(&h, body)
	case wire.TypeBye:
		in.stop(ending{})
		return nil
	default:
		return in.takeData(&h, body, truncated)
	}
}

func (in *inbox) takeHello(h *wire.Header, body []byte) error {
	peer := new(wire.Hello)
	if err := peer.Parse(body); err != nil {
		return err
	}
	if n := len(in.fds); n > 1 || n > 0 && !peer.Page {
		return fmt.Errorf("%d descriptors with HELLO", n)
	}
	c := &in.p.cfg
	sends, receives := c.sends() && peer.Receives, c.receives() && peer.Sends
	switch {
	case !sends && !receives:
		return fmt.Errorf("neither end takes what the other sends: this one is %v (Config.Direction)", c.Direction)
	case sends && (peer.MaxPayload < c.MaxPayload || peer.MaxBody < wire.RecordSize+c.MaxPayload):
		return fmt.Errorf("the peer takes payloads of %d bytes, this end may send %d (Config.MaxPayload)", peer.MaxPayload, c.MaxPayload)
	case receives && peer.MaxPayload > c.MaxPayload:
		return fmt.Errorf("the peer may send payloads of %d bytes, this end takes %d (Config.MaxPayload)", peer.MaxPayload, c.MaxPayload)
	}
	in.helloSeen, in.peerSends = true, receives
	in.takePage()
	in.watchCredit()
	if !sends {
		in.p.peerSendOnly.Store(true) // before the flusher, seeing the HELLO, wakes those who wait for room
	}
	in.p.out.mail.postHello(peer, h.Count)
	return nil
}

func (in *inbox) takeAck(h *wire.Header, body []byte) error {
	if !in.p.cfg.sends() {
		return errors.New("ACK to an end that only receives")
	}
	if in.p.peerSendOnly.Load() {
		return errors.New("ACK from an end that only sends")
	}
	a := flow.Ack{Seq: h.Seq, Credit: h.Credit, Resend: h.Flags&wire.FlagResend != 0}
	if a.Resend {
		a.From = wire.Resend(body)
	}
	in.p.out.mail.postAck(a)
	return nil
}

func (in *inbox) takeData(h *wire.Header, body []byte, truncated bool) error {
	if !in.p.cfg.receives() {
		return fmt.Errorf("%d descriptors to an end that only sends (Config.Direction)", h.Count)
	}
	if !in.peerSends {
		return fmt.Errorf("%d descriptors from an end that only receives", h.Count)
	}
	if !h.Plain() {
		if err := wire.CheckRecords(body, h.Count, in.p.cfg.MaxPayload); err != nil {
			return err
		}
	}
	in.countBatch()
	got := len(in.fds)
	truncated = truncated || got < h.Count && !sys.ReportsTruncation()
	n, err := in.flow.Data(h.Seq, h.Count, got, truncated)
	if err != nil {
		return err
	}
	if h.Plain() {
		in.storePlain(in.fds[:n], h.Flags&wire.FlagShared != 0)
	} else {
		in.storeWith(body, h.Count, n)
	}
	if got < h.Count {
		in.stats.truncated.Add(1)
		in.page.Pulse()
		in.retryIn(in.slots.truncated())
	} else if n > 0 {
		in.slots.cameWhole()
	}
	in.closeFrom(n)
	return nil
}

// storeWith stores the first n descriptors of a message with what a body of count records says of them.
func (in *inbox) storeWith(body []byte, count, n int) {
	payloads := body[count*wire.RecordSize:]
	for i, fd := range in.fds[:n] {
		tag, length, flags := wire.Record(body[i*wire.RecordSize:])
		in.store(fd, tag, flags&wire.RecordShared != 0, payloads[:length])
		payloads = payloads[length:]
	}
}

// acknowledge tells the peer that n more of what was taken in are the application's from now on, before the
// application gets them. They may be handed over only if it returns nil.
func (in *inbox) acknowledge(n int) error {
	switch {
	case !in.p.framed():
		return nil
	case in.page != nil:
		return in.takeOnPage(n)
	case in.orphan:
		return nil
	case in.pledged > 0:
		return in.redeem(n)
	case in.cut.Load():
		return errCut
	}
	a := in.flow.Ack(n, in.credit(n))
	rest, errno := in.ack.write(a)
	if errno != 0 {
		return in.ackError(errno)
	}
	in.flow.Sent(a)
	in.watchCredit()
	if rest > 0 {
		in.pledged = n
		return errWait
	}
	return nil
}

// redeem is acknowledge for what an acknowledgement covers that a stream socket has taken in part: it counts once the
// socket has taken the rest.
func (in *inbox) redeem(n int) error {
	if in.p.tail.gone.Load() == in.ack.gone {
		if errno := in.p.flushTail(); errno != 0 {
			err := in.ackError(errno)
			if err == errCut {
				in.pledged = 0
			}
			return err
		}
	}
	in.pledged -= n
	return nil
}

func (in *inbox) ackError(errno syscall.Errno) error {
	switch {
	case errno == syscall.EAGAIN:
		return errWait
	case isMemoryShortage(errno):
		return errShort
	case !isPeerGone(errno): // else the end is there to be read
		in.p.fail(os.NewSyscallError("sendmsg", errno))
	}
	return errCut
}

// credit is how many more descriptors the peer may send, once n of those held are the application's: as many as there
// is room for. A pump takes them in whether the application asks for them or not, so it leaves half of the room to
// others, and what it holds counts: or else each call of Recv would let half of the rest come, until nothing is left.
// Where it holds much, and so gives the application enough to take, no more is given until that is less.
func (in *inbox) credit(n int) int {
	room := 0
	if !in.eof.Load() { // else the socket may be closed, by whose number the room is found
		room = max(in.slots.available(), 0)
	}
	if !in.p.expectsAcks() {
		return room
	}
	credit := max(room-(in.flow.Held()-n)+1, 0) / 2
	if credit < room/8 { // a little at each call of Recv would have the peer send as little in each message
		credit = min(credit, max(in.flow.Credit(), 0))
	}
	return credit
}

// watchCredit has the reader look for room if the peer has been told that there is none: nothing would come then that
// could be answered with credit. Likewise if the socket has taken only a part of what this end says.
func (in *inbox) watchCredit() {
	if in.peerSends && in.awaited() || in.tailWaits() {
		in.retryLater()
	}
}

// tailWaits reports whether the socket has taken only a part of a frame. (On a Bare link the tail is a payload, and the
// flusher's business.)
func (in *inbox) tailWaits() bool { return in.p.framed() && in.p.tail.waiting() }

// awaited reports whether the peer waits for word from this end: credit, or what was lost.
func (in *inbox) awaited() bool { return in.flow.Credit() <= 0 || in.flow.Lost() || in.owed }

// offer gives the peer credit if it has none and there is room, and tells it of what was lost.
func (in *inbox) offer() {
	if in.eof.Load() {
		return
	}
	if in.tailWaits() {
		in.p.flushTail()
	}
	if in.peerSends && in.awaited() {
		in.clock.read()
		a := in.flow.Ack(0, in.credit(0))
		switch {
		case a.Credit <= in.flow.Held() && !a.Resend && !in.owed:
			// If nobody calls Recv, it is not for want of room that nothing is taken.
			if in.role.callers.Load() || in.parked.Load() > 0 {
				in.page.Pulse()
			}
		case in.page != nil:
			in.grant(a, true)
		default:
			if _, errno := in.ack.write(a); errno == 0 {
				in.flow.Sent(a)
			}
		}
	}
	in.watchCredit()
}

// ackWriter sends acknowledgements without an allocation.
type ackWriter struct {
	p    *Passer
	buf  [wire.HeaderSize + wire.ResendSize]byte
	gone uint64 // for what the socket did not take: see tail.write
}

// write sends a. On a stream the socket may take only a part; the rest, this many bytes, follows.
func (w *ackWriter) write(a flow.Ack) (rest int, errno syscall.Errno) {
	h := wire.Header{Type: wire.TypeAck, Seq: a.Seq, Credit: a.Credit}
	frame := w.buf[:wire.HeaderSize]
	if a.Resend {
		h.Flags, h.Length = wire.FlagResend, wire.ResendSize
		frame = w.buf[:]
		wire.PutResend(frame[wire.HeaderSize:], a.From)
	}
	h.Put(frame)
	w.p.byeMu.Lock()
	defer w.p.byeMu.Unlock()
	if w.p.saidBye {
		return 0, syscall.EPIPE
	}
	took, gone, errno := w.p.writeFrame(frame)
	if errno == 0 { // else what was kept before is still to go
		w.gone = gone
	}
	return len(frame) - took, errno
}
