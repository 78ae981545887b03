//go:build linux

package fastpass

import (
	"testing"
	"time"
)

// A sender without a payload waits for a slot of the window, and not for room for payloads.
func TestWhoSendsNoPayloadWaitsForASlotOnly(t *testing.T) {
	const size = 64 << 10
	cfg := &Config{Window: 16, MaxPayload: size}
	p, q := link(t, cfg, cfg)
	until(t, "HELLO", p.out.established.Load)
	for range 8 {
		if err := p.Push(Desc{FD: 0, Keep: true}); err != nil {
			t.Fatal(err)
		}
	}
	for range 8 {
		if err := p.Push(Desc{FD: 0, Keep: true, Payload: make([]byte, size)}); err != nil {
			t.Fatal(err)
		}
	}
	sent := make(chan error, 1)
	go func() { sent <- p.Send(Desc{FD: 0, Keep: true}) }()
	until(t, "Send waits", func() bool { return p.out.waiters.all.Load() == 1 })
	ds, err := recvN(q, 8, 8)
	if err != nil {
		t.Fatal(err)
	}
	CloseFDs(fdsOf(ds))
	until(t, "half of the window is free", func() bool { return p.out.window.Len() <= 9 })
	select {
	case err := <-sent:
		if err != nil {
			t.Fatal(err)
		}
	case <-time.After(2 * time.Second):
		t.Errorf("Send waits, and %d of 16 slots are taken", p.out.window.Len())
		t.Logf("TrySend: %v", p.TrySend(Desc{FD: 0, Keep: true}))
	}
}
