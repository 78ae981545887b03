//go:build linux

package fastpass

import (
	"errors"
	"fmt"
	"os"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"example.com/fdpass/internal/leak"
	"example.com/fdpass/internal/sys"

	"golang.org/x/sys/unix"
)

// However much comes, this process holds little of it.

const (
	mostQueued      = unaskedCredit + fullCall   // that one end takes in unasked
	mostDescriptors = unaskedCredit + mostQueued // that it has open for that
	mostHeap        = 64 << 20
)

// bounded fails the test if this process has more descriptors or memory than it may.
func bounded(t *testing.T, before map[string]string, descriptors int) {
	t.Helper()
	if n := len(leak.Descriptors()) - len(before); n > descriptors {
		t.Errorf("%d descriptors more are open, %d are allowed", n, descriptors)
	}
	runtime.GC()
	var m runtime.MemStats
	if runtime.ReadMemStats(&m); m.HeapAlloc > mostHeap {
		t.Errorf("the heap holds %d bytes, %d are allowed", m.HeapAlloc, mostHeap)
	}
}

func TestBothEndsSendAtFullSpeedAndNeitherReads(t *testing.T) {
	numbers := newNumbered(t)
	for _, l := range everyLink {
		l.Window, l.Batch = 1024, 8
		t.Run(l.String(), func(t *testing.T) {
			noLeaks(t)
			before := leak.Descriptors()
			const n, each = 10_000, 50
			p, q := link(t, l.config(), l.config())
			ends := []*Passer{p, q}
			var senders sync.WaitGroup
			for _, end := range ends {
				senders.Go(func() {
					for next := 0; next < n; next += each {
						if _, err := end.SendBatch(numbers.descs(t, next, next+each)); err != nil {
							t.Error(err)
							return
						}
					}
				})
			}
			for _, end := range ends {
				until(t, "the window is full", func() bool { return end.Stats().Queued > l.Window-each })
			}
			bounded(t, before, 2*(mostDescriptors+l.Window+each))
			soon(t, "all arrive", func() {
				var receivers sync.WaitGroup
				for _, end := range ends {
					receivers.Go(func() {
						ds := make([]Desc, 100)
						for next := 0; next < n; {
							k, err := end.RecvBatch(ds)
							for i, d := range ds[:k] {
								if numberOf(d.FD) != next+i {
									t.Errorf("number %d came where %d is expected", numberOf(d.FD), next+i)
									err = ErrProtocol
									break
								}
							}
							CloseFDs(fdsOf(ds[:k]))
							if next += k; err != nil {
								t.Error(err)
								return
							}
						}
					})
				}
				receivers.Wait()
				senders.Wait()
			})
		})
	}
}

// flooded is a link over which p sends descriptor 0 again and again, as fast as q lets it, until stop.
func flooded(t *testing.T, l linkConfig) (p, q *Passer, stop func()) {
	t.Helper()
	fast := l
	fast.Window = maxWindow
	p, q = link(t, fast.config(), l.config())
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		ds := make([]Desc, 1000)
		for i := range ds {
			ds[i].Keep = true
		}
		var err error
		for err == nil {
			_, err = p.SendBatch(ds)
		}
	}()
	return p, q, func() {
		p.Close()
		<-ended
	}
}

// An application that takes few keeps half of its table, however fast the peer is.
func TestWhoReceivesSlowlyHoldsNoMoreThanHalfTheTable(t *testing.T) {
	for _, l := range framedLinks {
		t.Run(l.String(), func(t *testing.T) {
			noLeaks(t)
			_, q, stop := flooded(t, l)
			defer stop()
			limit := sys.System.SoftLimit()
			for range 100 {
				d, err := q.Recv()
				if err != nil {
					t.Fatal(err)
				}
				CloseFDs([]int{d.FD})
				before := q.in.stats.calls.Load()
				for range 100 { // until nothing more comes for a while
					time.Sleep(time.Millisecond)
					if now := q.in.stats.calls.Load(); now == before {
						break
					} else {
						before = now
					}
				}
				if n := int(q.in.queued.Load()); n > min(limit/2, maxCredit) {
					t.Fatalf("%d descriptors are taken in, the table holds %d", n, limit)
				}
			}
		})
	}
}

// Where much is held, credit for each one that the application takes would have the peer send them one by one.
func TestWhoReceivesOneByOneIsNotSentThemOneByOne(t *testing.T) {
	for _, l := range framedLinks {
		t.Run(l.String(), func(t *testing.T) {
			noLeaks(t)
			p, q, stop := flooded(t, l)
			defer stop()
			for range 20 { // until as many are held as ever will be
				takeOne(t, q)
				for before := -1; before != int(q.in.queued.Load()); time.Sleep(5 * time.Millisecond) {
					before = int(q.in.queued.Load())
				}
			}
			const taken = 100
			before := p.Stats().Sent
			for range taken {
				takeOne(t, q)
				time.Sleep(time.Millisecond)
			}
			if n := p.Stats().Sent - before; n > 0 && n < taken*2 {
				t.Errorf("%d were sent for %d that were taken, with %d in the queue", n, taken, q.in.queued.Load())
			}
		})
	}
}

// A peer sends as much as it can to an end whose application takes nothing: the end takes in what credit allows, or as
// many as it takes unasked and what one system call brings.
func TestWhatAFloodBringsUnaskedIsBounded(t *testing.T) {
	for _, l := range everyLink {
		for _, what := range []struct {
			name       string
			fds, bytes int
		}{{"descriptors", 253, 1}, {"bytes", 0, 16 << 10}, {"both", 253, 16 << 10}} {
			if l.Protocol == Framed && what.fds == 0 {
				continue // no such frame
			}
			t.Run(l.String()+", "+what.name, func(t *testing.T) {
				noLeaks(t)
				before := leak.Descriptors()
				p, r := rawLink(t, l)
				if l.Protocol == Framed {
					r.hello()
				}
				sent, refused := 0, 0
				for refused < 50 && p.Err() == nil { // the socket is full, and stays so
					var data []byte
					switch {
					case l.Protocol == Bare:
						data = []byte(strings.Repeat("x", what.bytes))
					case what.bytes > 1:
						data = dataFrame(uint64(sent), what.fds, nil, 4096, 4096)
					default:
						data = dataFrame(uint64(sent), what.fds, nil)
					}
					var rights []byte
					if what.fds > 0 {
						rights = unix.UnixRights(make([]int, what.fds)...) // descriptor 0 again and again
					}
					err := unix.Sendmsg(r.fd, data, rights, nil, unix.MSG_NOSIGNAL|unix.MSG_DONTWAIT)
					if n := p.in.queued.Load(); n > mostQueued {
						t.Fatalf("%d descriptors are taken in", n)
					}
					switch err {
					case nil:
						sent, refused = sent+what.fds, 0
					case unix.EAGAIN:
						refused++
						time.Sleep(time.Millisecond)
					case unix.EPIPE, unix.ECONNRESET:
						refused = 50
					default:
						t.Fatal(err)
					}
				}
				bounded(t, before, mostDescriptors+10)
				if l.Protocol == Framed {
					expectProtocolError(t, p, "credit was given up to")
					return
				}
				if what.fds > 0 {
					until(t, "the peer is held back", func() bool { return p.in.queued.Load() >= unaskedCredit })
				}
				if err := p.Err(); err != nil {
					t.Error(err)
				}
				r.close()
				soon(t, "all arrive", func() {
					got := 0
					for {
						d, err := p.Recv()
						if err != nil {
							if !isEnd(err) {
								t.Error(err)
							}
							break
						}
						if d.FD >= 0 {
							got++
							unix.Close(d.FD)
						}
					}
					if got != sent {
						t.Errorf("%d of %d descriptors arrive", got, sent)
					}
				})
			})
		}
	}
}

func TestTheWindowIsFullWhenItsPayloadsAre(t *testing.T) {
	const each, most = 4096, maxQueuedBytes / 4096
	for _, l := range everyLink {
		t.Run(l.String(), func(t *testing.T) {
			noLeaks(t)
			p, q := link(t, l.config(), l.config())
			fd := null(t)
			defer unix.Close(fd)
			with := Desc{FD: fd, Keep: true, Payload: make([]byte, each)}
			for i := range most {
				if err := p.Push(with); err != nil {
					t.Fatalf("Push of number %d: %v", i, err)
				}
			}
			if err := p.Push(with); !errors.Is(err, ErrFull) {
				t.Fatalf("Push beyond %d bytes: %v", maxQueuedBytes, err)
			}
			if err := p.Push(Desc{FD: fd, Keep: true}); err != nil {
				t.Fatalf("Push without a payload: %v", err)
			}
			sent := make(chan error, 1)
			go func() { // waits for room, as there is some for neither half nor all of it
				_, err := p.SendBatch(slices.Repeat([]Desc{with}, 2*most))
				sent <- err
			}()
			soon(t, "all arrive", func() {
				for i := range 3*most + 1 {
					d, err := q.Recv()
					if err != nil {
						t.Errorf("Recv of number %d: %v", i, err)
						return
					}
					if want := each; len(d.Payload) != want && i != most {
						t.Errorf("number %d has %d bytes, want %d", i, len(d.Payload), want)
					}
					unix.Close(d.FD)
				}
			})
			if err := <-sent; err != nil {
				t.Error(err)
			}
			until(t, "no bytes are left", func() bool { return p.out.bytes.Load() == 0 })
		})
	}
}

// Who sends largeBatch at a time is woken when half of the window is free, or all but what a call carries, even if only
// a few of them are left to send; small pieces are put together while it is full.
func TestWhoSendsManyAtATimeWaitsForMoreRoom(t *testing.T) {
	for _, l := range everyLink {
		for window, few := range map[int]int{1 << 10: 1 << 9, 4 << 10: fullCall, 16 << 10: fullCall} {
			t.Run(fmt.Sprintf("%v, window %d", l, window), func(t *testing.T) {
				noLeaks(t)
				cfg := l.config()
				cfg.Window = window
				p, _ := link(t, cfg, l.config())
				fd := null(t)
				defer unix.Close(fd)
				for range window - (largeBatch - 1) {
					if err := p.Push(Desc{FD: fd, Keep: true}); err != nil {
						t.Fatal(err)
					}
				}
				o := &p.out
				if n := o.muchRoom(); n != window-window/8 {
					t.Errorf("nobody waits: %d of %d is much room", n, window)
				}
				waits := func(n int, want int) {
					t.Helper()
					until(t, "nobody flushes", func() bool { return o.work.CompareAndSwap(0, 1) }) // nor will anybody
					ds := slices.Repeat([]Desc{{FD: fd, Keep: true}}, n)
					done := make(chan error, 1)
					go func() {
						_, err := p.SendBatch(ds)
						done <- err
					}()
					until(t, "a sender waits", func() bool { return o.waiters.all.Load() == 1 })
					if n := o.muchRoom(); n != want {
						t.Errorf("one waits with %d: %d of %d is much room, want %d", len(ds), n, window, want)
					}
					p.SetWriteDeadline(time.Unix(1, 0))
					if err := <-done; !errors.Is(err, os.ErrDeadlineExceeded) {
						t.Error(err)
					}
					p.SetWriteDeadline(time.Time{})
					o.work.Store(0) // who has asked meanwhile is served by the Flush below
				}
				waits(largeBatch, few) // all but one have room
				waits(largeBatch-1, window-window/8)
				if w, h := o.waiters.all.Load(), o.waiters.hasty.Load(); w != 0 || h != 0 {
					t.Errorf("%d wait, %d of them with little, when all have left", w, h)
				}
				p.Flush()
			})
		}
	}
}

// When the peer takes a few and then no more, all who wait get what room there is, after a moment: also whoever looks
// again only after the first of them has left, and one whose idea of much room was another while that one waited.
func TestLittleRoomIsForAllWhoWait(t *testing.T) {
	const window = 1 << 10
	few := func(t *testing.T, q *Passer) {
		for range 100 {
			d, err := q.Recv()
			if err != nil {
				t.Fatal(err)
			}
			unix.Close(d.FD)
		}
	}
	much := func(t *testing.T, q *Passer) { // at once, which is much until the first that is woken has sent
		ds := make([]Desc, window/8)
		if n, err := q.RecvBatch(ds); n != len(ds) {
			t.Fatalf("received %d of %d: %v", n, len(ds), err)
		}
		CloseFDs(fdsOf(ds))
	}
	for _, sizes := range [][]int{{1, 1, 1, 1}, {largeBatch, 1}, {1, largeBatch}, {largeBatch, largeBatch, 1, 1}} {
		t.Run(fmt.Sprint(sizes, " few"), func(t *testing.T) { littleRoom(t, sizes, window, few) })
		t.Run(fmt.Sprint(sizes, " much"), func(t *testing.T) { littleRoom(t, sizes, window, much) })
	}
}

// littleRoom has senders of so many each wait for room, and the peer take some.
func littleRoom(t *testing.T, sizes []int, window int, take func(*testing.T, *Passer)) {
	noLeaks(t)
	cfg := linkConfig{}.config()
	cfg.Window = window
	p, q := link(t, cfg, linkConfig{}.config())
	fd := null(t)
	defer unix.Close(fd)
	for p.Push(Desc{FD: fd, Keep: true}) == nil {
	}
	sent := make(chan error, len(sizes))
	for i, n := range sizes {
		ds := slices.Repeat([]Desc{{FD: fd, Keep: true}}, n)
		go func() {
			_, err := p.SendBatch(ds)
			sent <- err
		}()
		until(t, "a sender waits", func() bool { return p.out.waiters.all.Load() == int32(i+1) })
	}
	take(t, q)
	soon(t, "all have room", func() {
		for range sizes {
			if err := <-sent; err != nil {
				t.Error(err)
			}
		}
	})
}

func TestSendIntoAWindowThatPushHasFilled(t *testing.T) {
	for _, l := range everyLink {
		t.Run(l.String(), func(t *testing.T) {
			l.Window = 2
			p, q := link(t, l.config(), l.config())
			go closeAll(q)
			for _, d := range nulls(t, 2) {
				if err := p.Push(d); err != nil {
					t.Fatal(err)
				}
			}
			d := nulls(t, 1)[0]
			soon(t, "Send returns", func() {
				if err := p.Send(d); err != nil {
					CloseFDs([]int{d.FD})
					t.Error(err)
				}
			})
		})
	}
}

// Send blocks while the window is full, its documentation says, so one free slot is enough for one descriptor.
func TestSendGoesOnAsSoonAsItsDescriptorHasRoom(t *testing.T) {
	a, b := link(t, &Config{Window: 16, Direction: SendOnly}, &Config{Direction: RecvOnly})
	for range 16 {
		if err := a.TrySend(Desc{FD: null(t)}); err != nil {
			t.Fatal(err)
		}
	}
	last := null(t)
	sent := make(chan error, 1)
	go func() { sent <- a.Send(Desc{FD: last}) }()
	until(t, "Send waits", func() bool { return a.out.stats.sent.Load() == 16 })
	for range 100 { // it parks
		if err := a.TrySend(Desc{FD: last}); err != ErrFull {
			t.Fatal(err)
		}
	}
	d, err := b.Recv() // one slot is free
	if err != nil {
		t.Fatal(err)
	}
	CloseFDs([]int{d.FD})
	soon(t, "Send returns", func() {
		if err := <-sent; err != nil {
			t.Error(err)
		}
	})
}
