//go:build linux

package fastpass

import (
	"errors"
	"fmt"
	"io"
	"math"
	"net"
	"os"
	"syscall"

	"example.com/fdpass/internal/simkernel"

	"golang.org/x/sys/unix"
)

// simDesc is a descriptor that somebody sends.
type simDesc struct {
	id      int // of its file
	fd      int // in the sending process
	from    *simProc
	payload string
	keep    bool
	sent    bool    // a kept one: OnSent has been called
	taken   bool    // the library took it
	via     *simEnd // that says it was sent
	got     *simEnd
	back    bool // the sender's application has it again, for good
}

// make opens up to n descriptors to be sent by p.
func (s *sim) make(p *simProc, n int) (ds []Desc) {
	for range n {
		d := s.open(p)
		if d == nil {
			break
		}
		d.keep = s.rng.IntN(10) == 0
		if s.payloads && s.rng.IntN(3) == 0 {
			d.payload = fmt.Sprintf("%0*d", 1+s.rng.IntN(s.MaxPayload), d.id)
		}
		ds = append(ds, Desc{FD: d.fd, Tag: uint64(d.id), Keep: d.keep, Payload: []byte(d.payload)})
		for one := 8; s.simOptions.bad && s.rng.IntN(one) == 0; one = 2 {
			fd := notOpen // or what is no number at all, which is refused before the kernel sees it
			if s.rng.IntN(2) == 0 {
				fd = math.MaxInt - 100
			}
			ds = append(ds, Desc{FD: fd + s.rng.IntN(100), Tag: notOpen})
		}
	}
	if s.untagged {
		for i := range ds {
			ds[i].Tag = 0
		}
	}
	return ds
}

// open opens a descriptor that p is to send; nil if its table is full.
func (s *sim) open(p *simProc) *simDesc {
	fd, f, errno := p.Open()
	if errno != 0 {
		return nil
	}
	d := &simDesc{id: f.ID, fd: fd, from: p}
	for len(s.descs) <= f.ID {
		s.descs = append(s.descs, nil)
	}
	s.descs[f.ID], p.made[fd] = d, d
	return d
}

// desc finds what p has sent, or was to send, as d.
func (s *sim) desc(p *simProc, d Desc) *simDesc {
	if d.Tag == 0 {
		return p.made[d.FD]
	}
	return s.descs[d.Tag]
}

// took notes that the library took the first n of ds, and closes the others.
func (s *sim) took(p *simProc, ds []Desc, n int) {
	for i, d := range ds {
		switch {
		case isBad(d.FD):
		case i < n:
			s.desc(p, d).taken = true
		default:
			p.CloseRange(d.FD, d.FD)
			s.desc(p, d).returned()
		}
	}
}

// returned notes that the application has d again.
func (d *simDesc) returned() { d.back, d.keep = true, false }

func (s *sim) dispatch(n int) {
	ds := s.make(s.front, n)
	k, err := s.pool.Dispatch(ds)
	s.note("dispatch %d: %d %v", len(ds), k, err)
	s.took(s.front, ds, k)
}

// send sends over one link, first what has come back from another one.
func (s *sim) send(e *simEnd, n int) {
	ds := s.back[:min(n, len(s.back))]
	again := e.proc == s.front && e.peer != nil && len(ds) > 0
	if !again {
		ds = s.make(e.proc, n)
	}
	k, err, how := 0, error(nil), "send"
	if s.rng.IntN(3) > 0 || s.calm {
		k, err = e.p.out.send(ds, false)
	} else {
		for how = "push"; err == nil && k < len(ds); {
			if err = e.p.Push(ds[k]); err == nil || isBad(ds[k].FD) {
				k++
			}
		}
	}
	s.note("%s %s %d: %d %v", e.name, how, len(ds), k, err)
	if again {
		s.back = s.back[k:]
	} else {
		s.took(e.proc, ds, k)
	}
}

func (e *simEnd) onSent(d Desc) {
	if e.proc.Dead() {
		return
	}
	if isBad(d.FD) {
		e.s.violation("%s says that %d, which is not open, was sent", e.name, d.FD)
		return
	}
	w := e.s.desc(e.proc, d)
	e.acked = append(e.acked, w.id)
	w.via, w.sent = e, w.keep
}

func (e *simEnd) onRefused(d Desc, err error) {
	if isBad(d.FD) || e.proc.Dead() {
		return
	}
	if !e.s.refusing {
		e.s.violation("%s refuses the good descriptor %v: %v", e.name, d, err)
		return
	}
	e.s.desc(e.proc, d).returned()
	e.proc.app = append(e.proc.app, d.FD)
}

// collect takes back what ended links have not delivered.
func (s *sim) collect() {
	if !s.front.Dead() {
		s.leave()
	}
	for _, e := range s.ends() {
		if e.taken || !e.ended() || s.pool != nil && e.link != nil && e == e.link.a {
			continue
		}
		e.taken = true
		ds := e.p.Undelivered()
		s.note("%s undelivered: %d", e.name, len(ds))
		for _, d := range ds {
			s.takeBack(e, d)
		}
	}
}

func (s *sim) takeBack(e *simEnd, d Desc) {
	if isBad(d.FD) {
		return
	}
	w := s.desc(e.proc, d)
	if w.got != nil {
		s.violation("descriptor %d is doubled: %s has it, and it is in Undelivered of %s", w.id, w.got.name, e.name)
	}
	if e.proc == s.front && s.pool == nil {
		s.back = append(s.back, d)
		s.counts.back++
		return
	}
	w.returned()
	e.proc.app = append(e.proc.app, d.FD)
}

// canPump reports whether the pump would be awake.
func (e *simEnd) canPump() bool {
	if !e.pumping || e.p.in.role.callers.Load() || e.p.cfg.Protocol == Bare && e.p.in.queued.Load() >= unaskedCredit && e.p.ending.Load() == nil {
		return false
	}
	return e.conn.Ready()
}

func (s *sim) pump(e *simEnd) {
	s.note("%s pump", e.name)
	e.pumping = e.p.in.pumpSome()
}

// canRecv reports whether a caller of Recv that waits would be awake.
func (e *simEnd) canRecv() bool {
	in := &e.p.in
	switch {
	case e.parked:
		return e.conn.Ready()
	case e.over || e.closed || !e.p.cfg.receives():
		return false
	case e.waits:
		return !e.conn.Open() || e.proc.Writable(e.conn.FD())
	case in.role.callers.Load():
		return e.conn.Ready() || in.queue.len() > 0 && !in.cut.Load() || in.eof.Load()
	}
	return in.recvReady()
}

func (s *sim) recv(e *simEnd, n int) {
	ds := make([]Desc, n)
	in := &e.p.in
	e.waits, e.idle = false, false
	in.read.expired.Store(false)
	s.unpark(e)
	n, err := e.recvBatch(ds)
	in.read.expired.Store(false)
	s.note("%s recv %d: %d %v", e.name, len(ds), n, err)
	if n == 0 && in.queue.len() > 0 && errors.Is(err, os.ErrDeadlineExceeded) && !in.cut.Load() {
		e.waits = true
	}
	if e.proc.Dead() && in.orphan {
		n = 0 // what it did after its death did not happen
	}
	for _, d := range ds[:n] {
		if d.FD >= 0 || s.Protocol == Framed || e.peer != nil && s.kind == unix.SOCK_SEQPACKET {
			s.receive(e, d)
		} // else bytes of a foreign peer, or the rest of a payload that the socket took in part
	}
	s.park(e, err)
	if err == nil || errors.Is(err, os.ErrDeadlineExceeded) || errors.Is(err, syscall.EMFILE) { // the limit will rise again
		return
	}
	e.over = true
	if !e.mayEnd(err) && !errors.Is(err, io.EOF) && !(errors.Is(err, net.ErrClosed) && e.p.closed.Load()) {
		s.violation("Recv of %s returns %v", e.name, err)
	}
}

// park makes a call that has found nothing one that still waits for the socket: it has the reader's role, and keeps mu.
// Only where there is a pump, to which it might leave that.
func (s *sim) park(e *simEnd, err error) {
	in := &e.p.in
	if e.idle && errors.Is(err, os.ErrDeadlineExceeded) && in.role.callers.Load() && e.p.cfg.sends() && !e.closed && s.rng.IntN(2) == 0 {
		e.parked = in.mu.TryLock()
		s.note("%s waits in recv: %v", e.name, e.parked)
	}
}

// unpark lets it go on.
func (s *sim) unpark(e *simEnd) {
	if e.parked {
		e.parked = false
		e.p.in.mu.Unlock()
	}
}

// mayEnd reports whether err is a good reason for the end of the link.
func (e *simEnd) mayEnd(err error) bool {
	switch {
	case e.peer == nil || e.proc.Dead() || e.s.broken:
		return true
	case errors.Is(err, ErrPeerGone): // where nobody says goodbye, or could
		return e.peer.proc.Dead() || e.s.Protocol == Bare
	}
	return errors.Is(err, ErrStalled) && e == e.link.a
}

// recvBatch is RecvBatch that returns ErrDeadlineExceeded where it would wait for the socket to take an
// acknowledgement.
func (e *simEnd) recvBatch(ds []Desc) (n int, err error) {
	defer func() {
		if r := recover(); r != nil {
			if _, ok := r.(simkernel.ErrWouldBlock); !ok {
				panic(r)
			}
			n, err, e.waits = 0, os.ErrDeadlineExceeded, true
		}
	}()
	return e.p.RecvBatch(ds)
}

// receive notes that the application of e got d.
func (s *sim) receive(e *simEnd, d Desc) {
	id := int(d.Tag)
	if f := e.proc.File(d.FD); f != nil {
		if s.Protocol == Framed && f.ID != id && e.peer != nil && (id != 0 || !s.untagged) {
			s.violation("%s got file %d with the tag of %d", e.name, f.ID, id)
			return
		}
		id = f.ID
		e.proc.app = append(e.proc.app, d.FD)
	} else if !e.proc.Dead() {
		s.violation("%s got descriptor %d (tag %d), which is not open", e.name, d.FD, id)
		return
	} else if s.Protocol == Bare || e.peer == nil {
		return // nobody will know
	} else if s.untagged {
		id, _ = e.peer.sentAt(len(e.got)) // it was killed meanwhile, and with it went the number
	}
	if id >= len(s.descs) || s.descs[id] == nil {
		s.violation("%s got file %d, which nobody sent", e.name, id)
		return
	}
	w := s.descs[id]
	if w.got != nil || w.back {
		s.violation("descriptor %d is doubled: %s got it, and somebody had it", id, e.name)
		return
	}
	w.got = e
	e.got = append(e.got, id)
	if string(d.Payload) != w.payload && s.Protocol == Framed && e.peer != nil {
		s.violation("descriptor %d came to %s with payload %q, not %q", id, e.name, d.Payload, w.payload)
	}
}

// openSome has an application open something for itself.
func (s *sim) openSome(p *simProc, n int) {
	for range n {
		if fd, _, errno := p.Open(); errno == 0 {
			p.app = append(p.app, fd)
		}
	}
}

// closeSome has an application close what it has got, or has sent and kept.
func (s *sim) closeSome(p *simProc, n int) {
	for ; n > 0 && len(p.app) > 0; n-- {
		i := s.rng.IntN(len(p.app))
		fd := p.app[i]
		p.app[i] = p.app[len(p.app)-1]
		p.app = p.app[:len(p.app)-1]
		p.CloseRange(fd, fd)
	}
	for _, d := range s.descs {
		if d != nil && d.keep && d.sent && d.from == p {
			d.keep = false
			p.CloseRange(d.fd, d.fd)
		}
	}
}

// isBad reports whether fd is a number that is not open, or none at all.
func isBad(fd int) bool { return fd < 0 || fd >= notOpen }
