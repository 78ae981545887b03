package fastpass

import (
	"errors"
	"os"
	"runtime"
	"testing"
	"time"
)

// A deadline that is far away does not keep a link that has ended, and what nobody fetches there, from the garbage
// collector.
func TestADeadlineDoesNotKeepALinkThatHasEnded(t *testing.T) {
	fd := null(t)
	func() {
		p, q := pairOf(t, nil, nil)
		until(t, "HELLO", p.out.established.Load)
		if err := p.SetDeadline(time.Now().Add(time.Hour)); err != nil {
			t.Fatal(err)
		}
		if err := p.Send(Desc{FD: fd}); err != nil {
			t.Fatal(err)
		}
		q.Close()
		wait(t, "the link ends", p.Done())
	}()
	until(t, "what was not delivered is closed", func() bool { runtime.GC(); return !isOpen(fd) })
}

func TestADeadlineSetBesideCloseLeavesNoTimer(t *testing.T) {
	for range 200 {
		p, q := pairOf(t, nil, nil)
		over := make(chan struct{})
		go func() {
			defer close(over)
			for p.SetWriteDeadline(time.Now().Add(time.Hour)) == nil {
			}
		}()
		time.Sleep(20 * time.Microsecond)
		p.Close()
		q.Close()
		wait(t, "SetWriteDeadline says that the link is closed", over)
		p.out.write.mu.Lock()
		if p.out.write.timer != nil {
			t.Fatal("a timer of an hour is left")
		}
		p.out.write.mu.Unlock()
	}
}

// takeOneAfterItsDeadline wants Recv to fail until there is no deadline any more.
func takeOneAfterItsDeadline(t *testing.T, p *Passer) {
	t.Helper()
	if d, err := p.Recv(); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("Recv: %v, %v", d, err)
		CloseFDs([]int{d.FD})
		return
	}
	p.SetReadDeadline(time.Time{})
	takeOne(t, p)
}

// After the read deadline Recv fails, as documented, whether something has come or not, like any net.Conn.
func TestAfterTheDeadlineRecvFailsAlthoughSomethingHasCome(t *testing.T) {
	for _, l := range everyLink {
		for _, dir := range []Direction{Both, RecvOnly} {
			there := l.config()
			there.Direction = dir
			t.Run(l.String()+" "+dir.String(), func(t *testing.T) {
				p, q := link(t, l.config(), there)
				q.SetReadDeadline(time.Now().Add(time.Millisecond))
				if _, err := q.Recv(); !errors.Is(err, os.ErrDeadlineExceeded) {
					t.Fatal(err)
				}
				if err := p.Send(Desc{FD: null(t)}); err != nil {
					t.Fatal(err)
				}
				time.Sleep(50 * time.Millisecond)
				takeOneAfterItsDeadline(t, q)
			})
		}
	}
}

// A deadline holds for what a link that has ended still has, whether it was set before the end or after.
func TestADeadlineHoldsAfterTheEnd(t *testing.T) {
	for _, when := range []string{"before", "after"} {
		for _, l := range everyLink[2:] {
			t.Run(when+" "+l.String(), func(t *testing.T) {
				p, q := link(t, l.config(), l.config())
				if err := p.Send(Desc{FD: null(t)}); err != nil {
					t.Fatal(err)
				}
				until(t, "it has come", func() bool { return q.in.queued.Load() > 0 })
				if when == "before" {
					q.SetReadDeadline(time.Now().Add(200 * time.Millisecond))
				}
				p.Close()
				wait(t, "the end", q.Done())
				if when == "after" {
					q.SetReadDeadline(time.Now().Add(200 * time.Millisecond))
				}
				time.Sleep(250 * time.Millisecond)
				takeOneAfterItsDeadline(t, q)
			})
		}
	}
}
