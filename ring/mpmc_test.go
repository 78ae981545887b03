package ring

import "testing"

func TestMPMCStopsABatchAtACellThatIsBeingFilledOrEmptied(t *testing.T) {
	q := NewMPMC[int](8)
	a, _ := q.claim(&q.tail, free, 2) // a producer is preempted after its claim
	if n := q.PushBatch([]int{3, 4}); n != 2 {
		t.Fatalf("the next producer pushed %d, want 2", n)
	}
	if _, ok := q.Pop(); ok {
		t.Fatal("popped past a cell that is being filled")
	}
	q.cells[a].value = 1
	q.pass(a, filled, 1)
	dst := make([]int, 8)
	if n := q.PopBatch(dst); n != 1 || dst[0] != 1 {
		t.Fatalf("popped %v, want the one filled value", dst[:n])
	}
	q.cells[a+1].value = 2
	q.pass(a+1, filled, 1)

	b, _ := q.claim(&q.head, filled, 1) // a consumer is preempted after its claim
	if n := q.PopBatch(dst); n != 2 || dst[0] != 3 || dst[1] != 4 {
		t.Fatalf("the next consumer popped %v", dst[:n])
	}
	if n := q.PushBatch(seq(5, 8)); n != 5 {
		t.Fatalf("pushed %d, want the 5 before the cell that is being emptied", n)
	}
	if v := q.take(b); v != 2 {
		t.Fatalf("took %d", v)
	}
	q.pass(b, emptied, 1)
	if n := q.PushBatch(seq(10, 3)); n != 3 || q.Len() != 8 {
		t.Fatalf("pushed %d, length %d", n, q.Len())
	}
}
