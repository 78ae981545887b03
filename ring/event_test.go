package ring

import (
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
)

func TestEventWaitReturnsAtOnceWhenReady(t *testing.T) {
	var e Event
	e.Notify() // nobody waits
	calls := 0
	e.Wait(func() bool { calls++; return true })
	if calls != 1 || e.armed.Load() {
		t.Fatalf("%d calls of ready, armed: %v", calls, e.armed.Load())
	}
}

func TestEventNotifyWakesAllWaitersAndParksThoseThatAreNotReady(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var e Event
		var turn, passed atomic.Int32
		for i := range int32(5) {
			go func() {
				e.Wait(func() bool { return turn.Load() > i })
				passed.Add(1)
			}()
		}
		for want := range int32(6) {
			turn.Store(want)
			e.Notify()
			synctest.Wait() // until all have either passed or parked again
			if passed.Load() != want || e.armed.Load() != (want < 5) {
				t.Fatalf("turn %d: %d passed, armed: %v", want, passed.Load(), e.armed.Load())
			}
		}
	})
}

func TestEventSurvivesAReadyThatPanics(t *testing.T) {
	var e Event
	mustPanic(t, "boom", func() { e.Wait(func() bool { panic("boom") }) })
	if e.armed.Load() || !e.mu.TryLock() {
		t.Fatal("the panic left the event armed or the mutex locked")
	}
}

// The instant at which a wake-up could be lost: the waiter has looked, in vain, and has not parked yet.
func TestEventDoesNotLoseANotifyBetweenTheLookAndThePark(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var e Event
		var state, notified atomic.Bool
		looks := 0
		e.Wait(func() bool {
			looks++
			seen := state.Load()
			if looks == 2 { // the first look is one before the event is armed
				go func() {
					state.Store(true)
					e.Notify()
					notified.Store(true)
				}()
				// Time enough for the notifier to find nobody to wake; it must wait for the mutex instead.
				for range 1000 {
					runtime.Gosched()
				}
				if notified.Load() {
					t.Error("Notify passed a waiter that had looked and not parked")
				}
			}
			return seen
		})
		if looks != 3 {
			t.Errorf("ready was called %d times, want 3", looks)
		}
	})
}

// Who is woken does not run at once; meanwhile nobody needs to wake it again.
func TestEventNotifyDoesWithoutTheMutexUntilTheWokenHaveLooked(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var e Event
		looks, state := 0, false
		go e.Wait(func() bool {
			looks++
			if looks == 3 { // woken: whoever is notified now is this one, and the mutex is held
				state = true
				e.Notify() // would block for ever if it wanted the mutex
			}
			return state
		})
		synctest.Wait()
		e.Notify()
		synctest.Wait()
		if looks != 3 {
			t.Errorf("ready was called %d times, want 3", looks)
		}
	})
}

// A lost wake-up would leave both sides parked, which synctest reports as a deadlock at once.
func TestEventLosesNoWakeUp(t *testing.T) {
	for _, capacity := range []int{1, 16} {
		synctest.Test(t, func(t *testing.T) {
			q := NewSPSC[int](capacity)
			var notFull, notEmpty Event
			n := scaled(200_000)
			go func() {
				for i := range n {
					notFull.Wait(func() bool { return q.Push(i) })
					notEmpty.Notify()
				}
			}()
			for i := range n {
				var got int
				notEmpty.Wait(func() (ok bool) { got, ok = q.Pop(); return ok })
				notFull.Notify()
				if got != i {
					t.Fatalf("got %d, want %d", got, i)
				}
			}
		})
	}
}

func TestEventLosesNoWakeUpAmongManyWaiters(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q := NewMPMC[int](2)
		var notFull, notEmpty Event
		var sum atomic.Int64
		var wg sync.WaitGroup
		n := scaled(20_000)
		for range 4 {
			wg.Go(func() {
				for i := range n {
					notFull.Wait(func() bool { return q.Push(i) })
					notEmpty.Notify()
				}
			})
			wg.Go(func() {
				for range n {
					var got int
					notEmpty.Wait(func() (ok bool) { got, ok = q.Pop(); return ok })
					notFull.Notify()
					sum.Add(int64(got))
				}
			})
		}
		wg.Wait()
		if want := 4 * int64(n) * int64(n-1) / 2; sum.Load() != want {
			t.Fatalf("sum %d, want %d", sum.Load(), want)
		}
	})
}

func TestEventDoesNotAllocate(t *testing.T) {
	var e Event
	var state atomic.Int64
	if n := testing.AllocsPerRun(1000, func() {
		seen := state.Load()
		e.Wait(func() bool { return state.Load() == seen })
		e.Notify()
	}); n != 0 {
		t.Errorf("%v allocations per Wait that does not park", n)
	}

	var ping, pong Event
	var stop atomic.Bool
	done := make(chan struct{})
	go func() { // echoes: odd to even
		defer close(done)
		for !stop.Load() {
			ping.Wait(func() bool { return state.Load()%2 == 1 || stop.Load() })
			state.Add(state.Load() % 2)
			pong.Notify()
		}
	}()
	n := testing.AllocsPerRun(scaled(10_000), func() {
		state.Add(1)
		ping.Notify()
		pong.Wait(func() bool { return state.Load()%2 == 0 })
	})
	stop.Store(true)
	ping.Notify()
	<-done
	if n != 0 {
		t.Errorf("%v allocations per Wait that parks", n)
	}
	runtime.KeepAlive(&e)
}
