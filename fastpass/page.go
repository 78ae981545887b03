//go:build unix

package fastpass

import (
	"syscall"

	"example.com/fdpass/internal/flow"
	"example.com/fdpass/internal/page"
	"example.com/fdpass/internal/wire"
)

// The two ends of a Framed link share a page of memory for the acknowledgements of each direction, where the system
// can: a memfd that the sender has made, sealed, and handed over with HELLO. A receiver that gets none, or none that it
// can trust, acknowledges with ACK frames. It still sends one where the sender asks for it, because somebody waits, and
// to have lost descriptors sent again; what counts is the page.

// sayHello opens the link from this end.
func (p *Passer) sayHello() syscall.Errno {
	if p.cfg.sends() && !p.stream {
		if pg, fd := p.kernel.NewPage(); pg != nil {
			errno := p.sendHello(fd)
			p.kernel.CloseRange(fd, fd)
			if errno == 0 {
				p.out.page = pg
				p.out.polls.own = newAckPoller()
				return 0
			}
			// The peer's socket takes no descriptors, or too many are in flight.
		}
	}
	_, _, errno := p.writeFrame(p.in.hello(false))
	return errno
}

// sendHello sends HELLO with the page.
func (p *Passer) sendHello(fd int) (errno syscall.Errno) {
	v := p.vectors.get()
	defer v.put()
	n := copy(v.data[0], p.in.hello(true))
	v.control[0].Rights(1)[0] = int32(fd)
	v.carry(0, n, 1)
	if !p.conn.Acquire() {
		return syscall.EPIPE
	}
	defer p.conn.Release()
	_, errno = p.kernel.Send(p.socket, v.Vector, 1)
	return errno
}

// takePage takes in the page that may have come with HELLO.
func (in *inbox) takePage() {
	if len(in.fds) > 0 && in.peerSends {
		in.page = in.p.kernel.MapPage(int(in.fds[0]))
	}
	in.closeFrom(0)
	if in.page != nil {
		in.page.Grant(uint64(in.flow.Credit()))
	}
}

// openPage is where this end tells the peer how many connections it has open; nil: nowhere. The caller has received
// something, with in.mu held, and the page came before that: it needs no lock, which who waits for the next message has.
func (p *Passer) openPage() *page.Page { return p.in.page }

// takeOnPage is acknowledge where there is a page. The peer may be dead: if it has taken nothing back before, it never
// will.
func (in *inbox) takeOnPage(n int) error {
	a := in.flow.Ack(n, in.credit(n))
	switch in.page.Take(a.Seq-uint64(n), a.Seq) {
	case page.Broken:
		in.p.fail(protocolError("it has written into what this end has acknowledged"))
		fallthrough
	case page.Fenced:
		in.orphan = false
		return errCut
	}
	in.grant(a, false)
	return nil
}

// grant lets the peer send as a says, with a frame if need be.
func (in *inbox) grant(a flow.Ack, need bool) {
	in.page.Grant(a.Seq + uint64(a.Credit))
	if in.page.Asked(a.Seq) || a.Resend || in.owed || need {
		in.owed = false
		if _, errno := in.ack.write(a); errno != 0 {
			in.owed = in.ackError(errno) != errCut
		}
		a.Resend = a.Resend && !in.owed
	}
	in.flow.Sent(a)
	in.watchCredit()
}

// readPage replaces what a frame says by what the page does. It reports whether that is news.
func (o *outbox) readPage(a *flow.Ack) bool {
	acked, limit, used := o.page.Read()
	if !used && !o.paged || !o.established.Load() {
		return false
	}
	if o.paged && acked == o.acked.Load() && limit == o.limit && !a.Resend {
		return false
	}
	o.paged, o.limit = true, limit
	o.acked.Store(acked)
	a.Seq, a.Credit = acked, 0
	if limit > acked {
		a.Credit = int(min(limit-acked, wire.MaxCredit))
	}
	return true
}

// unread is how many acknowledgements the flusher has not seen yet. Any goroutine.
func (o *outbox) unread() int {
	if o.page == nil {
		return 0
	}
	n := o.page.Acked() - o.acked.Load()
	if n > uint64(o.window.Len()) { // between the two it has looked, or the peer writes what it likes
		return 0
	}
	return int(n)
}
