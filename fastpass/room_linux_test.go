package fastpass

import (
	"errors"
	"net"
	"testing"
	"time"
)

func TestNeverFullBesideClose(t *testing.T) {
	for _, how := range []string{"TrySend", "Push"} {
		t.Run(how, func(t *testing.T) {
			for i := range scaled(200) {
				p, q := pairOf(t, &Config{Window: 1 << 16}, nil)
				done := make(chan error)
				go func() {
					for n := 0; ; n++ {
						var err error
						if how == "Push" {
							err = p.Push(Desc{FD: 0, Keep: true})
						} else {
							err = p.TrySend(Desc{FD: 0, Keep: true})
						}
						if err != nil {
							if errors.Is(err, ErrFull) && n >= 1<<16-100 {
								err = nil
							}
							done <- err
							return
						}
					}
				}()
				time.Sleep(time.Duration(i%100) * time.Microsecond)
				p.Close()
				if err := <-done; errors.Is(err, ErrFull) {
					t.Fatalf("round %d: %v, and the link is closed", i, err)
				} else if err != nil && !errors.Is(err, net.ErrClosed) {
					t.Fatal(err)
				}
				q.Close()
			}
		})
	}
}

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
