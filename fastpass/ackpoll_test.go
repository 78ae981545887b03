//go:build unix

package fastpass

import (
	"net"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"example.com/fdpass/internal/sys"
)

// aLink returns a link that only counts how often it is looked at: the test has its sending role.
func aLink() *outbox {
	o := new(outbox)
	o.work.Store(1)
	return o
}

// looked returns which of links were looked at since the last call.
func looked(links []*outbox) (which []int) {
	for i, o := range links {
		if o.polls.due.Swap(false) {
			which = append(which, i)
		}
	}
	return which
}

func TestAnAckPollerPollsWhenItIsTime(t *testing.T) {
	const ms, over = time.Millisecond, overMillisecond
	type event struct {
		at    time.Duration
		which []int
	}
	for what, tc := range map[string]struct {
		after map[int]time.Duration
		want  []event
	}{
		"one":         {map[int]time.Duration{0: 2 * ms}, []event{{2*ms + over, []int{0}}}},
		"two at once": {map[int]time.Duration{0: 2 * ms, 1: 2 * ms}, []event{{2*ms + over, []int{0, 1}}}},
		"almost":      {map[int]time.Duration{0: 2 * ms, 1: 2*ms + pollAfter/2}, []event{{2*ms + over, []int{0, 1}}}},
		"each in turn": {map[int]time.Duration{2: 9 * ms, 0: 6 * ms, 1: 3 * ms}, []event{
			{3*ms + over, []int{1}}, {6*ms + 2*over, []int{0}}, {9*ms + 3*over, []int{2}},
		}},
		"not before the pause is over": {map[int]time.Duration{0: 0, 1: pollAfter / 2}, []event{{pollAfter + over, []int{0, 1}}}},
	} {
		t.Run(what, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				l, start := newAckPoller(), time.Now()
				links := []*outbox{aLink(), aLink(), aLink()}
				for i, d := range tc.after {
					l.schedule(links[i], d)
				}
				var got []event
				for time.Since(start) < time.Second {
					synctest.Wait()
					if which := looked(links); which != nil {
						got = append(got, event{time.Since(start), which})
					}
					time.Sleep(over / 2)
				}
				if !slices.EqualFunc(got, tc.want, func(a, b event) bool { return a.at == b.at && slices.Equal(a.which, b.which) }) {
					t.Errorf("%v, want %v", got, tc.want)
				}
			})
		})
	}
}

func TestAnAckPollerPollsOnceAndOnlyWhatIsThere(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newAckPoller()
		links := []*outbox{aLink(), aLink()}
		l.schedule(links[0], 2*pollAfter)
		l.schedule(links[0], 3*pollAfter) // instead
		l.schedule(links[1], 2*pollAfter)
		l.cancel(links[1])
		time.Sleep(2*pollAfter + overMillisecond)
		synctest.Wait()
		if which := looked(links); which != nil {
			t.Errorf("%v, at a time that was taken back", which)
		}
		time.Sleep(time.Second)
		synctest.Wait()
		if n := links[0].work.Load(); n != 2 || links[1].work.Load() != 1 {
			t.Errorf("looked at %d and %d times, want 1 and 0", n-1, links[1].work.Load()-1)
		}
		l.schedule(links[1], pollAfter)
		l.cancel(links[1])
		if l.timer.Stop() {
			t.Error("the timer runs for nobody")
		}
	})
}

// While there is traffic those who send look, at other links as well, and the timer hardly ends; when it stops,
// the timer does it.
func TestWhoSendsLooksAtTheOtherLinks(t *testing.T) {
	for _, every := range []time.Duration{20 * time.Microsecond, 100 * time.Microsecond, 900 * time.Microsecond} {
		t.Run(every.String(), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				l, start := newAckPoller(), time.Now()
				links := make([]*outbox, 100) // more than are looked at in one go
				due := make([]time.Time, len(links))
				for i := range links {
					links[i] = aLink()
				}
				watch := func() {
					for _, i := range looked(links) {
						links[i].work.Store(1)
						due[i] = time.Time{}
					}
				}
				const traffic = time.Second
				timer, ends := 0, time.Time{}
				latest := time.Duration(0)
				for time.Since(start) < traffic {
					for i := range links {
						if due[i].IsZero() {
							due[i] = time.Now().Add(pollAfter)
							l.schedule(links[i], pollAfter)
						} else if late := time.Since(due[i]); late > latest && time.Since(start) > traffic/2 {
							latest = late
						}
					}
					l.noteSend(1)
					if l.mu.Lock(); l.timerEnds != ends {
						timer, ends = timer+1, l.timerEnds
					}
					l.mu.Unlock()
					time.Sleep(every)
					synctest.Wait()
					watch()
				}
				if most := int(traffic/pollAtMost) + 8; timer > most {
					t.Errorf("the timer was set %d times in %v, want %d at most", timer, traffic, most)
				}
				if most := callsPerPoll * max(every, pollAfter/callsPerPoll); latest > most {
					t.Errorf("a link was looked at %v late, want %v at most", latest, most)
				}
				time.Sleep(pollAtMost)
				synctest.Wait()
				watch()
				if slices.ContainsFunc(due, func(d time.Time) bool { return !d.IsZero() }) {
					t.Errorf("somebody was not looked at within %v after the traffic had stopped", pollAtMost)
				}
				l.schedule(links[0], pollAfter)
				time.Sleep(inOneWait(pollAfter))
				synctest.Wait()
				if len(looked(links)) == 0 {
					t.Errorf("after a pause in the traffic nobody looks in %v", pollAfter)
				}
			})
		})
	}
}

// pooled returns the ends of two links that send, of one pool, and those that receive.
func pooled(t *testing.T, a, b *Config) (senders, receivers [2]*Passer) {
	t.Helper()
	p, err := NewPool(nil)
	if err != nil {
		t.Fatal(err)
	}
	for i, cfg := range []*Config{a, b} {
		senders[i], receivers[i] = link(t, cfg, &Config{Direction: RecvOnly})
		if err := p.Add(senders[i]); err != nil {
			t.Fatal(err)
		}
	}
	t.Cleanup(func() { soon(t, "the pool is shut down", func() { p.Shutdown(t.Context()) }) })
	return senders, receivers
}

func TestTheLinksOfAPoolShareAnAckPollerUnlessTheyMayHoldUpEachOther(t *testing.T) {
	callback := func(Desc) {}
	for what, tc := range map[string]struct {
		cfg    Config
		desc   Desc
		shared bool
	}{
		"nothing sent":   {shared: true},
		"lent":           {desc: Desc{Keep: true}, shared: true},
		"from Serve":     {desc: Desc{brief: true}, shared: true},
		"given away":     {desc: Desc{Tag: 1}},
		"with OnSent":    {cfg: Config{OnSent: callback}},
		"with OnRefused": {cfg: Config{OnRefused: func(Desc, error) {}}},
	} {
		t.Run(what, func(t *testing.T) {
			noLeaks(t)
			tc.cfg.Direction = SendOnly
			senders, receivers := pooled(t, &tc.cfg, &Config{Direction: SendOnly})
			if senders[0].out.page == nil {
				t.Skip("there is no page, and nobody looks at it")
			}
			if tc.desc.Keep || tc.desc.brief || tc.desc.Tag > 0 {
				tc.desc.FD = null(t)
				if tc.desc.Keep {
					defer CloseFDs([]int{tc.desc.FD})
				}
				if err := senders[0].Send(tc.desc); err != nil {
					t.Fatal(err)
				}
				d, err := receivers[0].Recv()
				if err != nil {
					t.Fatal(err)
				}
				CloseFDs([]int{d.FD})
			}
			if got := senders[0].out.ackPoller() == senders[1].out.ackPoller(); got != tc.shared {
				t.Errorf("shared: %v", got)
			}
		})
	}
}

// Who sends over one link of a pool looks at the others as well, and must not be held up by what it finds there.
func TestALinkThatIsSlowToCloseItsCopiesHoldsUpNoOther(t *testing.T) {
	noLeaks(t)
	// Several, which are closed one by one: the signal with which the runtime interrupts a goroutine that has run for
	// long comes a moment late now and then, and ends the lingering of the close that it has begun meanwhile.
	fds, relent := lingering(t, 4)
	relent = sync.OnceFunc(relent)
	t.Cleanup(func() { relent() })
	senders, receivers := pooled(t, &Config{Direction: SendOnly}, &Config{Direction: SendOnly})
	slow, quick, lent := senders[0], senders[1], null(t)
	t.Cleanup(func() { CloseFDs([]int{lent}) })
	go func() {
		for d, err := receivers[1].Recv(); err == nil; d, err = receivers[1].Recv() {
			CloseFDs([]int{d.FD})
		}
	}()
	var given []Desc
	for _, fd := range fds {
		given = append(given, Desc{FD: fd})
	}
	if _, err := slow.SendBatch(given); err != nil {
		t.Fatal(err)
	}
	until(t, "they are sent", func() bool { return slow.Stats().Sent == uint64(len(fds)) })
	slow.in.mu.Lock() // where frames acknowledge them, these are not read yet
	ds, err := recvN(receivers[0], len(fds), len(fds))
	CloseFDs(fdsOf(ds)) // so the copies of the sender are the last
	slow.in.mu.Unlock()
	if err != nil {
		t.Fatal(err)
	}
	soon(t, "everything goes over the quick one", func() {
		for after := 0; after < 1000; after++ {
			if slow.Stats().Delivered == 0 {
				after = 0
			}
			if err := quick.Send(Desc{FD: lent, Keep: true}); err != nil {
				t.Error(err)
				return
			}
		}
	})
	until(t, "all of the quick one is delivered", func() bool { return quick.Stats().Queued == 0 })
	if slow.Stats().Queued != len(fds) {
		t.Error("the slow one is not slow")
	}
	relent()
}

func TestACallbackMayCloseAnotherLinkOfThePool(t *testing.T) {
	noLeaks(t)
	var quick *Passer
	closed := make(chan struct{})
	senders, receivers := pooled(t, &Config{Direction: SendOnly, OnSent: func(Desc) {
		quick.Close()
		close(closed)
	}}, &Config{Direction: SendOnly})
	quick = senders[1]
	lent := null(t)
	t.Cleanup(func() { CloseFDs([]int{lent}) })
	go func() {
		for d, err := receivers[1].Recv(); err == nil; d, err = receivers[1].Recv() {
			CloseFDs([]int{d.FD})
		}
	}()
	if err := senders[0].Send(Desc{FD: lent, Keep: true}); err != nil {
		t.Fatal(err)
	}
	d, err := receivers[0].Recv()
	if err != nil {
		t.Fatal(err)
	}
	CloseFDs([]int{d.FD})
	soon(t, "somebody sends until it is closed", func() {
		for quick.Send(Desc{FD: lent, Keep: true}) == nil {
		}
	})
	wait(t, "the callback returns", closed)
}

// What Serve has accepted before there is a worker is closed as briefly as what it accepts later.
func TestWhatHasWaitedInTheBacklogHoldsNobodyUpEither(t *testing.T) {
	noLeaks(t)
	pool, err := NewPool(nil)
	if err != nil {
		t.Fatal(err)
	}
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	served := make(chan error, 1)
	go func() { served <- pool.Serve(ln) }()
	c, err := net.Dial("tcp", ln.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	until(t, "it waits in the backlog", func() bool { return pool.Stats().Waiting == 1 })
	a, b := link(t, &Config{Direction: SendOnly}, &Config{Direction: RecvOnly})
	if err := pool.Add(a); err != nil {
		t.Fatal(err)
	}
	d, err := b.Recv()
	if err != nil {
		t.Fatal(err)
	}
	CloseFDs([]int{d.FD})
	raw, err := ln.(*net.TCPListener).SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	var brief bool
	if err := raw.Control(func(fd uintptr) { brief = sys.Brief(int(fd)) }); err != nil {
		t.Fatal(err)
	}
	if alone := a.out.polls.alone.Load(); alone == brief {
		t.Error("only what Serve has accepted went over the link; it has an ackPoller of its own:", alone)
	}
	ln.Close()
	b.Close()
	pool.Shutdown(t.Context())
	<-served
}

func TestTimersAreWaitedForInOneGo(t *testing.T) {
	const ms, over = time.Millisecond, overMillisecond
	for d, want := range map[time.Duration]time.Duration{
		-ms: ms + over, 0: ms + over, ms: ms + over, ms + over: ms + over, ms + over + 1: 2*ms + over,
		2 * ms: 2*ms + over, 7*ms - 1: 7*ms + over, 7 * ms: 7*ms + over, 7*ms + over: 7*ms + over, 8*ms + 2*over: 9*ms + over,
	} {
		if got := inOneWait(d); got != want {
			t.Errorf("%v: %v, want %v", d, got, want)
		}
	}
}
