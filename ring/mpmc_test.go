package ring

import "testing"

func TestMPMCStopsABatchAtASlotThatIsBeingFilledOrEmptied(t *testing.T) {
	q := NewMPMC[int](8)
	a, _ := q.tail.claim(2, q.toFill) // a producer is preempted after its claim
	if n := q.PushBatch([]int{3, 4}); n != 2 {
		t.Fatalf("the next producer pushed %d, want 2", n)
	}
	if _, ok := q.Pop(); ok {
		t.Fatal("popped past a slot that is being filled")
	}
	q.slots[a], q.slots[a+1] = 1, 2
	q.toEmpty.give(a, 2)
	dst := make([]int, 8)
	if n := q.PopBatch(dst[:1]); n != 1 || dst[0] != 1 {
		t.Fatalf("popped %v, want the first of the filled values", dst[:n])
	}

	b, _ := q.head.claim(1, q.toEmpty) // a consumer is preempted after its claim
	if n := q.PopBatch(dst); n != 2 || dst[0] != 3 || dst[1] != 4 {
		t.Fatalf("the next consumer popped %v", dst[:n])
	}
	if n := q.PushBatch(seq(5, 8)); n != 5 {
		t.Fatalf("pushed %d, want the 5 before the slot that is being emptied", n)
	}
	if v := q.slots[b]; v != 2 {
		t.Fatalf("took %d", v)
	}
	q.toFill.give(q.nextLap(b), 1)
	if n := q.PushBatch(seq(10, 3)); n != 3 || q.Len() != 8 {
		t.Fatalf("pushed %d, length %d", n, q.Len())
	}
}

// The marks before next are stored anew in the next lap: who hopped from a limit among them would not find its way.
func TestMPMCClaimsNoFurtherThanTheLimitThatItsSideKnows(t *testing.T) {
	q := NewMPMC[int](4)
	dst := make([]int, 4)
	for lap := range 10 {
		for n := 1; n <= 4; n++ {
			if got := q.PushBatch(seq(lap, n)); got != n {
				t.Fatalf("lap %d: pushed %d of %d", lap, got, n)
			}
			if got := q.PopBatch(dst); got != n {
				t.Fatalf("lap %d: popped %d of %d", lap, got, n)
			}
			for side, c := range map[string]*cursor{"tail": &q.tail, "head": &q.head} {
				if next, limit := c.next.Load(), c.limit.Load(); next > limit {
					t.Fatalf("lap %d: %s is claimed up to %d, but known only up to %d", lap, side, next, limit)
				}
			}
		}
	}
}
