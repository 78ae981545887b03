//go:build linux

package fastpass

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"runtime"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// The child dies, or ends in order.

func init() {
	roles["take some"] = func() { // takes N, and then nothing until the parent says so
		spec, p := childEnd()
		ds, err := recvN(p, spec.N, 100)
		must(err)
		for i, d := range ds {
			require(numberOf(d.FD) == i, "descriptor %d at %d", numberOf(d.FD), i)
		}
		say("taken")
		if hear() == "close" {
			must(p.Close())
		}
	}
}

// expectNumbers holds ds, which it closes, against the numbers from..to-1.
func expectNumbers(t testing.TB, ds []Desc, from, to int) {
	t.Helper()
	if len(ds) != to-from {
		t.Errorf("%d descriptors, want %d", len(ds), to-from)
	}
	for i, d := range ds {
		if numberOf(d.FD) != from+i || d.Tag != uint64(from+i) {
			t.Errorf("descriptor %d is number %d with tag %d, want %d", d.FD, numberOf(d.FD), d.Tag, from+i)
			break
		}
	}
	CloseFDs(fdsOf(ds))
}

// tag gives ds the tags that they had, from 0 on, where the protocol carries none.
func (l linkConfig) tag(ds []Desc) {
	for i := range ds {
		if l.Protocol == Bare {
			ds[i].Tag = uint64(i)
		}
	}
}

func TestWhatAKilledReceiverHasNotTakenComesBack(t *testing.T) {
	numbers := newNumbered(t)
	for _, dir := range []Direction{Both, RecvOnly} {
		everywhere(t, framedLinks, func(t *testing.T, l linkConfig, filesystem bool) {
			const n, taken = 3000, 1000
			there := l
			there.Direction = dir
			p, c := linkTo(t, "take some", l.config(), childSpec{Link: there, N: taken}, filesystem)
			ds := numbers.descs(t, 0, n)
			for i := range ds {
				ds[i].Keep = i == n-1
				if i%100 == 0 {
					ds[i].Payload = []byte(strconv.Itoa(i))
				}
			}
			if _, err := p.SendBatch(ds); err != nil {
				t.Fatal(err)
			}
			c.expect("taken")
			expectPage(t, p)
			c.signal(unix.SIGKILL)
			wait(t, "the link ends", p.Done())
			if err := p.Err(); !errors.Is(err, ErrPeerGone) {
				t.Errorf("Err is %v, want ErrPeerGone", err)
			}
			if err := p.Send(Desc{FD: 0, Keep: true}); !errors.Is(err, ErrPeerGone) {
				t.Errorf("Send: %v, want ErrPeerGone", err)
			}
			back := p.Undelivered()
			for _, d := range back {
				want := ""
				if d.Tag%100 == 0 {
					want = strconv.Itoa(int(d.Tag))
				}
				if string(d.Payload) != want || d.Keep != (d.Tag == n-1) {
					t.Errorf("descriptor %d comes back with payload %q and Keep %v", d.Tag, d.Payload, d.Keep)
				}
			}
			expectNumbers(t, back, taken, n)
			if again := p.Undelivered(); len(again) != 0 {
				t.Errorf("Undelivered returns %d descriptors again", len(again))
			}
			if err := p.Close(); err != nil {
				t.Errorf("Close: %v", err)
			}
		})
	}
}

func TestAnOrderlyEndIsNoFailure(t *testing.T) {
	everywhere(t, framedLinks, func(t *testing.T, l linkConfig, filesystem bool) {
		numbers := newNumbered(t)
		p, c := linkTo(t, "take some", l.config(), childSpec{Link: l, N: 10}, filesystem)
		if _, err := p.SendBatch(numbers.descs(t, 0, 10)); err != nil {
			t.Fatal(err)
		}
		c.expect("taken")
		c.say("close")
		c.succeed()
		wait(t, "the link ends", p.Done())
		if err := p.Err(); err != nil {
			t.Errorf("Err is %v", err)
		}
		if _, err := p.Recv(); err != io.EOF {
			t.Errorf("Recv: %v, want io.EOF", err)
		}
		if err := p.Send(Desc{FD: 0, Keep: true}); err == nil {
			t.Error("Send succeeds after the end")
		}
		expectNumbers(t, p.Undelivered(), 0, 0)
	})
}

func init() {
	roles["log"] = func() { // says the number of each descriptor that it was given
		_, p := childEnd()
		logAll(p)
	}
}

func logAll(p *Passer) {
	ds := make([]Desc, 100)
	for {
		n, err := p.RecvBatch(ds)
		if err != nil {
			say("end: %v", err)
			break
		}
		var line []byte
		for _, d := range ds[:n] {
			line = strconv.AppendInt(line, int64(numberOf(d.FD)), 10)
			line = append(line, '\n')
		}
		os.Stdout.Write(line)
		CloseFDs(fdsOf(ds[:n]))
	}
	p.Close()
}

// Whenever the receiver is killed: what it has said that it took is not given back, what is given back is everything
// from some number on, and what is neither was reported delivered.
func TestAReceiverKilledAtAnyInstantLosesNothing(t *testing.T) {
	numbers := newNumbered(t)
	for _, l := range framedLinks {
		for _, window := range []int{64, 0} {
			l.Window = window
			t.Run(fmt.Sprintf("%v, window %d", l, window), func(t *testing.T) {
				noLeaks(t)
				for round := range scaled(20) + 1 {
					killAt(t, numbers, l, 1+round*round*10)
				}
			})
		}
	}
}

// killAt kills the receiver after it has reported some descriptors.
func killAt(t *testing.T, numbers numbered, l linkConfig, reports int) {
	t.Helper()
	var delivered atomic.Int64
	cfg := l.config()
	cfg.OnSent = func(d Desc) {
		if n := delivered.Add(1) - 1; uint64(n) != d.Tag {
			t.Errorf("OnSent for %d, want %d", d.Tag, n)
		}
	}
	p, f, err := Pair(cfg)
	if err != nil {
		t.Fatal(err)
	}
	c := startChild(t, "log", f, childSpec{Link: l})
	sent := make(chan int)
	go func() {
		n := 0
		defer func() { sent <- n }()
		for {
			ds := numbers.descs(t, n, n+30)
			k, err := p.SendBatch(ds)
			n += k
			if err != nil {
				CloseFDs(fdsOf(ds[k:]))
				return
			}
		}
	}()
	taken := 0
	hear := func(s string) {
		if s != strconv.Itoa(taken) {
			t.Errorf("the receiver was given %s, want %d", s, taken)
		}
		taken++
	}
	for range reports {
		hear(c.hear())
	}
	expectPage(t, p)
	c.signal(unix.SIGKILL)
	for s := range c.lines {
		hear(s)
	}
	wait(t, "the link ends", p.Done())
	var n int
	soon(t, "the sender notices", func() { n = <-sent })
	back := p.Undelivered()
	first := n - len(back)
	if first < taken || first != int(delivered.Load()) {
		t.Errorf("sent %d, %d come back, OnSent was called for %d, the receiver was given %d", n, len(back), delivered.Load(), taken)
	}
	expectNumbers(t, back, first, n)
	p.Close()
}

// 5 of the brief: a killed sender.

func init() {
	roles["send and wait"] = func() { // sends N and waits to be killed
		spec, p := childEnd()
		for i := range spec.N {
			must(p.Send(Desc{FD: openNumbered(numbered{spec.Extra}, i), Tag: uint64(i)}))
		}
		for spec.Link.Protocol == Framed && int(p.Stats().Sent) < spec.N {
			time.Sleep(time.Millisecond) // until credit has come
		}
		say("sent")
		hear()
	}
}

func TestWhatAKilledSenderHadSentStillArrives(t *testing.T) {
	numbers := newNumbered(t)
	for _, dir := range []Direction{Both, RecvOnly} {
		everywhere(t, everyLink, func(t *testing.T, l linkConfig, filesystem bool) {
			const n = 200
			cfg := l.config()
			cfg.Direction = dir
			p, c := linkTo(t, "send and wait", cfg, childSpec{Link: l, N: n, Extra: numbers.path}, filesystem)
			c.expect("sent")
			c.signal(unix.SIGKILL)
			c.status()
			soon(t, "all arrive, and the end", func() {
				ds, err := recvN(p, n, 30)
				if err != nil {
					t.Error(err)
				}
				l.tag(ds)
				expectNumbers(t, ds, 0, n)
				_, err = p.Recv()
				if want := ErrPeerGone; l.Protocol == Framed && !errors.Is(err, want) {
					t.Errorf("Recv: %v, want ErrPeerGone", err)
				} else if l.Protocol == Bare && err != io.EOF {
					t.Errorf("Recv: %v, want io.EOF", err)
				}
			})
			wait(t, "the link ends", p.Done())
			if err := p.Err(); l.Protocol == Framed && !errors.Is(err, ErrPeerGone) {
				t.Errorf("Err is %v, want ErrPeerGone", err)
			}
		})
	}
}

func init() {
	roles["send until killed"] = func() { // payloads make frames that a stream socket takes in parts
		spec, p := childEnd()
		numbers, payload := numbered{spec.Extra}, make([]byte, spec.N)
		for i := 0; ; i++ {
			must(p.Send(Desc{FD: openNumbered(numbers, i), Tag: uint64(i), Payload: payload}))
		}
	}
}

// Whenever the sender is killed, also in the middle of a frame: what it had sent arrives, and then the end.
func TestASenderKilledAtAnyInstantLeavesWhatItHadSent(t *testing.T) {
	numbers := newNumbered(t)
	for _, l := range everyLink {
		for _, dir := range []Direction{Both, RecvOnly} {
			for _, payload := range []int{0, 4000} {
				t.Run(fmt.Sprintf("%v, here %v, payloads of %d bytes", l, dir, payload), func(t *testing.T) {
					noLeaks(t)
					for round := range scaled(4) + 1 {
						l.Window = 256
						cfg := l.config()
						cfg.Direction = dir
						p, f, err := Pair(cfg)
						if err != nil {
							t.Fatal(err)
						}
						c := startChild(t, "send until killed", f, childSpec{Link: l, N: payload, Extra: numbers.path})
						all := make(chan error, 1)
						next := 0
						begun := make(chan struct{})
						go func() {
							for {
								d, err := p.Recv()
								if err != nil {
									all <- err
									return
								}
								if d.FD >= 0 {
									if numberOf(d.FD) != next {
										t.Errorf("number %d came where %d is expected", numberOf(d.FD), next)
									}
									unix.Close(d.FD)
									if next++; next == 10*round+1 {
										close(begun)
									}
								}
							}
						}()
						wait(t, "some arrive", begun)
						c.signal(unix.SIGKILL)
						soon(t, "the end comes", func() {
							err := <-all
							if l.Protocol == Framed && !errors.Is(err, ErrPeerGone) || l.Protocol == Bare && err != io.EOF {
								t.Errorf("Recv: %v after %d", err, next)
							}
						})
						p.Close()
						c.status()
					}
				})
			}
		}
	}
}

// stoppedReceiver is a link to the role "log", which has got the numbers from 0 to 9 and is stopped.
func stoppedReceiver(t *testing.T, numbers numbered, l, there linkConfig, filesystem bool) (*Passer, *child) {
	t.Helper()
	p, c := linkTo(t, "log", l.config(), childSpec{Link: there}, filesystem)
	// The link is up once something has gone through.
	if _, err := p.SendBatch(numbers.descs(t, 0, 10)); err != nil {
		t.Fatal(err)
	}
	for i := range 10 {
		c.expect("%d", i)
	}
	until(t, "all is acknowledged", func() bool { return p.Stats().Queued == 0 })
	expectPage(t, p)
	c.signal(unix.SIGSTOP)
	c.stopped()
	return p, c
}

// The fence: a sender that closes the link while the receiver is stopped has its descriptors back, and the receiver,
// when it goes on, delivers none of them.
func TestAStoppedReceiverDeliversNothingThatWasTakenBack(t *testing.T) {
	numbers := newNumbered(t)
	for _, dir := range []Direction{Both, RecvOnly} {
		everywhere(t, framedLinks, func(t *testing.T, l linkConfig, filesystem bool) {
			const n = 500
			there := l
			there.Direction = dir
			p, c := stoppedReceiver(t, numbers, l, there, filesystem)
			if k, err := p.SendBatch(numbers.descs(t, 10, n)); err != nil || k != n-10 {
				t.Fatal(k, err)
			}
			soon(t, "Close returns", func() {
				if err := p.Close(); err != nil {
					t.Error(err)
				}
			})
			expectNumbers(t, p.Undelivered(), 10, n)
			c.signal(unix.SIGCONT)
			c.expect("end: EOF")
			c.succeed()
		})
	}
}

// Close and Recv of the same end at the same moment: whatever Recv returns is not given back to the sender.
func TestCloseDuringRecvGivesEachDescriptorToOneOwner(t *testing.T) {
	for _, l := range framedLinks {
		for _, dir := range []Direction{Both, RecvOnly} {
			t.Run(fmt.Sprint(l, ", ", dir), func(t *testing.T) {
				noLeaks(t)
				fd := null(t)
				defer unix.Close(fd)
				for round := range scaled(1000) + 200 {
					there := l
					there.Direction = dir
					p, q := pairOf(t, l.config(), there.config())
					const n = 64
					sent := 0
					for i := range n {
						if p.Send(Desc{FD: fd, Tag: uint64(i), Keep: true}) == nil {
							sent++
						}
					}
					owners := make([]int32, n)
					var wg sync.WaitGroup
					begun := make(chan struct{}, 1)
					for range 2 {
						wg.Go(func() {
							ds := make([]Desc, 4)
							for k := 0; ; k++ {
								m, err := q.RecvBatch(ds)
								if err != nil {
									return
								}
								for _, d := range ds[:m] {
									atomic.AddInt32(&owners[d.Tag], 1)
								}
								CloseFDs(fdsOf(ds[:m]))
								if k == 0 {
									select {
									case begun <- struct{}{}:
									default:
									}
								}
							}
						})
					}
					soon(t, "both ends end", func() {
						<-begun
						for range round % 50 {
							runtime.Gosched()
						}
						q.Close()
						wg.Wait()
						<-p.Done()
					})
					back := p.Undelivered()
					for _, d := range back {
						owners[d.Tag]++
					}
					p.Close()
					if i := slices.IndexFunc(owners[:sent], func(n int32) bool { return n != 1 }); i >= 0 {
						t.Fatalf("round %d: descriptor %d has %d owners; %d of %d came back", round, i, owners[i], len(back), sent)
					}
				}
			})
		}
	}
}

// Closing, deadlines and the end.

// blockers are calls that wait; the link's other end neither receives nor sends.
var blockers = map[string]func(p *Passer) error{
	"Recv":      func(p *Passer) error { _, err := p.Recv(); return err },
	"RecvBatch": func(p *Passer) error { _, err := p.RecvBatch(make([]Desc, 5)); return err },
	"Send":      func(p *Passer) error { return p.Send(Desc{FD: 0, Keep: true}) },
	"SendBatch": func(p *Passer) error {
		n, err := p.SendBatch([]Desc{{FD: 0, Keep: true}, {FD: 0, Keep: true}})
		if be := (*BatchError)(nil); n != 0 || !errors.As(err, &be) || be.Taken != 0 {
			return fmt.Errorf("%d taken by a full window: %v", n, err)
		}
		return err
	},
	"Shutdown": func(p *Passer) error { return p.Shutdown(context.Background()) },
}

// stuck returns an end whose window is full and whose peer, a socket, does nothing.
func stuck(t testing.TB, l linkConfig) *Passer {
	t.Helper()
	l.Window = 8
	p, f, err := Pair(l.config())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	closeAfter(t, p)
	if l.Direction != RecvOnly {
		for err = error(nil); err == nil; err = p.TrySend(Desc{FD: 0, Keep: true}) {
		}
		if !errors.Is(err, ErrFull) {
			t.Fatal(err)
		}
	}
	return p
}

func TestCloseEndsEveryWaitingCall(t *testing.T) {
	for _, l := range everyLink {
		for _, dir := range []Direction{Both, SendOnly, RecvOnly} {
			l.Direction = dir
			for name, block := range blockers {
				if dir == SendOnly && name[:4] == "Recv" || dir == RecvOnly && name[:4] != "Recv" {
					continue
				}
				t.Run(l.String()+", "+name, func(t *testing.T) {
					noLeaks(t)
					p := stuck(t, l)
					var wg sync.WaitGroup
					for range 3 {
						wg.Go(func() {
							if err := block(p); !errors.Is(err, net.ErrClosed) {
								t.Errorf("%v, want net.ErrClosed", err)
							}
						})
					}
					time.Sleep(time.Millisecond) // often they wait by then; they need not
					soon(t, "Close returns", func() {
						// Each Shutdown closes, too: one of them all is the first.
						if err := p.Close(); err != nil && !errors.Is(err, net.ErrClosed) {
							t.Error(err)
						}
					})
					soon(t, "the calls return", wg.Wait)
					if err := p.Close(); !errors.Is(err, net.ErrClosed) {
						t.Errorf("the second Close: %v, want net.ErrClosed", err)
					}
					if err := p.Err(); err != nil {
						t.Errorf("Err is %v", err)
					}
					for name, err := range map[string]error{
						"Flush": p.Flush(), "TrySend": p.TrySend(Desc{}), "Push": p.Push(Desc{}),
						"SetDeadline": p.SetDeadline(time.Time{}), "Shutdown": p.Shutdown(t.Context()),
					} {
						if !errors.Is(err, net.ErrClosed) && !(dir == RecvOnly && errors.Is(err, errReceiveOnly)) {
							t.Errorf("%s after Close: %v, want net.ErrClosed", name, err)
						}
					}
				})
			}
		}
	}
}

func TestCloseEndsAccept(t *testing.T) {
	for _, l := range everyLink {
		for _, dir := range []Direction{Both, RecvOnly} {
			l.Direction = dir
			t.Run(l.String(), func(t *testing.T) {
				noLeaks(t)
				p := stuck(t, l)
				ln := p.NetListener()
				var wg sync.WaitGroup
				for range 3 {
					wg.Go(func() {
						if _, err := ln.Accept(); !errors.Is(err, net.ErrClosed) {
							t.Errorf("%v, want net.ErrClosed", err)
						}
					})
				}
				runtime.Gosched() // often they wait by then; they need not
				soon(t, "Close returns", func() {
					if err := ln.Close(); err != nil {
						t.Error(err)
					}
					wg.Wait()
				})
			})
		}
	}
}

func TestDeadlinesEndCallsThatWait(t *testing.T) {
	for _, l := range everyLink {
		for _, dir := range []Direction{Both, RecvOnly} {
			l.Direction = dir
			for name, block := range blockers {
				reads := name[:4] == "Recv"
				if name == "Shutdown" || dir == RecvOnly && !reads {
					continue
				}
				set := (*Passer).SetWriteDeadline
				if reads {
					set = (*Passer).SetReadDeadline
				}
				for when, deadline := range map[string]func(p *Passer){
					"past":   func(p *Passer) { set(p, time.Now().Add(-time.Hour)) },
					"future": func(p *Passer) { set(p, time.Now().Add(20*time.Millisecond)) },
					"moved while waiting": func(p *Passer) {
						set(p, time.Now().Add(time.Hour))
						time.AfterFunc(5*time.Millisecond, func() { set(p, time.Now().Add(5*time.Millisecond)) })
					},
					"set while waiting": func(p *Passer) {
						time.AfterFunc(5*time.Millisecond, func() { p.SetDeadline(time.Now()) })
					},
				} {
					t.Run(l.String()+", "+name+", "+when, func(t *testing.T) {
						noLeaks(t)
						p := stuck(t, l)
						deadline(p)
						soon(t, "the deadline ends the call", func() {
							var wg sync.WaitGroup
							for range 2 {
								wg.Go(func() {
									if err := block(p); !errors.Is(err, os.ErrDeadlineExceeded) {
										t.Errorf("%v, want os.ErrDeadlineExceeded", err)
									}
								})
							}
							wg.Wait()
						})
						p.SetDeadline(time.Time{}) // and then all is as before
						time.AfterFunc(time.Millisecond, func() { p.Close() })
						soon(t, "Close ends the call", func() {
							if err := block(p); !errors.Is(err, net.ErrClosed) {
								t.Errorf("%v, want net.ErrClosed", err)
							}
						})
					})
				}
			}
		}
	}
}

func TestADeadlineThatIsTakenBackEndsNothing(t *testing.T) {
	for _, l := range everyLink {
		for _, dir := range []Direction{Both, RecvOnly} {
			l.Direction = dir
			t.Run(l.String(), func(t *testing.T) {
				noLeaks(t)
				a := l
				a.Direction = Both
				p, q := link(t, a.config(), l.config())
				q.SetReadDeadline(time.Now().Add(10 * time.Millisecond))
				got := make(chan error, 1)
				go func() {
					d, err := q.Recv()
					CloseFDs([]int{d.FD})
					got <- err
				}()
				q.SetReadDeadline(time.Time{})
				time.Sleep(20 * time.Millisecond) // nothing depends on it: too short a sleep just checks less
				if err := p.Send(Desc{FD: null(t)}); err != nil {
					t.Fatal(err)
				}
				soon(t, "the descriptor arrives", func() {
					if err := <-got; err != nil && !errors.Is(err, os.ErrDeadlineExceeded) {
						t.Error(err)
					} else if err != nil {
						t.Skip("the machine was too slow: the deadline passed before it was taken back")
					}
				})
			})
		}
	}
}

func TestShutdownDeliversWhatIsQueued(t *testing.T) {
	for _, l := range everyLink {
		t.Run(l.String(), func(t *testing.T) {
			noLeaks(t)
			p, q := link(t, l.config(), l.config())
			const n = 600
			for _, d := range nulls(t, n) {
				if err := p.Push(d); err != nil {
					t.Fatal(err)
				}
			}
			done := make(chan error, 1)
			go func() { done <- p.Shutdown(context.Background()) }()
			soon(t, "all arrive", func() {
				ds, err := recvN(q, n, 50)
				if err != nil {
					t.Error(err)
				}
				CloseFDs(fdsOf(ds))
				if _, err := q.Recv(); err != io.EOF {
					t.Errorf("Recv: %v, want io.EOF", err)
				}
				if err := <-done; err != nil {
					t.Errorf("Shutdown: %v", err)
				}
			})
			if ds := p.Undelivered(); len(ds) != 0 {
				t.Errorf("%d undelivered", len(ds))
			}
		})
	}
}

func TestShutdownGivesUpWithItsContext(t *testing.T) {
	for _, l := range everyLink {
		t.Run(l.String(), func(t *testing.T) {
			noLeaks(t)
			p := stuck(t, l)
			queued := p.Stats().Queued
			ctx, cancel := context.WithCancel(context.Background())
			time.AfterFunc(10*time.Millisecond, cancel)
			soon(t, "Shutdown returns", func() {
				if err := p.Shutdown(ctx); !errors.Is(err, context.Canceled) {
					t.Errorf("%v, want context.Canceled", err)
				}
			})
			if ds := p.Undelivered(); len(ds) < queued {
				t.Errorf("%d undelivered, %d were queued", len(ds), queued)
			}
		})
	}
}

func TestShutdownSaysWhyTheLinkEndedBefore(t *testing.T) {
	for _, l := range framedLinks {
		t.Run(l.String(), func(t *testing.T) {
			noLeaks(t)
			l.Window = 8
			p, f, err := Pair(l.config())
			if err != nil {
				t.Fatal(err)
			}
			closeAfter(t, p)
			if err := p.Send(Desc{FD: 0, Keep: true}); err != nil {
				t.Fatal(err)
			}
			time.AfterFunc(10*time.Millisecond, func() { f.Close() }) // the peer dies meanwhile
			soon(t, "Shutdown returns", func() {
				if err := p.Shutdown(context.Background()); !errors.Is(err, ErrPeerGone) {
					t.Errorf("%v, want ErrPeerGone", err)
				}
			})
		})
	}
}

func TestShutdownAfterThePeersGoodbyeSucceedsIfAllIsDelivered(t *testing.T) {
	for _, l := range framedLinks {
		t.Run(l.String(), func(t *testing.T) {
			noLeaks(t)
			p, q := link(t, l.config(), l.config())
			soon(t, "both ends end", func() {
				if err := p.Send(Desc{FD: null(t)}); err != nil {
					t.Error(err)
				}
				d, err := q.Recv()
				if err != nil {
					t.Error(err)
				}
				CloseFDs([]int{d.FD})
				if err := q.Shutdown(t.Context()); err != nil {
					t.Errorf("the first: %v", err)
				}
				<-p.Done()
				if err := p.Shutdown(t.Context()); err != nil {
					t.Errorf("the second: %v", err)
				}
			})
			if n := p.Stats().Queued; n != 0 {
				t.Errorf("%d descriptors queued in a link that has ended and has delivered all", n)
			}
		})
	}
}

func TestShutdownEndsASendThatWaits(t *testing.T) {
	for _, l := range everyLink {
		t.Run(l.String(), func(t *testing.T) {
			noLeaks(t)
			p := stuck(t, l)
			sent, down := make(chan error, 1), make(chan error, 1)
			go func() { sent <- p.Send(Desc{FD: 0, Keep: true}) }()
			time.Sleep(5 * time.Millisecond) // usually it waits by then
			ctx, cancel := context.WithCancel(context.Background())
			defer cancel()
			go func() { down <- p.Shutdown(ctx) }()
			soon(t, "Send returns, with the start of Shutdown", func() {
				if err := <-sent; !errors.Is(err, net.ErrClosed) {
					t.Errorf("%v, want net.ErrClosed", err)
				}
			})
			cancel()
			soon(t, "Shutdown returns", func() { <-down })
		})
	}
}

func TestUndeliveredIsClosedWithAPasserThatNobodyHolds(t *testing.T) {
	for _, l := range everyLink {
		t.Run(l.String(), func(t *testing.T) {
			noLeaks(t) // collects garbage until nothing is left open
			func() {
				p, f, err := Pair(l.config())
				if err != nil {
					t.Fatal(err)
				}
				defer f.Close()
				for _, d := range nulls(t, 100) {
					if err := p.Push(d); err != nil {
						t.Fatal(err)
					}
				}
				soon(t, "Close returns", func() { p.Close() })
			}()
		})
	}
}

// What has come and was not fetched has no other owner once the peer is dead.
func TestWhatNobodyFetchedIsClosedWithAPasserThatNobodyHolds(t *testing.T) {
	for _, l := range everyLink {
		t.Run(l.String(), func(t *testing.T) {
			noLeaks(t)
			func() {
				p, q := pairOf(t, l.config(), l.config())
				if _, err := p.SendBatch(nulls(t, 100)); err != nil {
					t.Fatal(err)
				}
				until(t, "all have come", func() bool { return q.in.queued.Load() == 100 })
				soon(t, "both ends end", func() {
					p.Close()
					<-q.Done()
				})
			}()
		})
	}
}

func TestCloseOfALinkThatNobodyReads(t *testing.T) {
	for _, l := range everyLink {
		t.Run(l.String(), func(t *testing.T) {
			noLeaks(t)
			p, q := link(t, l.config(), l.config())
			if _, err := p.SendBatch(nulls(t, 3000)); err != nil {
				t.Fatal(err)
			}
			until(t, "the receiver takes in no more", func() bool { return q.in.queued.Load() >= 500 })
			soon(t, "Close returns", func() { q.Close() })
			soon(t, "the other end notices", func() { <-p.Done() })
		})
	}
}

// An end that can do both turns into one that only receives when it hears that the peer only sends.
func TestCloseWhileALinkTurnsOutToBeOneWay(t *testing.T) {
	noLeaks(t)
	for _, l := range framedLinks {
		t.Run(l.String(), func(t *testing.T) {
			one := l
			one.Direction = SendOnly
			for i := range scaled(2000) + 200 {
				p, q := pairOf(t, one.config(), l.config())
				for range i % 40 {
					runtime.Gosched()
				}
				soon(t, "Close returns", func() {
					q.Close()
					p.Close()
				})
			}
		})
	}
}

// The writer goroutine has the sending role when the peer dies.
func TestThePeerDiesWhileTheSocketIsFull(t *testing.T) {
	for _, l := range everyLink {
		t.Run(l.String(), func(t *testing.T) {
			noLeaks(t)
			fd := null(t)
			defer unix.Close(fd)
			l.Batch = 1
			for i := range scaled(500) + 50 {
				p, f, err := Pair(l.config())
				if err != nil {
					t.Fatal(err)
				}
				raw := newRaw(t, f)
				if l.Protocol == Framed {
					raw.hello()
				}
				for range 600 {
					if err := p.Send(Desc{FD: fd, Keep: true}); err != nil {
						t.Fatal(err)
					}
				}
				for range i % 20 {
					raw.recv()
				}
				raw.close()
				soon(t, "the link ends", func() { <-p.Done() })
				soon(t, "Close returns", func() { p.Close() })
			}
		})
	}
}
