//go:build linux

package fastpass

import (
	"context"
	"errors"
	"net"
	"runtime"
	"testing"
)

func TestAPayloadThatFitsNoOtherWorkerDoesNotBlockThePool(t *testing.T) {
	pool := newPool(t, nil)
	w, there := newWorker(t, pool, &Config{MaxPayload: 16 << 10})
	if err := there.Push(Desc{FD: null(t), Tag: 99, Payload: make([]byte, 8000)}); err != nil { // past the pool
		t.Fatal(err)
	}
	w.Close() // it has taken nothing
	until(t, "it has left", func() bool { return pool.Stats().Workers == 0 })
	good, _ := newWorker(t, pool, nil)
	dispatch(t, pool, []Desc{{FD: 0, Keep: true, Tag: 1}})
	takeOne(t, good)
	if err := pool.Shutdown(t.Context()); err != nil {
		t.Error(err)
	}
	ds := pool.Undelivered()
	if len(ds) != 1 || ds[0].Tag != 99 || len(ds[0].Payload) != 8000 {
		t.Errorf("undelivered: %v", ds)
	}
	CloseFDs(fdsOf(ds))
}

func TestWhatWaitsInThePoolIsNotCopiedForEachThatIsPlaced(t *testing.T) {
	const n, size = 900, 4096
	pool := newPool(t, nil)
	w, _ := newWorker(t, pool, &Config{Window: 1})
	ds := make([]Desc, n)
	for i := range ds {
		ds[i] = Desc{FD: 0, Keep: true, Payload: make([]byte, size)}
	}
	dispatch(t, pool, ds) // all but one wait
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	got := []Desc{{Payload: make([]byte, 0, size)}}
	for range n {
		if _, err := w.RecvBatch(got); err != nil {
			t.Fatal(err)
		}
		CloseFDs([]int{got[0].FD})
	}
	runtime.ReadMemStats(&after)
	if each := (after.TotalAlloc - before.TotalAlloc) / n; each > 4*size {
		t.Errorf("%d bytes are allocated for each descriptor with a payload of %d", each, size)
	}
}

func TestPoolShutdownSendsWhatWasPushed(t *testing.T) {
	pool := newPool(t, nil)
	w, there := newWorker(t, pool, nil)
	if err := there.Push(Desc{FD: 0, Keep: true}); err != nil {
		t.Fatal(err)
	}
	got := make(chan Desc)
	go func() {
		d, _ := w.Recv()
		got <- d
	}()
	soon(t, "Shutdown returns", func() {
		if err := pool.Shutdown(context.Background()); err != nil {
			t.Error(err)
		}
	})
	CloseFDs([]int{(<-got).FD})
}

func TestServeEndsWhenThePolicyFailsForWhatWaits(t *testing.T) {
	pool := newPool(t, &PoolConfig{Policy: PolicyFunc(func(*Desc, uint64, []Worker) int { return -1 })})
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	served := make(chan error, 1)
	go func() { served <- pool.Serve(ln) }()
	tcpClients(t, ln.Addr().String(), 1)
	until(t, "it waits", func() bool { return pool.Stats().Waiting == 1 })
	newWorker(t, pool, nil)
	soon(t, "Serve returns", func() {
		if err := <-served; !errors.As(err, new(*policyError)) {
			t.Error(err)
		}
	})
}

func TestThePoolCountsWhatTheKernelRefuses(t *testing.T) {
	pool := newPool(t, nil)
	w, _ := newWorker(t, pool, nil)
	dispatch(t, pool, []Desc{{FD: 1<<20 + 1}, {FD: 0, Keep: true}})
	until(t, "it is refused", func() bool { return pool.Stats().Refused == 1 })
	takeOne(t, w)
	w.Close()
	until(t, "the worker has left", func() bool { return pool.Stats().Workers == 0 })
	if n := pool.Stats().Refused; n != 1 {
		t.Errorf("%d are refused", n)
	}
}
