//go:build unix

package fastpass

import (
	"errors"
	"testing"
	"time"
)

func TestAWorkerThatOnlySendsIsNoWorker(t *testing.T) {
	left := make(chan error, 1)
	pool := newPool(t, &PoolConfig{OnLeave: func(_ *Passer, err error, _ int) { left <- err }})
	there, w := pairOf(t, nil, &Config{Direction: SendOnly})
	defer w.Close()
	switch err := pool.Add(there); {
	case errors.Is(err, errPeerSendOnly): // it has said HELLO before
		there.Close()
	case err != nil:
		t.Fatal(err)
	default:
		soon(t, "it leaves", func() {
			if err := <-left; !errors.Is(err, errPeerSendOnly) {
				t.Error(err)
			}
		})
	}
}

func TestAWorkerThatNeverSaysHelloLeaves(t *testing.T) {
	left := make(chan error, 1)
	pool := newPool(t, &PoolConfig{StartTimeout: time.Millisecond, OnLeave: func(_ *Passer, err error, _ int) { left <- err }})
	there, f, err := Pair(nil)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if err := pool.Add(there); err != nil {
		t.Fatal(err)
	}
	if all := pool.Workers(); len(all) == 1 && all[0].Ready {
		t.Error("it is ready")
	}
	there.Push(Desc{FD: -1}) // refused, which is no HELLO
	there.Flush()
	soon(t, "it leaves", func() {
		if err := <-left; !errors.Is(err, ErrStalled) {
			t.Error(err)
		}
	})
}

func TestAWorkerThatHasSaidHelloIsNotLate(t *testing.T) {
	pool := newPool(t, &PoolConfig{StartTimeout: time.Hour})
	_, there := newWorker(t, pool, nil)
	pool.mu.Lock()
	m := pool.members[0]
	pool.mu.Unlock()
	if all := pool.Workers(); len(all) != 1 || !all[0].Ready {
		t.Errorf("it is not ready: %+v", all)
	}
	m.startMu.Lock()
	running := m.start.Stop()
	m.startMu.Unlock()
	if running {
		t.Error("its timer still runs")
	}
	m.lateStart() // it may have begun before
	m.lateStart()
	if err := there.Err(); err != nil {
		t.Error(err)
	}
}

func TestWhatIsTakenBackFromALivingWorkerIsShared(t *testing.T) {
	pool := newPool(t, nil)
	there, stuck := pairOf(t, &Config{Direction: SendOnly}, &Config{Direction: RecvOnly}) // it takes nothing
	defer stuck.Close()
	if err := pool.Add(there); err != nil {
		t.Fatal(err)
	}
	until(t, "it has said HELLO", func() bool { return pool.Stats().Ready == 1 })
	dispatch(t, pool, taggedPipes(t, 1, 1))
	until(t, "it is sent", func() bool { return there.Stats().Sent == 1 })
	there.Close()
	next, _ := newWorker(t, pool, nil)
	d, err := next.Recv()
	if err != nil {
		t.Fatal(err)
	}
	defer CloseFDs([]int{d.FD})
	if !d.Shared {
		t.Errorf("%v is not Shared, and the worker that was given up has a copy in its queue", d)
	}
}
