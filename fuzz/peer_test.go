//go:build linux

package fuzz

import (
	"net"
	"os"
	"testing"

	"example.com/fdpass/fastpass"
	"example.com/fdpass/internal/wire"

	"golang.org/x/sys/unix"
)

// FuzzPeer has a link meet a peer that sends arbitrary messages: bytes, and frames that are right or nearly so, with
// and without descriptors. Whatever it does, the link must end, give out nothing but what was sent, and leave no
// descriptor open, in this process or in a queue.
//
// The input's first byte chooses the link, the others make the messages.
func FuzzPeer(f *testing.F) {
	const hello, data, ack, bye = 1, 2, 3, 4
	f.Add([]byte{})
	f.Add([]byte{0, hello, 100, 0, data, 1, 0, 0, 0, data, 2, 0, 1, 5, 0, 0, bye})
	f.Add([]byte{1, hello, 100, 0, data, 1, 0, 0, 0, data, 2, 0, 1, 5, 0, 0, bye})
	f.Add([]byte{4, hello, 100, 0, ack, 1, 100, 0, data, 1, 0, 0, 0, ack, 2, 50, 1, 2})
	f.Add([]byte{2, 0, 16, 0, 64, 0, 16, 3, 8, 1, 2})
	f.Add([]byte{3, 16, 1, 120, 0, 3, 1, 2, 3})
	f.Fuzz(func(t *testing.T, in []byte) {
		e := events(in)
		mode := e.byte()
		kind := unix.SOCK_SEQPACKET
		if mode&1 != 0 {
			kind = unix.SOCK_STREAM
		}
		cfg := &fastpass.Config{Window: 16, Batch: 4, Messages: 4, MaxPayload: 64}
		if mode&2 != 0 {
			cfg.Protocol = fastpass.Bare
		}
		cfg.Direction = []fastpass.Direction{fastpass.Both, fastpass.Both, fastpass.RecvOnly, fastpass.SendOnly}[mode>>3&3]

		token := newToken(t)
		fds, err := unix.Socketpair(unix.AF_UNIX, kind|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
		if err != nil {
			t.Fatal(err)
		}
		p, err := fastpass.New(unixConn(t, fds[0]), cfg)
		if err != nil {
			t.Fatal(err)
		}
		if mode&4 != 0 && cfg.Direction != fastpass.RecvOnly {
			for range 4 {
				if fd := token.dup(t); p.Send(fastpass.Desc{FD: fd}) != nil {
					unix.Close(fd)
				}
			}
		}
		script := peerScript{events: e, fd: fds[1], token: token}
		for len(script.events) > 0 && script.message() {
		}
		unix.Shutdown(fds[1], unix.SHUT_WR)
		if mode&32 != 0 {
			unix.Close(fds[1])
		}
		if cfg.Direction != fastpass.SendOnly {
			token.receive(t, p, script.passed)
		}
		p.Close()
		for _, d := range p.Undelivered() {
			unix.Close(d.FD)
		}
		if mode&32 == 0 {
			unix.Close(fds[1])
		}
		token.gone(t)
	})
}

// peerScript turns events into messages.
type peerScript struct {
	events
	fd     int
	token  *token
	passed int // descriptors sent
}

// message sends one message, and reports whether the socket took it. Its first event says what it is, and in the upper
// bits how many descriptors it brings beyond those that belong to it.
func (s *peerScript) message() bool {
	b := s.byte()
	fds := int(b >> 4 & 3)
	var msg []byte
	h := wire.Header{}
	switch b & 15 {
	case 1:
		h.Type, h.Count = wire.TypeHello, 4
		hello := wire.Hello{Sends: true, Receives: true, MaxPayload: 64, MaxBody: wire.MaxBody, Credit: int(s.byte())}
		msg = make([]byte, wire.HelloSize)
		hello.Put(msg)
		damage(msg, &s.events)
	case 2:
		n := s.byte()
		h.Type, h.Count, h.Seq = wire.TypeData, int(n%5), uint64(s.byte())
		fds += h.Count
		if n >= 128 {
			h.Flags = wire.FlagPlain | uint16(n)>>5&1*wire.FlagShared
			break
		}
		msg = make([]byte, h.Count*wire.RecordSize)
		for i := range h.Count {
			n := int(s.byte() % 80)
			wire.PutRecord(msg[i*wire.RecordSize:], uint64(i), n, 0)
			msg = append(msg, make([]byte, n)...)
		}
		damage(msg, &s.events)
	case 3:
		h.Type, h.Seq, h.Credit = wire.TypeAck, uint64(s.byte()), int(s.byte())
		if s.byte()%2 == 1 {
			h.Flags = wire.FlagResend
			msg = make([]byte, wire.ResendSize)
			wire.PutResend(msg, uint64(s.byte()))
		}
	case 4:
		h.Type = wire.TypeBye
	default:
		n := int(s.byte())
		n = min(n, len(s.events))
		msg = s.events[:n]
		s.events = s.events[n:]
		return s.send(msg, fds)
	}
	h.Length = len(msg)
	frame := make([]byte, wire.HeaderSize)
	h.Put(frame)
	return s.send(append(frame, msg...), fds)
}

// damage changes one byte, unless the event says not to.
func damage(b []byte, e *events) {
	if i := int(e.byte()); i > 0 && i <= len(b) {
		b[i-1] ^= e.byte()
	}
}

func (s *peerScript) send(data []byte, fds int) bool {
	var oob []byte
	if fds > 0 {
		rights := make([]int, fds)
		for i := range rights {
			rights[i] = s.token.w
		}
		oob = unix.UnixRights(rights...)
	}
	n, err := unix.SendmsgN(s.fd, data, oob, nil, unix.MSG_NOSIGNAL)
	if err == nil && (n > 0 || len(data) == 0) {
		s.passed += fds
	}
	return err == nil
}

// token is a pipe, whose write end is what is passed. When nobody has it any more the read end tells.
type token struct {
	r, w int
	stat unix.Stat_t
}

func newToken(t *testing.T) *token {
	var p [2]int
	k := new(token)
	err := unix.Pipe2(p[:], unix.O_CLOEXEC)
	if err == nil {
		k.r, k.w = p[0], p[1]
		err = unix.Fstat(k.w, &k.stat)
	}
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func (k *token) dup(t *testing.T) int {
	fd, err := unix.FcntlInt(uintptr(k.w), unix.F_DUPFD_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	return fd
}

// receive takes from p what comes until the link ends, and closes it.
func (k *token) receive(t *testing.T, p *fastpass.Passer, most int) {
	ds := make([]fastpass.Desc, 8)
	for got := 0; ; {
		n, err := p.RecvBatch(ds)
		for _, d := range ds[:n] {
			if d.FD == -1 {
				continue // bytes alone, on a Bare link
			}
			var st unix.Stat_t
			if err := unix.Fstat(d.FD, &st); err != nil || st.Ino != k.stat.Ino || st.Dev != k.stat.Dev {
				t.Fatalf("received descriptor %d, which is not what was sent: %v", d.FD, err)
			}
			unix.Close(d.FD)
			got++
		}
		if got > most {
			t.Fatalf("received %d descriptors, %d were sent", got, most)
		}
		if err != nil {
			if n != 0 {
				t.Fatalf("%d descriptors and %v", n, err)
			}
			return
		}
	}
}

// gone closes the caller's own ends, and fails if somebody else has one.
func (k *token) gone(t *testing.T) {
	unix.Close(k.w)
	defer unix.Close(k.r)
	for {
		n, err := unix.Poll([]unix.PollFd{{Fd: int32(k.r)}}, 10_000)
		if err == unix.EINTR {
			continue
		}
		if n != 1 || err != nil {
			t.Fatal("a descriptor is left in a table or a queue")
		}
		return
	}
}

func unixConn(t *testing.T, fd int) *net.UnixConn {
	file := os.NewFile(uintptr(fd), "link")
	defer file.Close()
	c, err := net.FileConn(file)
	if err != nil {
		t.Fatal(err)
	}
	return c.(*net.UnixConn)
}
