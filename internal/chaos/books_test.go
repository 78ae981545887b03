//go:build linux

package main

import (
	"testing"
	"time"
)

var noon = time.Date(2026, 1, 1, 12, 0, 0, 0, time.UTC)

// by returns holders, one second after the other.
func by(workers ...int) (hs []holder) {
	for i, w := range workers {
		hs = append(hs, holder{w, noon.Add(time.Duration(i) * time.Second)})
	}
	return hs
}

func TestTheVerdictFollowsFromWhatTheWitnessesSay(t *testing.T) {
	const reset, timeout = "connection reset", "timeout"
	late, early := noon.Add(time.Minute), noon.Add(-time.Minute)
	for name, test := range map[string]struct {
		story story
		died  time.Time // worker 1; zero: it was not killed
		want  finding
	}{
		"answered by the worker that acknowledged it": {story{acked: by(1), taken: by(1), answers: []int{1}}, time.Time{}, passed},
		"the same, and the worker was killed later":   {story{acked: by(1), taken: by(1), answers: []int{1}}, late, passed},

		"no answer, acknowledged and noted by a killed worker": {story{acked: by(1), taken: by(1), trouble: reset, ended: late}, noon, broken},
		"no answer, acknowledged by a killed worker":           {story{acked: by(1), trouble: reset, ended: late}, noon, broken},
		"half an answer of a killed worker":                    {story{acked: by(1), taken: by(1), answers: []int{1}, trouble: reset, ended: late}, noon, broken},

		"no answer, acknowledged by nobody":                        {story{trouble: reset, ended: late}, noon, lost},
		"no answer for a long time, acknowledged by nobody":        {story{trouble: timeout, hung: true, ended: late}, noon, lost},
		"no answer, and the worker lives":                          {story{acked: by(1), taken: by(1), trouble: reset, ended: late}, time.Time{}, lost},
		"no answer, and the worker was killed after that":          {story{acked: by(1), taken: by(1), trouble: reset, ended: early}, noon, lost},
		"no answer, and the worker that was killed is another one": {story{acked: by(2), taken: by(2), trouble: reset, ended: late}, noon, lost},
		"a wrong answer": {story{acked: by(1), taken: by(1), trouble: "wrong answer", ended: late}, time.Time{}, lost},
		"no answer for a long time of a worker that lives": {story{acked: by(1), taken: by(1), trouble: timeout, hung: true, ended: late}, time.Time{}, lost},

		"given to two applications, answered by one":       {story{acked: by(1), taken: by(1, 2), answers: []int{1}}, time.Time{}, doubled},
		"given to one application twice":                   {story{acked: by(1), taken: by(1, 1), answers: []int{1}}, time.Time{}, doubled},
		"given to two applications, the first one killed":  {story{acked: by(2), taken: by(1, 2), answers: []int{2}}, noon, doubled},
		"answered by two workers":                          {story{acked: by(1), taken: by(1), answers: []int{1, 2}}, time.Time{}, doubled},
		"answered by one worker twice":                     {story{acked: by(1), taken: by(1), answers: []int{1, 1}}, time.Time{}, doubled},
		"acknowledged by two workers":                      {story{acked: by(1, 2), taken: by(2), answers: []int{2}}, noon, doubled},
		"given to an application, not acknowledged":        {story{taken: by(1), answers: []int{1}}, time.Time{}, doubled},
		"the same, and the worker was killed":              {story{taken: by(1), trouble: reset, ended: late}, noon, doubled},
		"acknowledged by one, given to another":            {story{acked: by(1), taken: by(2), answers: []int{2}}, noon, doubled},
		"acknowledged and given to one, answered by other": {story{acked: by(1), taken: by(1), answers: []int{2}}, time.Time{}, doubled},
		"answered by a worker that has noted nothing":      {story{acked: by(1), answers: []int{1}}, time.Time{}, doubled},

		"answered, and never closed":       {story{acked: by(1), taken: by(1), answers: []int{1}, trouble: timeout, hung: true, ended: late}, time.Time{}, leaked},
		"never closed though all are dead": {story{acked: by(1), taken: by(1), trouble: timeout, hung: true, ended: late}, noon, leaked},
	} {
		t.Run(name, func(t *testing.T) {
			got, why := test.story.judge(func(worker int) time.Time {
				if worker == 1 {
					return test.died
				}
				return time.Time{}
			})
			if got != test.want || (why == "") != (got == passed || got == broken) {
				t.Errorf("%v (%s), want %v", got, why, test.want)
			}
		})
	}
}

const address = 127<<40 | 1<<16 | 10000 // 127.0.0.1:10000, as a label

// check compares the counts of the books.
func check(t *testing.T, b *books, want map[finding]uint64) {
	t.Helper()
	got, _ := b.counts()
	for f := range got {
		if got[f] != want[finding(f)] {
			t.Errorf("%d %v, want %d", got[f], finding(f), want[finding(f)])
		}
	}
}

func TestAConnectionIsForgottenWhenAllHaveSpokenInWhateverOrder(t *testing.T) {
	acked := func(b *books) { b.acked(address, 1, noon) }
	taken := func(b *books) { b.taken(address, 1, noon) }
	ended := func(b *books) { b.ended(address, outcome{answers: []int{1}}) }
	for _, order := range [][]func(*books){{acked, taken, ended}, {taken, ended, acked}, {ended, acked, taken}} {
		b := newBooks()
		b.opening(address)
		for i, say := range order {
			if _, open := b.counts(); open != 1 {
				t.Errorf("%d open after %d witnesses", open, i)
			}
			say(b)
		}
		check(t, b, map[finding]uint64{passed: 1})
		if _, open := b.counts(); open != 0 {
			t.Errorf("%d open at the end", open)
		}
	}
}

func TestWhatIsGivenOutAgainLaterIsDoubled(t *testing.T) {
	b := newBooks()
	b.opening(address)
	b.acked(address, 1, noon)
	b.taken(address, 1, noon)
	b.ended(address, outcome{answers: []int{1}})
	b.taken(address, 2, noon)
	b.acked(address, 2, noon)
	b.taken(address+1, 1, noon) // nobody has opened it
	check(t, b, map[finding]uint64{passed: 1, doubled: 3})
}

func TestOnlyWhatACallBringsMayBeBrokenAndNotNoted(t *testing.T) {
	b := newBooks()
	b.killing(1)
	for c := uint64(address); c < address+mostTaken+2; c++ {
		b.opening(c)
		b.acked(c, 1, noon)
		b.ended(c, outcome{trouble: "connection reset"})
	}
	b.settle(time.Now().Add(time.Hour))
	check(t, b, map[finding]uint64{broken: mostTaken, lost: 2})
	if len(b.cases) != 2 || len(b.cases[0].workers) != 1 || b.cases[0].workers[0] != 1 {
		t.Errorf("cases are %+v", b.cases)
	}
}

func TestAWorkerThatEndedBeforeItsKillExcusesNothing(t *testing.T) {
	b := newBooks()
	b.killing(1)
	b.opening(address)
	b.acked(address, 1, noon)
	b.ended(address, outcome{trouble: "connection reset"})
	b.alive(1)
	b.settle(time.Now().Add(time.Hour))
	check(t, b, map[finding]uint64{lost: 1})
}

func TestNothingIsJudgedBeforeItsTime(t *testing.T) {
	b := newBooks()
	b.opening(address)
	b.settle(time.Now().Add(time.Hour)) // its client waits
	b.ended(address, outcome{trouble: "connection reset"})
	b.settle(time.Now().Add(-grace))
	check(t, b, nil)
	b.unopened(address)
	if _, open := b.counts(); open != 0 {
		t.Errorf("%d open at the end", open)
	}
}

func TestNamesAreASet(t *testing.T) {
	n := names{}
	for _, c := range []uint64{address, address + 1, address + 64, address + 1<<16} {
		if n.has(c) {
			t.Errorf("%x is there before it is added", c)
		}
		if n.add(c); !n.has(c) {
			t.Errorf("%x is not there", c)
		}
	}
	if n.has(address + 2) {
		t.Error("one is there that was not added")
	}
}
