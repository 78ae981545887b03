//go:build unix

package fastpass

import (
	"context"
	"errors"
	"net"
	"os"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// callersRead has somebody call Recv of p until it has the reader's role and waits for the socket, and returns what
// becomes of that call.
func callersRead(t *testing.T, p, q *Passer) <-chan error {
	t.Helper()
	came, ended := make(chan int, 10), make(chan error, 1)
	go func() {
		for {
			d, err := p.Recv()
			if err != nil {
				ended <- err
				return
			}
			came <- d.FD
		}
	}()
	until(t, "a caller of Recv reads", func() bool {
		if err := q.Send(Desc{FD: null(t)}); err != nil {
			t.Fatal(err)
		}
		unix.Close(<-came)
		return p.in.role.callers.Load()
	})
	return ended
}

// callersAway makes the reader's role one of the callers of p, none of which is there, and the pump wait for being
// needed.
func callersAway(t *testing.T, p, q *Passer) {
	t.Helper()
	until(t, "the callers have the role", func() bool {
		if err := q.Send(Desc{FD: null(t)}); err != nil {
			t.Fatal(err)
		}
		d, err := p.Recv()
		if err != nil {
			t.Fatal(err)
		}
		unix.Close(d.FD)
		return p.in.role.timer.Stop() && p.in.role.callers.Load()
	})
}

func TestWhoeverWantsSomethingOfACallerThatReadsIsHeard(t *testing.T) {
	for what, tc := range map[string]struct {
		f    func(p, q *Passer)
		want error
	}{
		"deadline": {func(p, _ *Passer) { p.SetReadDeadline(time.Now()) }, os.ErrDeadlineExceeded},
		"close":    {func(p, _ *Passer) { p.Close() }, net.ErrClosed},
		"shutdown": {func(p, _ *Passer) { p.Shutdown(context.Background()) }, net.ErrClosed},
	} {
		for _, l := range everyLink {
			t.Run(what+", "+l.String(), func(t *testing.T) {
				noLeaks(t)
				p, q := link(t, l.config(), l.config())
				ended := callersRead(t, p, q)
				soon(t, what, func() { tc.f(p, q) })
				soon(t, "Recv returns", func() {
					if err := <-ended; !errors.Is(err, tc.want) {
						t.Errorf("Recv: %v, want %v", err, tc.want)
					}
				})
			})
		}
	}
}

func TestACallerThatReadsLearnsOfTheEndAndSoDoesDone(t *testing.T) {
	for _, l := range everyLink {
		t.Run(l.String(), func(t *testing.T) {
			noLeaks(t)
			p, q := link(t, l.config(), l.config())
			ended := callersRead(t, p, q)
			q.Close()
			soon(t, "Recv returns", func() { <-ended })
			wait(t, "Done", p.Done())
			if err := p.Err(); err != nil {
				t.Error(err)
			}
		})
	}
}

// Acknowledgements are read although the callers of Recv, who have the reader's role, do not come back.
func TestThePumpComesBackWhenNobodyCallsRecvAnyMore(t *testing.T) {
	for _, l := range framedLinks {
		t.Run(l.String(), func(t *testing.T) {
			noLeaks(t)
			acknowledged := make(chan struct{})
			cfg := l.config()
			cfg.OnSent = func(Desc) { close(acknowledged) }
			p, q := link(t, cfg, l.config())
			ended := callersRead(t, p, q)
			p.SetReadDeadline(time.Now())
			<-ended
			if err := p.Send(Desc{FD: null(t)}); err != nil {
				t.Fatal(err)
			}
			d, err := q.Recv()
			if err != nil {
				t.Fatal(err)
			}
			unix.Close(d.FD)
			wait(t, "the acknowledgement is read", acknowledged)
		})
	}
}

func TestThePumpComesBackAtOnceForWhoeverWaitsForAcknowledgements(t *testing.T) {
	for what, f := range map[string]func(t *testing.T, p *Passer) error{
		"room in the window": func(t *testing.T, p *Passer) error {
			_, err := p.SendBatch(nulls(t, 2*p.cfg.Window))
			return err
		},
		"Shutdown": func(t *testing.T, p *Passer) error {
			if err := p.Send(Desc{FD: null(t)}); err != nil {
				return err
			}
			return p.Shutdown(context.Background())
		},
	} {
		for _, l := range framedLinks {
			t.Run(what+", "+l.String(), func(t *testing.T) {
				noLeaks(t)
				l.Window = 4
				p, q := link(t, l.config(), l.config())
				callersAway(t, p, q)
				go func() {
					for {
						d, err := q.Recv()
						if err != nil {
							return
						}
						unix.Close(d.FD)
					}
				}()
				soon(t, what, func() {
					if err := f(t, p); err != nil {
						t.Error(err)
					}
				})
			})
		}
	}
}
