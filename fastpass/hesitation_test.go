//go:build unix

package fastpass

import (
	"testing"
	"testing/synctest"
	"time"

	"example.com/fdpass/internal/sys"
)

// slowYields is a kernel in which others keep the processor for so long.
type slowYields struct {
	sys.Kernel
	took   time.Duration
	yields int
}

func (k *slowYields) Yield() {
	time.Sleep(k.took)
	k.yields++
}

// looks is how often a caller that never finds anything looks again before it parks.
func (h *hesitation) count() (looks int) {
	for h.begin(); h.again(); {
		looks++
	}
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
			h := hesitation{kernel: k, spin: tc.spin}
			for range 3 {
				if n := h.count(); n != tc.looks {
					t.Errorf("a yield takes %v, Spin is %v: %d looks, want %d", tc.took, tc.spin, n, tc.looks)
				}
			}
		})
	}
}

func TestACallerParksAtOnceWhenTheLinkHasStartedATimer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) { // real time may pass in a yield
		p := &Passer{}
		r := &p.in.role
		r.hesitation.kernel = &slowYields{}
		r.timer = time.NewTimer(time.Hour)
		p.out.p = p
		p.out.looks.own = newLookout()
		for what, start := range map[string]func(){
			"the lull's":    r.startTimer,
			"the lookout's": func() { p.out.lookIn(time.Hour) },
		} {
			start()
			for i, want := range []int{0, 1, 1} {
				if n := r.hesitation.count(); n != want {
					t.Errorf("%s timer, time %d: %d looks, want %d", what, i+1, n, want)
				}
			}
		}
		r.timer.Stop()
		p.out.looks.by.forget(&p.out)
	})
}

func TestOnceInAWhileACallerParksAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := hesitation{kernel: &slowYields{}}
		parked := 0
		for range 10 * parkEvery {
			if h.count() == 0 {
				parked++
			}
		}
		if parked != 10 {
			t.Errorf("%d times in %d waits", parked, 10*parkEvery)
		}
	})
}

func TestAYieldThatTookLongIsNotRepeatedForAWhile(t *testing.T) {
	for _, spin := range []time.Duration{0, 50 * time.Microsecond} {
		synctest.Test(t, func(t *testing.T) {
			const slice = 3 * time.Millisecond
			k := &slowYields{took: slice}
			h := hesitation{kernel: k, spin: spin}
			start := time.Now()
			for time.Since(start) < time.Second {
				h.count()
				time.Sleep(10 * time.Microsecond)
			}
			if lost := time.Duration(k.yields) * slice; k.yields < 10 || lost > time.Second/20 {
				t.Errorf("Spin %v: %d yields of %v each in a second", spin, k.yields, slice)
			}
		})
	}
}
