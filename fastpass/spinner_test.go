//go:build unix

package fastpass

import (
	"math"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"example.com/fdpass/internal/sys"
)

// slowYields is a kernel in which others keep the processor for so long, in one of every so many yields if not in each.
type slowYields struct {
	sys.Kernel
	took   time.Duration
	every  int
	yields int
	lost   time.Duration
}

func (k *slowYields) Yield() {
	if k.yields++; k.every == 0 || k.yields%k.every == 0 {
		time.Sleep(k.took)
		k.lost += k.took
	}
}

const never = math.MaxInt // for spinner.parkAt: it parks for no other reason

// count is how often a caller that never finds anything looks again before it parks.
func (s *spinner) count() (looks int) {
	s.clock.read()
	return s.wait(true)
}

// wait is count for a caller who has looked, and read the clock for that, or has not.
func (s *spinner) wait(looked bool) (looks int) {
	for s.begin(looked); s.again(); {
		looks++
	}
	s.clock.read() // RawConn.Read looks once more
	return looks
}

func TestACallerLooksOnceMoreBeforeItParksAndForLongerOnlyWithSpin(t *testing.T) {
	for _, tc := range []struct {
		took, spin time.Duration
		looks      int
	}{
		{time.Microsecond, 0, 1},
		{time.Microsecond, 50 * time.Microsecond, 50},
		{10 * time.Microsecond, 50 * time.Microsecond, 5},
		{30 * time.Microsecond, 50 * time.Microsecond, 2},
	} {
		synctest.Test(t, func(t *testing.T) {
			k := &slowYields{took: tc.took}
			s := spinner{kernel: k, clock: new(clock), spin: tc.spin, parkAt: never}
			for range 3 {
				if n := s.count(); n != tc.looks {
					t.Errorf("a yield takes %v, Spin is %v: %d looks, want %d", tc.took, tc.spin, n, tc.looks)
				}
			}
		})
	}
}

func TestACallerLooksFirstUnlessThatIsInVain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := spinner{kernel: &slowYields{}, clock: new(clock), parkAt: never}
		// waits is how many of n callers look first, if there is something for them then or not, and how many looks
		// those take who find nothing.
		waits := func(n int, something bool) (first, looks int) {
			for range n {
				looked := s.triesFirst()
				if looked {
					first++
					if s.saw(something) {
						continue
					}
				}
				for s.begin(looked); s.again(); {
				}
				looks += s.tries
			}
			return first, looks
		}
		for range 3 {
			if first, _ := waits(100, true); first < 100-enoughMisses {
				t.Errorf("%d of 100 look first, though there is something", first)
			}
			if first, looks := waits(enoughMisses, false); first != enoughMisses || looks != 2*enoughMisses {
				t.Errorf("%d of the first %d look first, and there are %d looks", first, enoughMisses, looks)
			}
			if first, looks := waits(10*enoughMisses, false); first != 10 || looks != 20*enoughMisses {
				t.Errorf("%d of %d look first, though it is in vain, and there are %d looks", first, 10*enoughMisses, looks)
			}
		}
	})
}

func TestACallerParksAtOnceWhenTheLinkHasStartedATimer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) { // real time may pass in a yield
		p := &Passer{}
		r := &p.in.role
		r.spinner.kernel, r.spinner.clock = &slowYields{}, &p.in.clock
		r.timer = time.NewTimer(time.Hour)
		p.out.p = p
		p.out.polls.own = newAckPoller()
		for what, start := range map[string]func(){
			"the lull's":      r.startTimer,
			"the ackPoller's": func() { p.out.pollIn(time.Hour) },
		} {
			start()
			for i, want := range []int{0, 0, 1} { // again soon
				if n := r.spinner.count(); n != want {
					t.Errorf("%s timer, time %d: %d looks, want %d", what, i+1, n, want)
				}
			}
		}
		r.timer.Stop()
		p.out.polls.poller.cancel(&p.out)
	})
}

func TestACallerParksAtOnceAgainAndAgainButEverMoreRarely(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := spinner{kernel: &slowYields{}, clock: new(clock)}
		parks := func(waits int) (at []int) {
			for i := range waits {
				if s.count() == 0 {
					at = append(at, i)
				}
			}
			return at
		}
		parks(10 * maxParkGap)
		if n := len(parks(10 * maxParkGap)); n != 10 {
			t.Errorf("in the long run %d times in %d waits", n, 10*maxParkGap)
		}
		for range 2 {
			s.timerStarted.Store(true)
			if at, want := parks(200), []int{0, 1, 6, 27, 112}; !slices.Equal(at, want) {
				t.Errorf("after a timer was started in waits %v, want %v", at, want)
			}
		}
	})
}

// A thread that computes takes some of the yields beside it, and others find it waiting for its turn.
func TestAThreadThatComputesTakesHardlyATwentieth(t *testing.T) {
	for _, spin := range []time.Duration{0, 50 * time.Microsecond} {
		for every := 1; every <= 3; every++ {
			if brief() && every == 2 {
				continue
			}
			for _, pause := range []time.Duration{50 * time.Microsecond, 200 * time.Microsecond, time.Millisecond} {
				for _, looked := range []bool{true, false} {
					synctest.Test(t, func(t *testing.T) {
						const slice, long = 3 * time.Millisecond, 5 * time.Second
						k := &slowYields{took: slice, every: every}
						s := spinner{kernel: k, clock: new(clock), spin: spin, parkAt: never}
						for start := time.Now(); time.Since(start) < long; time.Sleep(pause) {
							if looked {
								s.clock.read()
							}
							s.wait(looked)
						}
						if k.lost < 25*slice || k.lost > long/20 {
							t.Errorf("Spin %v, every %d. yield takes %v, %v between waits, has looked first: %v: %v of %v are lost",
								spin, every, slice, pause, looked, k.lost, long)
						}
					})
				}
			}
		}
	}
}

func TestASingleYieldThatTookLongCostsLittle(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const slice = 3 * time.Millisecond
		k := &slowYields{}
		s := spinner{kernel: k, clock: new(clock), parkAt: never}
		for range 3 {
			k.took = slice
			s.count()
			k.took = 0
			for _, c := range []struct {
				after time.Duration
				looks int
			}{{slice / 2, 0}, {slice / 2, 1}, {0, 1}, {2 * maxPenalty * slice, 1}} {
				time.Sleep(c.after)
				if n := s.count(); n != c.looks {
					t.Errorf("%v later %d looks, want %d", c.after, n, c.looks)
				}
			}
		}
	})
}

func TestAProcessThatWasStoppedYieldsAgainSoon(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		k := &slowYields{took: time.Hour}
		s := spinner{kernel: k, clock: new(clock), parkAt: never}
		for range 8 {
			s.count()
			time.Sleep(maxNoYield)
		}
		if k.yields != 8 {
			t.Errorf("%d yields", k.yields)
		}
	})
}

// Who does not look first reads the clock only after a yield. What the caller does between two waits is no yield that
// took long, and is not part of what it spins for.
func TestWhatACallerDoesItselfIsNoLongYield(t *testing.T) {
	const spin = 50 * time.Microsecond
	for _, pause := range []time.Duration{0, spin, 2 * longYield, time.Second} {
		synctest.Test(t, func(t *testing.T) {
			k := &slowYields{took: 10 * time.Microsecond}
			s := spinner{kernel: k, clock: new(clock), spin: spin, parkAt: never}
			s.clock.read()
			for i := range 100 {
				time.Sleep(pause)
				if looks := s.wait(false); looks != 6 {
					t.Errorf("wait %d, %v after the last: %d looks, want 6", i, pause, looks)
				}
			}
		})
	}
}

// A caller who does not look first may see a yield that takes long only now and then.
func TestYieldsThatTakeLongNowAndThenAreNoticed(t *testing.T) {
	for _, every := range []int{2, 18, 100} {
		synctest.Test(t, func(t *testing.T) {
			const slice, each, long = 3 * time.Millisecond, 5 * time.Microsecond, time.Second
			k := &slowYields{took: slice, every: every, yields: 5}
			s := spinner{kernel: k, clock: new(clock), parkAt: never}
			s.clock.read()
			for start := time.Now(); time.Since(start) < long; time.Sleep(each) {
				looked := s.triesFirst()
				if looked {
					s.clock.read()
					s.saw(false)
				}
				s.begin(looked)
				s.again()
			}
			if k.lost > long/20+10*slice { // to notice it takes some
				t.Errorf("every %d. yield takes %v: %v of %v are lost", every, slice, k.lost, long)
			}
		})
	}
}
