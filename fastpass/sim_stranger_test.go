//go:build linux

package fastpass

import (
	"encoding/binary"

	"example.com/fdpass/cmsgpool"
	"example.com/fdpass/internal/sys"
	"example.com/fdpass/internal/wire"

	"golang.org/x/sys/unix"
)

// simStranger is a process that has a link to the front and is not this library: a foreign peer of a Bare link, which
// sends whatever plain SCM_RIGHTS can carry, or a hostile peer of a Framed one, which sends anything.
type simStranger struct {
	s    *sim
	proc *simProc
	fd   int
	end  *simEnd // the front's
	sent []int   // descriptors that a foreign peer has sent
	next uint64  // the number of a hostile peer's next descriptor, if it tells the truth
	rest []byte  // of a frame that goes drop by drop
}

func (s *sim) addStranger() {
	p := s.process("x")
	afd, xfd, errno := s.k.Socketpair(s.kind, s.front.Process, p.Process)
	if errno != 0 {
		panic(errno)
	}
	defer func(calm bool, wrap simWrap) { s.calm, s.wrap = calm, wrap }(s.calm, s.wrap)
	s.calm, s.wrap = true, nil
	e := s.end("xa", s.front, afd, []Direction{Both, SendOnly, RecvOnly}[s.rng.IntN(3)])
	s.odd = &simStranger{s: s, proc: p, fd: xfd, end: e}
}

// act does something that no end of this library would do, or something that one would.
func (x *simStranger) act() {
	if x.proc.Dead() {
		return
	}
	s := x.s
	switch y := s.rng.IntN(10); {
	case y < 3:
		x.recv(1+s.rng.IntN(4), s.rng.IntN(2000), s.rng.IntN(100))
	case y == 3 && s.rng.IntN(20) == 0:
		s.note("x dies")
		x.proc.Kill()
	case y == 4 && s.rng.IntN(20) == 0:
		s.note("x reads no more")
		x.proc.ShutdownRead(x.fd)
	case s.Protocol == Bare:
		x.sendPlain()
	default:
		x.sendFrames()
	}
}

// recv takes some of what the front has sent, whole or cut.
func (x *simStranger) recv(n, bytes, control int) {
	v := sys.NewVector(n)
	oob := make([][]byte, n)
	for i := range n {
		oob[i] = make([]byte, control)
		v.Set(i, make([]byte, bytes+1), oob[i])
	}
	got, _ := x.proc.Recv(x.fd, v, n, 0)
	x.s.note("x receives %d", got)
	for i := range got {
		for _, fd := range cmsgpool.AppendFDs(nil, oob[i][:v.Control(i)]) {
			x.proc.CloseRange(fd, fd)
		}
	}
}

// sendPlain sends up to three messages of the Bare protocol in one call.
func (x *simStranger) sendPlain() {
	n := 1 + x.s.rng.IntN(3)
	v := sys.NewVector(n)
	var fds []int
	ids := make([][]int, n)
	for i := range n {
		bytes := x.s.rng.IntN(12)
		if x.s.kind == unix.SOCK_STREAM {
			bytes++ // without a byte the kernel drops descriptors
		}
		count := max(0, x.s.rng.IntN(10)-4)
		var rights []int32
		rights, ids[i] = x.open(count)
		for _, fd := range rights {
			fds = append(fds, int(fd))
		}
		v.Set(i, make([]byte, bytes, bytes+1), control(rights))
	}
	sent, errno := x.proc.Send(x.fd, v, n)
	x.s.note("x sends %v: %d %v", ids, sent, errno)
	for i := range sent {
		x.sent = append(x.sent, ids[i]...)
	}
	for _, fd := range fds {
		x.proc.CloseRange(fd, fd)
	}
}

// open opens up to n descriptors, and returns them and the IDs of their files.
func (x *simStranger) open(n int) (rights []int32, ids []int) {
	for range n {
		if d := x.s.open(x.proc); d != nil {
			rights, ids = append(rights, int32(d.fd)), append(ids, d.id)
		}
	}
	return rights, ids
}

// control is a control message with rights.
func control(rights []int32) []byte {
	if len(rights) == 0 {
		return nil
	}
	b := new(cmsgpool.Buffer)
	copy(b.Rights(len(rights)), rights)
	return b.Raw()[:cmsgpool.Space(len(rights))]
}

// sendFrames sends a frame, a good one or not, on a stream perhaps only its first bytes.
func (x *simStranger) sendFrames() {
	frame, fds := x.rest, []int32(nil)
	if len(frame) == 0 {
		frame, fds = x.frame()
	}
	bytes := len(frame)
	if x.s.kind == unix.SOCK_STREAM && x.s.rng.IntN(3) == 0 {
		bytes = 1 + x.s.rng.IntN(bytes)
	}
	v := sys.NewVector(1)
	v.Set(0, frame[:bytes], control(fds))
	x.rest = nil
	sent, errno := x.proc.Send(x.fd, v, 1)
	x.s.note("x sends %d of %x with %d descriptors: %v", bytes, frame[:min(len(frame), 64)], len(fds), errno)
	if sent == 1 && x.s.kind == unix.SOCK_STREAM {
		x.rest = frame[v.Bytes(0):]
	}
	for _, fd := range fds {
		x.proc.CloseRange(int(fd), int(fd))
	}
}

// frame makes a frame and opens the descriptors that go with it.
func (x *simStranger) frame() (frame []byte, fds []int32) {
	r := x.s.rng
	if x.next == 0 && r.IntN(4) > 0 {
		x.next = 1 // HELLO was sent; numbers are one less
		return x.hello(), nil
	}
	h := wire.Header{Type: wire.TypeData, Count: 1 + r.IntN(6), Seq: x.next - min(x.next, 1)}
	attached := h.Count
	switch r.IntN(12) {
	case 0:
		h.Type, h.Count = wire.Type(r.IntN(6)), r.IntN(3)
	case 1, 2, 3:
		h = wire.Header{Type: wire.TypeAck, Seq: uint64(r.IntN(60)), Credit: r.IntN(100)}
		attached = r.IntN(8) / 7
		if n := len(x.end.acked); r.IntN(2) == 0 {
			h.Seq = uint64(n + r.IntN(4))
		}
		if r.IntN(4) == 0 {
			h.Flags, h.Length = wire.FlagResend, wire.ResendSize
		}
	case 4:
		h = wire.Header{Type: wire.TypeBye}
		attached = 0
	case 5:
		attached = r.IntN(60) // a flood, or too few
	case 6:
		h.Seq += uint64(r.IntN(5)) - 2
	case 7:
		return x.hello(), nil
	}
	if h.Type == wire.TypeData {
		if h.Length = h.Count * wire.RecordSize; x.next%3 == 0 {
			h.Flags, h.Length = wire.FlagPlain, 0
		}
		x.next = max(x.next, 1) + uint64(h.Count)
	}
	frame = make([]byte, wire.HeaderSize+h.Length)
	h.Put(frame)
	if h.Flags == wire.FlagResend {
		wire.PutResend(frame[wire.HeaderSize:], uint64(r.IntN(60)))
	}
	if r.IntN(8) == 0 {
		frame[r.IntN(len(frame))] ^= byte(1 + r.IntN(255))
	}
	fds, _ = x.open(attached)
	return frame, fds
}

func (x *simStranger) hello() []byte {
	h := wire.Hello{
		Sends: x.end.p.cfg.receives(), Receives: x.end.p.cfg.sends(),
		MaxPayload: x.s.MaxPayload, MaxBody: x.end.p.cfg.maxBody(), Credit: x.s.rng.IntN(50),
	}
	b := make([]byte, wire.HeaderSize+wire.HelloSize)
	header := wire.Header{Type: wire.TypeHello, Count: 1 + x.s.rng.IntN(20), Length: wire.HelloSize}
	header.Put(b)
	h.Put(b[wire.HeaderSize:])
	if x.s.rng.IntN(8) == 0 {
		binary.LittleEndian.PutUint32(b[wire.HeaderSize+4*x.s.rng.IntN(4):], x.s.rng.Uint32())
	}
	return b
}

// goAway ends the stranger; a foreign peer first takes and gives all that there is.
func (x *simStranger) goAway() {
	s := x.s
	if !x.proc.Dead() && s.Protocol == Bare {
		s.settleDown("a foreign peer", func() bool {
			x.recv(4, 2000, 1100)
			x.checkOrder()
			return x.end.closed || x.end.over || x.end.ended() ||
				x.missing() == 0 && (x.end.p.out.window.Len() == 0 || x.end.p.ending.Load() != nil)
		})
	}
	s.note("x goes away")
	x.proc.Kill()
}

// missing is how many descriptors of a foreign peer have not come.
func (x *simStranger) missing() int {
	if !x.end.p.cfg.receives() {
		return 0
	}
	return len(x.sent) - len(x.end.got)
}

// checkOrder holds what the front got from a foreign peer against what that has sent.
func (x *simStranger) checkOrder() {
	for i, id := range x.end.got {
		if i >= len(x.sent) || x.sent[i] != id {
			x.s.violation("out of order: %s got %d where x sent %v", x.end.name, id, x.sent[min(i, len(x.sent)):])
			return
		}
	}
}
