//go:build linux

package fastpass

import (
	"errors"
	"fmt"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// setSendBuffer sets SO_SNDBUF of a link.
func setSendBuffer(t *testing.T, p *Passer, n int) {
	t.Helper()
	raw, err := p.SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	raw.Control(func(fd uintptr) { err = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_SNDBUF, n) })
	if err != nil {
		t.Fatal(err)
	}
}

// buffered is a link with a send buffer of so many bytes, or what comes nearest. The peer has taken one descriptor, and
// reads no more.
func buffered(t *testing.T, here, there *Config, bytes int) (p, q *Passer) {
	t.Helper()
	p, q = pairOf(t, here, there)
	t.Cleanup(func() {
		q.Close()
		p.Close()
	})
	setSendBuffer(t, p, bytes)
	if err := p.Send(Desc{FD: 0, Keep: true}); err != nil {
		t.Fatal(err)
	}
	takeOne(t, q)
	return p, q
}

// fullLink is a link whose send buffer is as large as the system allows, and full. The peer has taken one descriptor,
// and reads no more.
func fullLink(t *testing.T) (p, q *Passer) {
	t.Helper()
	p, q = buffered(t, &Config{Direction: SendOnly, Batch: 1, Window: 1 << 15}, &Config{Direction: RecvOnly}, 1<<30)
	if p.out.page == nil {
		t.Skip("acknowledgements do not go through memory here: until the goodbye has gone nothing can be taken back")
	}
	for p.TrySend(Desc{FD: 0, Keep: true}) == nil && !p.out.blocked.Load() {
	}
	if !p.out.blocked.Load() {
		t.Skip("the window is full before the largest send buffer of this system is")
	}
	return p, q
}

func TestCloseReturnsWithTheLargestSendBuffer(t *testing.T) {
	p, _ := fullLink(t)
	soon(t, "Close returns", func() { p.Close() })
	if len(p.Undelivered()) == 0 {
		t.Error("nothing is undelivered")
	}
}

func TestAStalledWorkerWithTheLargestSendBufferIsTakenBackFrom(t *testing.T) {
	p, _ := fullLink(t)
	pool := newPool(t, &PoolConfig{StallTimeout: 20 * time.Millisecond})
	if err := pool.Add(p); err != nil {
		t.Fatal(err)
	}
	until(t, "it is taken back from", func() bool { return pool.Stats().Redelivered > 0 })
}

func TestAPayloadLongerThanTheSendBufferIsRefusedByItself(t *testing.T) {
	for _, protocol := range []Protocol{Framed, Bare} {
		t.Run(fmt.Sprint(protocol), func(t *testing.T) {
			cfg := &Config{Protocol: protocol, Network: "unixpacket", MaxPayload: 16 << 10}
			p, q := link(t, cfg, cfg)
			until(t, "HELLO", p.out.established.Load)
			setSendBuffer(t, p, 4096)
			err := p.Send(Desc{FD: 0, Keep: true, Payload: make([]byte, 9<<10)})
			if !errors.Is(err, syscall.EMSGSIZE) {
				t.Errorf("Send: %v", err)
			}
			if err := p.Send(Desc{FD: 0, Keep: true}); err != nil {
				t.Fatal(err)
			}
			takeOne(t, q)
		})
	}
}

// takesNothing is a link over a stream whose send buffer is as small as it can be. The peer has taken one descriptor,
// and reads no more: the socket has taken half a frame.
func takesNothing(t *testing.T) (p, q *Passer) {
	t.Helper()
	const size = 64 << 10
	p, q = buffered(t, &Config{Network: "unix", Direction: SendOnly, MaxPayload: size},
		&Config{Network: "unix", Direction: RecvOnly, MaxPayload: size}, 1)
	if err := p.Send(Desc{FD: 0, Keep: true, Payload: make([]byte, size)}); err != nil {
		t.Fatal(err)
	}
	until(t, "half of it is sent", p.tail.waiting)
	return p, q
}

func TestCloseReturnsWithTheSmallestSendBuffer(t *testing.T) {
	p, _ := takesNothing(t)
	soon(t, "Close returns", func() { p.Close() })
	if n := len(p.Undelivered()); n != 1 {
		t.Errorf("%d are undelivered", n)
	}
}

func TestAStalledWorkerWithTheSmallestSendBufferIsTakenBackFrom(t *testing.T) {
	p, _ := takesNothing(t)
	pool := newPool(t, &PoolConfig{StallTimeout: 20 * time.Millisecond, MaxPayload: p.cfg.MaxPayload})
	if err := pool.Add(p); err != nil {
		t.Fatal(err)
	}
	until(t, "it is taken back from", func() bool { return pool.Stats().Redelivered > 0 })
}
