//go:build unix

package fastpass

import (
	"slices"
	"testing"
	"testing/synctest"
	"time"
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
		if o.looks.due.Swap(false) {
			which = append(which, i)
		}
	}
	return which
}

func TestALookoutLooksWhenItIsTime(t *testing.T) {
	const ms = time.Millisecond
	type event struct {
		at    time.Duration
		which []int
	}
	for what, tc := range map[string]struct {
		after map[int]time.Duration
		want  []event
	}{
		"one":         {map[int]time.Duration{0: 2 * ms}, []event{{2 * ms, []int{0}}}},
		"two at once": {map[int]time.Duration{0: 2 * ms, 1: 2 * ms}, []event{{2 * ms, []int{0, 1}}}},
		"almost":      {map[int]time.Duration{0: 2 * ms, 1: 2*ms + lookAfter/2}, []event{{2 * ms, []int{0, 1}}}},
		"each in turn": {map[int]time.Duration{2: 9 * ms, 0: 6 * ms, 1: 3 * ms}, []event{
			{3 * ms, []int{1}}, {6 * ms, []int{0}}, {9 * ms, []int{2}},
		}},
		"not before the pause is over": {map[int]time.Duration{0: 0, 1: lookAfter / 2}, []event{{lookAfter, []int{0, 1}}}},
	} {
		t.Run(what, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				l, start := newLookout(), time.Now()
				links := []*outbox{aLink(), aLink(), aLink()}
				for i, d := range tc.after {
					l.after(links[i], d)
				}
				var got []event
				for time.Since(start) < time.Second {
					synctest.Wait()
					if which := looked(links); which != nil {
						got = append(got, event{time.Since(start), which})
					}
					time.Sleep(lookAfter / 44)
				}
				if !slices.EqualFunc(got, tc.want, func(a, b event) bool { return a.at == b.at && slices.Equal(a.which, b.which) }) {
					t.Errorf("%v, want %v", got, tc.want)
				}
			})
		})
	}
}

func TestALookoutLooksOnceAndOnlyAtWhatIsThere(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLookout()
		links := []*outbox{aLink(), aLink()}
		l.after(links[0], 2*lookAfter)
		l.after(links[0], 3*lookAfter) // instead
		l.after(links[1], 2*lookAfter)
		l.forget(links[1])
		time.Sleep(2*lookAfter + 1)
		synctest.Wait()
		if which := looked(links); which != nil {
			t.Errorf("%v, at a time that was taken back", which)
		}
		time.Sleep(time.Second)
		synctest.Wait()
		if n := links[0].work.Load(); n != 2 || links[1].work.Load() != 1 {
			t.Errorf("looked at %d and %d times, want 1 and 0", n-1, links[1].work.Load()-1)
		}
		l.after(links[1], lookAfter)
		l.forget(links[1])
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
				l, start := newLookout(), time.Now()
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
				const traffic = 2 * time.Second
				timer, ends := 0, time.Time{}
				latest := time.Duration(0)
				for time.Since(start) < traffic {
					for i := range links {
						if due[i].IsZero() {
							due[i] = time.Now().Add(lookAfter)
							l.after(links[i], lookAfter)
						} else if late := time.Since(due[i]); late > latest && time.Since(start) > traffic/2 {
							latest = late
						}
					}
					l.called(1)
					if l.mu.Lock(); l.ends != ends {
						timer, ends = timer+1, l.ends
					}
					l.mu.Unlock()
					time.Sleep(every)
					synctest.Wait()
					watch()
				}
				if most := int(traffic/lookAtMost) + 8; timer > most {
					t.Errorf("the timer was set %d times in %v, want %d at most", timer, traffic, most)
				}
				if most := callsPerLook * max(every, lookAfter/callsPerLook); latest > most {
					t.Errorf("a link was looked at %v late, want %v at most", latest, most)
				}
				time.Sleep(lookAtMost)
				synctest.Wait()
				watch()
				if slices.ContainsFunc(due, func(d time.Time) bool { return !d.IsZero() }) {
					t.Errorf("somebody was not looked at within %v after the traffic had stopped", lookAtMost)
				}
				l.after(links[0], lookAfter)
				time.Sleep(lookAfter)
				synctest.Wait()
				if len(looked(links)) == 0 {
					t.Errorf("after a pause in the traffic nobody looks in %v", lookAfter)
				}
			})
		})
	}
}

func TestTheLinksOfAPoolShareALookout(t *testing.T) {
	noLeaks(t)
	p, err := NewPool(nil)
	if err != nil {
		t.Fatal(err)
	}
	defer p.Shutdown(t.Context())
	seen := map[*lookout]bool{}
	for range 3 {
		a, b := link(t, nil, nil)
		defer b.Close()
		if err := p.Add(a); err != nil {
			t.Fatal(err)
		}
		seen[a.out.looks.out.Load()] = true
	}
	if len(seen) != 1 {
		t.Errorf("%d lookouts for 3 links", len(seen))
	}
}
