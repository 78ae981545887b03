//go:build linux

package fastpass

import (
	"fmt"
	"slices"
	"testing"

	"example.com/fdpass/internal/wire"

	"golang.org/x/sys/unix"
)

func TestARefusedDescriptorBehindOneInFlightIsReportedAtTheEnd(t *testing.T) {
	refused := 0
	p, f, err := Pair(&Config{OnRefused: func(Desc, error) { refused++ }})
	if err != nil {
		t.Fatal(err)
	}
	r := newRaw(t, f)
	defer r.close()
	r.hello()
	until(t, "open", p.out.established.Load)
	p.Send(nulls(t, 1)[0])
	bad := nulls(t, 1)[0]
	CloseFDs([]int{bad.FD})
	p.Push(bad)
	p.Flush()
	until(t, "refused", func() bool { return p.Stats().Refused == 1 })
	p.Close()
	ds := p.Undelivered()
	CloseFDs(fdsOf(ds))
	back := len(ds)
	if refused+back != 2 {
		t.Errorf("of 2 descriptors %d came back and OnRefused was called for %d", back, refused)
	}
}

// The kernel says no more of a message than that something is wrong with it. What it was must not be looked for in what
// was refused before, and lies behind the message in the window.
func TestWhatTheKernelRefusesIsToldFromWhatWasRefusedBefore(t *testing.T) {
	const notOpen = 15_000
	for _, l := range everyLink {
		for _, ds := range [][]int{{notOpen, -1}, {notOpen, -1, -2, -3}, {-1, notOpen, -2}, {0, notOpen, -1, 0}, {notOpen, -1, notOpen + 1, -2}} {
			t.Run(fmt.Sprint(l, " ", ds), func(t *testing.T) {
				noLeaks(t)
				var refused, bad []int
				cfg := l.config()
				cfg.OnRefused = func(d Desc, _ error) { refused = append(refused, d.FD) }
				p, q := link(t, cfg, l.config())
				batch := nulls(t, len(ds)+1)
				last := batch[len(ds)]
				for i, fd := range ds {
					if fd != 0 {
						unix.Close(batch[i].FD)
						batch[i].FD = fd
						bad = append(bad, fd)
					}
				}
				for rest := batch[:len(ds)]; len(rest) > 0; {
					n, err := p.SendBatch(rest)
					if rest = rest[n:]; err != nil && len(rest) > 0 { // a Bare link says so at once
						refused = append(refused, rest[0].FD)
						rest = rest[1:]
					}
				}
				if err := p.Send(last); err != nil {
					t.Error(err)
				}
				soon(t, "the good ones arrive", func() {
					got, err := recvN(q, len(ds)-len(bad)+1, 50)
					if err != nil {
						t.Error(err)
					}
					CloseFDs(fdsOf(got))
				})
				if err := p.Shutdown(t.Context()); err != nil {
					t.Error(err)
				}
				slices.Sort(refused)
				slices.Sort(bad)
				if !slices.Equal(refused, bad) {
					t.Errorf("refused %v, want %v", refused, bad)
				}
				if ds := p.Undelivered(); len(ds) > 0 {
					t.Errorf("undelivered, though everything was: %v", ds)
				}
			})
		}
	}
}

func TestShutdownDoesNotWaitForCreditForWhatIsRefused(t *testing.T) {
	p, r := rawLink(t, linkConfig{Network: "unix", Direction: SendOnly})
	r.send(helloFrame(nil, func(h *wire.Hello) { h.Credit = 1 }), 0)
	until(t, "HELLO", p.out.established.Load)
	if n, _ := p.SendBatch([]Desc{{FD: 0, Keep: true}, {FD: -1}}); n != 2 {
		t.Fatal(n)
	}
	r.send(ackFrame(1, 0), 0) // taken; and there is no room for more
	soon(t, "Shutdown returns", func() {
		if err := p.Shutdown(t.Context()); err != nil {
			t.Error(err)
		}
	})
	if ds := p.Undelivered(); len(ds) > 0 {
		t.Errorf("undelivered: %v", ds)
	}
}
