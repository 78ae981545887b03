package front

import (
	"context"
	"io"
	"math"
	"os"
	"os/exec"
	"testing"
	"time"

	"example.com/fdpass/bench/compare/peer"
	"example.com/fdpass/bench/compare/role"
	"example.com/fdpass/bench/compare/suite/suitetest"
	"example.com/fdpass/internal/leak"

	"golang.org/x/sys/unix"
)

func TestMain(m *testing.M) {
	role.Main()
	os.Exit(leak.Run(m))
}

// Every front answers in every case, also while its workers are restarted.
func TestEveryFrontAnswers(t *testing.T) { suitetest.Run(t, Suite(), "rate") }

func TestEveryAcceptorPasses(t *testing.T) { suitetest.Run(t, Acceptor(), "rate") }

// Work that falls now to one worker and then to another is out of balance at every moment, though it is even in the
// end.
func TestBalanceIsThatOfEachMoment(t *testing.T) {
	for name, c := range map[string]struct {
		moments [][2]uint64 // what each of two workers does
		want    float64
	}{
		"even":           {[][2]uint64{{10, 10}, {7, 7}}, 1},
		"by turns":       {[][2]uint64{{20, 0}, {0, 20}}, 2},
		"one idles once": {[][2]uint64{{10, 10}, {10, 0}}, 4.0 / 3},
	} {
		var b balance
		var before [2]done
		for _, m := range c.moments {
			after := before
			for i := range after {
				after[i].Units += m[i]
			}
			b.add(before[:], after[:])
			before = after
		}
		if got := b.imbalance(); math.Abs(got-c.want) > 1e-9 {
			t.Errorf("%s: %v, want %v", name, got, c.want)
		}
	}
}

// A C front makes little more than one system call for a connection: accept4.
func TestSystemCallsAreCounted(t *testing.T) {
	if _, err := exec.LookPath("strace"); err != nil {
		t.Skip("there is no strace to count with")
	}
	s := Acceptor()
	shop := &peer.Shop{Dir: t.TempDir(), Log: t.Output()}
	if _, err := s.Contenders[0].Prepare(t.Context(), shop); err != nil {
		t.Skipf("there is no C front: %v", err)
	}
	for _, c := range crowds(true)[:2] {
		sample, err := s.Contenders[0].Count(t.Context(), c)
		if n := sample["calls"]; err != nil || n < 1 || n > 1.2 {
			t.Errorf("%s: %v, %v; want a little more than 1 system call per connection", c.Name, sample, err)
		}
	}
}

// What is lost is found out long after the end, when a client has waited in vain.
func TestARequestThatFailsAfterTheEndCounts(t *testing.T) {
	l := load{begin: time.Now(), latency: newHistogram()}
	l.note(time.Millisecond, true, nil)
	l.told = true
	if over := l.note(time.Millisecond, true, nil); !over {
		t.Error("it is not over")
	}
	l.note(time.Second, true, nil)
	l.note(patience, true, io.ErrUnexpectedEOF)
	if l.totals.Answered != 2 || l.totals.Failed != 1 || l.totals.Error == "" {
		t.Errorf("%+v, want 2 answered and one failed", l.totals)
	}
	if late := time.Duration(l.latency.Max()); late < time.Second*9/10 {
		t.Errorf("the longest took %v, though an answer took a second", late)
	}
}

// Who interrupts a measurement does not wait for clients whose acceptor is gone.
func TestABurstEndsWithTheRun(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	team, err := newTeam(ctx, netFront, "front: greet", 1, "")
	if err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- burst(team, new(outcome), burstSize) }()
	if err := again(func() error {
		_, err := unix.Poll([]unix.PollFd{{Fd: int32(team.listener.Fd()), Events: unix.POLLIN}}, -1)
		return err
	}); err != nil {
		t.Fatal(err)
	}
	cancel() // there is a client in the queue; this kills the acceptor, which is stopped
	select {
	case err := <-ended:
		if err == nil {
			t.Error("all were greeted, by nobody")
		}
	case <-time.After(patience / 2):
		t.Error("it still waits")
		<-ended
	}
	_ = team.stop() // its processes were killed
}
