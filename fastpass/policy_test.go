package fastpass

import (
	"reflect"
	"testing"
)

func workersWith(inFlight ...int) []Worker {
	ws := make([]Worker, len(inFlight))
	for i, n := range inFlight {
		ws[i] = Worker{ID: uint64(i + 1), InFlight: n}
	}
	return ws
}

func TestPoliciesPickAsDocumented(t *testing.T) {
	for _, c := range []struct {
		name    string
		policy  Policy
		workers []Worker
		want    []int // of the first descriptors
	}{
		{"round robin takes turns", RoundRobin, workersWith(9, 0, 5), []int{0, 1, 2, 0, 1}},
		{"least loaded takes the emptiest", LeastLoaded, workersWith(9, 0, 5), []int{1, 1, 1}},
		{"least loaded takes turns among equals", LeastLoaded, workersWith(2, 2, 2), []int{0, 1, 2, 0}},
		{"least loaded takes the first of those that say they are idle", LeastLoaded, []Worker{{Open: 1}, {idle: true}, {idle: true}, {}}, []int{1, 1, 1}},
		{"least loaded counts what is open", LeastLoaded, []Worker{{InFlight: 1, Open: 5}, {InFlight: 3, Open: 1}, {InFlight: 5}}, []int{1, 1}},
		{"one worker gets all", Hash, workersWith(7), []int{0, 0}},
	} {
		t.Run(c.name, func(t *testing.T) {
			var got []int
			for i := range c.want {
				got = append(got, c.policy.Pick(&Desc{FD: -1, Tag: uint64(i)}, uint64(i), c.workers))
			}
			if !reflect.DeepEqual(got, c.want) {
				t.Errorf("picked %v, want %v", got, c.want)
			}
		})
	}
}

func TestHashMovesOnlyWhatALeavingWorkerHad(t *testing.T) {
	const tags = 10_000
	all := workersWith(0, 0, 0, 0)
	without := append(workersWith(0, 0)[:2:2], all[3]) // worker 3 has left
	count := map[uint64]int{}
	for tag := uint64(1); tag <= tags; tag++ {
		d := &Desc{FD: -1, Tag: tag}
		before := all[Hash.Pick(d, 0, all)].ID
		after := without[Hash.Pick(d, 0, without)].ID
		if before != 3 && before != after {
			t.Fatalf("tag %d moved from worker %d to %d, though worker 3 left", tag, before, after)
		}
		count[before]++
	}
	for id, n := range count {
		if n < tags/4*8/10 || n > tags/4*12/10 {
			t.Errorf("worker %d got %d of %d tags, want about a quarter", id, n, tags)
		}
	}
}
