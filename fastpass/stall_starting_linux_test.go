package fastpass

import (
	"testing"
	"time"
)

// A starting worker to which something was sent before it was added.
func TestAStartingWorkerHasNotStalled(t *testing.T) {
	pool := newPool(t, &PoolConfig{StallTimeout: 20 * time.Millisecond})
	there, f, err := Pair(nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := there.Send(Desc{FD: 0, Keep: true, Tag: 7}); err != nil {
		t.Fatal(err)
	}
	if err := pool.Add(there); err != nil {
		t.Fatal(err)
	}
	time.Sleep(200 * time.Millisecond) // it starts
	w := passerOf(t, f, nil)
	defer w.Close()
	w.SetReadDeadline(time.Now().Add(time.Second))
	d, err := w.Recv()
	if err != nil {
		t.Fatalf("%v; the link: %v", err, there.Err())
	}
	CloseFDs([]int{d.FD})
}
