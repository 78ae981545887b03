//go:build linux

package fastpass

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"example.com/fdpass/internal/sys"

	"golang.org/x/sys/unix"
)

// Tables that are too small for what is sent, and tables that never keep still.

func init() {
	roles["small table"] = func() {
		must(limitTo(0, 40))
		spec, p := childEnd()
		ds := make([]Desc, 300)
		for next := 0; next < spec.N; {
			n, err := p.RecvBatch(ds)
			must(err)
			next = expectNext(ds[:n], next)
		}
		say("all")
		hear()
		p.Close()
	}

	// Is told by Recv what to do, and does it.
	roles["small table, then a larger one"] = func() {
		must(limitTo(0, 40))
		spec, p := childEnd()
		ds := make([]Desc, 300)
		for range 2 { // as often as it is asked
			n, err := p.RecvBatch(ds)
			require(n == 0 && errors.Is(err, syscall.EMFILE) && strings.Contains(fmt.Sprint(err), "RLIMIT_NOFILE"), "%d, %v", n, err)
		}
		must(limitTo(0, 1000))
		for next := 0; next < spec.N; {
			n, err := p.RecvBatch(ds)
			if errors.Is(err, syscall.EMFILE) { // of before
				continue
			}
			must(err)
			next = expectNext(ds[:n], next)
		}
		require(p.Stats().Lost == 0, "%d messages lost", p.Stats().Lost)
		say("all")
		hear()
		p.Close()
	}

	// Has no room for a moment, while nobody calls Recv.
	roles["small table that is full for a moment"] = func() {
		must(limitTo(0, 40))
		spec, p := childEnd()
		held := hog(spec.N - 1)
		say("full")
		await := func(f func() bool) {
			for !f() {
				time.Sleep(time.Millisecond)
			}
		}
		await(func() bool { return p.in.tight.Load() > 0 })
		CloseFDs(held)
		await(func() bool { return p.in.queued.Load() > 0 })
		ds, err := recvN(p, spec.N, spec.N)
		must(err)
		expectNext(ds, 0)
		must(p.SetReadDeadline(time.Now()))
		_, err = p.Recv()
		require(errors.Is(err, os.ErrDeadlineExceeded), "when nothing more has come: %v", err)
		say("all")
		hear()
		p.Close()
	}

	// Opens and closes descriptors on other goroutines and threads all the while.
	roles["restless table"] = func() {
		spec, p := childEnd()
		var wg sync.WaitGroup
		var stop atomic.Bool
		for i := range 4 {
			wg.Go(func() {
				if i%2 == 0 {
					runtime.LockOSThread()
					defer runtime.UnlockOSThread()
				}
				for held := []int(nil); ; {
					fd, err := unix.FcntlInt(2, unix.F_DUPFD_CLOEXEC, 0)
					require(err == nil || err == unix.EMFILE, "%v", err)
					if err == nil {
						held = append(held, fd)
					} else {
						runtime.Gosched()
					}
					if len(held) > 10*(i+1) || err != nil || stop.Load() {
						CloseFDs(held)
						held = held[:0]
					}
					if stop.Load() {
						return
					}
				}
			})
		}
		ds := make([]Desc, 300)
		say("ready")
		for next := 0; next < spec.N; {
			n, err := p.RecvBatch(ds)
			must(err)
			next = expectNext(ds[:n], next)
		}
		stop.Store(true)
		wg.Wait()
		say("all")
		hear()
		p.Close()
	}
}

func TestABatchThatNoTableOfTheReceiverHoldsComesInSmallerOnes(t *testing.T) {
	numbers := newNumbered(t)
	bothWaysToRead(t, framedLinks, func(t *testing.T, l, there linkConfig) {
		const n = 1000
		p, c := linkTo(t, "small table", l.config(), childSpec{Link: there, N: n}, false)
		if _, err := p.SendBatch(numbers.descs(t, 0, n)); err != nil {
			t.Fatal(err)
		}
		c.expect("all")
		until(t, "all is acknowledged", func() bool { return p.Stats().Queued == 0 })
		if s := p.Stats(); s.SentBatches[6]+s.SentBatches[7] > 0 {
			t.Errorf("messages of 64 and more into a table of 40: %v", s.SentBatches)
		}
		c.say("end")
		c.succeed()
	})
}

func TestABareMessageThatNoTableHoldsIsAnErrorThatSaysWhatToRaise(t *testing.T) {
	numbers := newNumbered(t)
	bothWaysToRead(t, everyLink[2:], func(t *testing.T, l, there linkConfig) {
		const n = 600
		p, c := linkTo(t, "small table, then a larger one", l.config(), childSpec{Link: there, N: n}, false)
		if _, err := p.SendBatch(numbers.descs(t, 0, n)); err != nil {
			t.Fatal(err)
		}
		c.expect("all")
		c.say("end")
		c.succeed()
	})
}

func TestAMessageThatTheTableHoldsAfterAllIsNoErrorAnyMore(t *testing.T) {
	if sys.Implementation != "sendmmsg/recvmmsg" {
		t.Skip("so small a table is an error whatever comes")
	}
	numbers := newNumbered(t)
	for _, l := range everyLink[2:] {
		t.Run(l.String(), func(t *testing.T) {
			noLeaks(t)
			const n = 28
			p, c := linkTo(t, "small table that is full for a moment", l.config(), childSpec{Link: l, N: n}, false)
			c.expect("full")
			if _, err := p.SendBatch(numbers.descs(t, 0, n)); err != nil {
				t.Fatal(err)
			}
			c.expect("all")
			c.say("end")
			c.succeed()
		})
	}
}

// Somebody else moves the limit up and down, while this process opens and closes descriptors of its own all the time.
func TestNothingIsLostInATableThatNeverKeepsStill(t *testing.T) {
	numbers := newNumbered(t)
	bothWaysToRead(t, framedLinks, func(t *testing.T, l, there linkConfig) {
		const n = 4000
		p, c := linkTo(t, "restless table", l.config(), childSpec{Link: there, N: n}, false)
		c.expect("ready")
		sent := make(chan error, 1)
		go func() {
			var err error
			for next := 0; next < n && err == nil; next += 100 {
				_, err = p.SendBatch(numbers.descs(t, next, next+100))
			}
			sent <- err
		}()
		for range 200 {
			limit := []int{3, 25, 60, 150, 1000}[rand.IntN(5)]
			if err := limitTo(c.cmd.Process.Pid, limit); err != nil {
				t.Fatal(err)
			}
			time.Sleep(rand.N(3 * time.Millisecond)) // any time will do
		}
		if err := limitTo(c.cmd.Process.Pid, 1000); err != nil {
			t.Fatal(err)
		}
		c.expect("all")
		if err := <-sent; err != nil {
			t.Error(err)
		}
		t.Logf("%d descriptors were sent again", p.Stats().Resent)
		c.say("end")
		c.succeed()
	})
}
