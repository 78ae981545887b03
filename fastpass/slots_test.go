//go:build unix

package fastpass

import (
	"testing"
	"testing/synctest"
	"time"

	"example.com/fdpass/cmsgpool"
	"example.com/fdpass/internal/sys"
)

// tableKernel has a table of which nothing is taken.
type tableKernel struct {
	sys.Kernel
	limit  int
	probes int
}

func (k *tableKernel) SoftLimit() int { return k.limit }

func (k *tableKernel) FreeSlots(_, want int) int {
	k.probes++
	return min(k.limit, want)
}

// A full call is never cut down because of what was found out before: to find out takes less than a call more. Where it
// takes long, what is known counts as long as one message fits.
func TestRoomIsLookedForAgainBeforeACallIsCutDown(t *testing.T) {
	const call = 32 * cmsgpool.MaxFDs
	for what, tc := range map[string]struct {
		least, most int // probes
		want        int // descriptors at least, each time
		cheap       bool
	}{
		"cheap": {least: 2, most: 50, want: call, cheap: true},
		"dear":  {least: 1, most: 25, want: cmsgpool.MaxFDs},
	} {
		t.Run(what, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				k := &tableKernel{limit: 20_000}
				r := slotEstimate{kernel: k, shared: new(sys.Slots), clock: new(clock), cheap: tc.cheap, minMargin: minMargin, processors: 2}
				for range 50 { // one descriptor in each message
					r.clock.read()
					if n := r.certain(call); n < tc.want {
						t.Fatalf("room for %d, want %d at least", n, tc.want)
					}
					r.used += 32
					time.Sleep(10 * time.Microsecond)
				}
				if k.probes < tc.least || k.probes > tc.most {
					t.Errorf("%d probes, want %d to %d", k.probes, tc.least, tc.most)
				}
			})
		})
	}
}

// What the application has closed is room again for the peer after a full call at the latest, where that is found out
// at once; few descriptors are not worth a probe.
func TestCreditCountsWhatWasClosedSinceAFullCall(t *testing.T) {
	for what, tc := range map[string]struct {
		cheap        bool
		each, probes int
		want         int // descriptors at least, each time
	}{
		"full calls":             {cheap: true, each: fullCall, probes: 20, want: maxCredit},
		"full calls, dear probe": {each: fullCall, probes: 7, want: maxCredit - 2*fullCall},
		"few":                    {cheap: true, each: 8, probes: 1, want: maxCredit - 20*8},
	} {
		t.Run(what, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				k := &tableKernel{limit: 20_000}
				r := slotEstimate{kernel: k, shared: new(sys.Slots), clock: new(clock), cheap: tc.cheap, minMargin: minMargin}
				r.asked.Store(true)
				for range 20 {
					r.clock.read()
					if n := r.available(); n < tc.want {
						t.Errorf("room for %d, want %d at least", n, tc.want)
					}
					r.used += tc.each
				}
				if k.probes != tc.probes {
					t.Errorf("%d probes, want %d", k.probes, tc.probes)
				}
			})
		})
	}
}
