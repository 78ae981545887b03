package linearizability

import (
	"fmt"
	"testing"

	"example.com/fdpass/ring"

	"github.com/anishathalye/porcupine"
)

// queue is what SPSC, MPSC and MPMC have in common.
type queue interface {
	Push(v uint16) bool
	PushBatch(vs []uint16) int
	Pop() (uint16, bool)
	PopBatch(dst []uint16) int
}

type shape struct {
	name                 string
	make                 func(capacity int) queue
	producers, consumers int
}

var shapes = []shape{
	{"SPSC", func(n int) queue { return ring.NewSPSC[uint16](n) }, 1, 1},
	{"MPSC", func(n int) queue { return ring.NewMPSC[uint16](n) }, 3, 1},
	{"MPMC", func(n int) queue { return ring.NewMPMC[uint16](n) }, 2, 2},
	{"MPMC crowd", func(n int) queue { return ring.NewMPMC[uint16](n) }, 3, 3},
}

var capacities = []int{1, 2, 4}

func TestQueuesAreLinearizable(t *testing.T) {
	crowded(t)
	for _, s := range shapes {
		t.Run(s.name, func(t *testing.T) {
			first := firstSeed(t)
			var y tally
			for i := range uint64(*histories) {
				capacity := capacities[i%uint64(len(capacities))]
				calls := s.history(first+i, capacity)
				if !explained(t, queueModel(capacity), calls, queueMoments) {
					t.Fatalf("seed %d, capacity %d: nothing explains\n%s", first+i, capacity, list(calls))
				}
				y.add(calls, capacity)
			}
			y.check(t)
		})
	}
}

// No wake-up is lost, or this never ends.
func TestAQueueWithEventsIsLinearizable(t *testing.T) {
	crowded(t)
	first := firstSeed(t)
	for i := range uint64(*histories) {
		capacity := capacities[i%uint64(len(capacities))]
		q := &waiting{MPMC: ring.NewMPMC[uint16](capacity)}
		put := func(c *client) {
			for range 6 {
				c.record(push, 1, func(r *call) {
					r.values = c.values(1)
					q.put(r.values[0])
				})
			}
		}
		take := func(c *client) {
			for range 9 {
				c.record(pop, 1, func(r *call) { r.values = []uint16{q.take()} })
			}
		}
		calls := run(first+i, func(*client) {}, put, put, put, take, take)
		if !explained(t, queueModel(capacity), calls, queueMoments) {
			t.Fatalf("seed %d, capacity %d: nothing explains\n%s", first+i, capacity, list(calls))
		}
	}
}

// waiting is a queue in which nobody finds it full or empty: who would waits at an Event.
type waiting struct {
	*ring.MPMC[uint16]
	room, some ring.Event
}

func (q *waiting) put(v uint16) {
	q.room.Wait(func() bool { return q.Push(v) })
	q.some.Notify()
}

func (q *waiting) take() (v uint16) {
	q.some.Wait(func() (ok bool) { v, ok = q.Pop(); return ok })
	q.room.Notify()
	return v
}

// history records random calls on a new queue, and in the end what is left in it.
func (s shape) history(seed uint64, capacity int) []*call {
	q := s.make(capacity)
	each := 40 / (s.producers + s.consumers)
	var fs []func(*client)
	for range s.producers {
		fs = append(fs, func(c *client) {
			for range each {
				c.push(q, size(c))
			}
		})
	}
	for range s.consumers {
		fs = append(fs, func(c *client) {
			for range each {
				c.pop(q, size(c))
			}
		})
	}
	return run(seed, func(c *client) {
		for c.pop(q, capacity); len(c.calls[len(c.calls)-1].values) > 0; {
			c.pop(q, capacity)
		}
	}, fs...)
}

// size is how much to ask for: one as often as a batch, which may be larger than the queue.
func size(c *client) int {
	if c.rng.IntN(2) == 0 {
		return 1
	}
	return 2 + c.rng.IntN(4)
}

func (c *client) push(q queue, asked int) {
	vs := c.values(asked)
	c.record(push, asked, func(r *call) {
		n := 0
		if asked > 1 {
			n = q.PushBatch(vs)
		} else if q.Push(vs[0]) {
			n = 1
		}
		r.values = vs[:n]
	})
}

func (c *client) pop(q queue, asked int) {
	dst := make([]uint16, asked)
	c.record(pop, asked, func(r *call) {
		n := 0
		if asked > 1 {
			n = q.PopBatch(dst)
		} else if v, ok := q.Pop(); ok {
			dst[0], n = v, 1
		}
		r.values = dst[:n]
	})
}

// queueMoments says which moments a call on a queue has.
func queueMoments(c *call) []momentKind {
	switch len(c.values) {
	case 0:
		return []momentKind{look}
	case c.asked:
		return []momentKind{claim, pass}
	default:
		return []momentKind{look, claim, pass}
	}
}

// queueState is a queue as the documentation of ring describes it.
type queueState struct {
	looked, claimed uint64 // the calls that have done so, a bit each
	used            int8   // slots between the oldest that is not free and the newest
	slots           [4]slot
}

type slot struct {
	value uint16
	owner int8 // the call that has claimed it
	stage stage
}

type stage int8

const (
	filling stage = iota // by its owner
	filled
	emptying // by its owner
	emptied  // and some older slot is not yet free
)

func queueModel(capacity int) porcupine.Model {
	return porcupine.Model{
		Init: func() any { return queueState{} },
		Step: func(state, input, _ any) (bool, any) {
			s, m := state.(queueState), input.(moment)
			ok := false
			if m.of.op == push {
				ok = s.push(m, int8(capacity))
			} else {
				ok = s.pop(m)
			}
			return ok, s
		},
		DescribeOperation: func(input, _ any) string { return fmt.Sprint(input.(moment).of) },
	}
}

func (s *queueState) push(m moment, capacity int8) bool {
	id, n := m.of.id, int8(len(m.of.values))
	switch m.kind {
	case look:
		s.looked |= 1 << id
		return capacity-s.used == n
	case claim:
		if s.used+n > capacity || int(n) < m.of.asked && s.looked>>id&1 == 0 {
			return false
		}
		for _, v := range m.of.values {
			s.slots[s.used] = slot{v, int8(id), filling}
			s.used++
		}
		s.claimed |= 1 << id
		return true
	default:
		return s.pass(id, filling, filled)
	}
}

func (s *queueState) pop(m moment) bool {
	id, n := m.of.id, int8(len(m.of.values))
	head := int8(0) // the oldest that no consumer has claimed
	for head < s.used && s.slots[head].stage >= emptying {
		head++
	}
	end := head
	for end < s.used && s.slots[end].stage == filled {
		end++
	}
	switch m.kind {
	case look:
		s.looked |= 1 << id
		return end-head == n
	case claim:
		if end-head < n || int(n) < m.of.asked && s.looked>>id&1 == 0 {
			return false
		}
		for i, v := range m.of.values {
			slot := &s.slots[head+int8(i)]
			if slot.value != v {
				return false
			}
			slot.owner, slot.stage = int8(id), emptying
		}
		s.claimed |= 1 << id
		return true
	default:
		return s.pass(id, emptying, emptied)
	}
}

// pass ends what call id is doing to its slots, and gives those back that are free.
func (s *queueState) pass(id int, from, to stage) bool {
	if s.claimed>>id&1 == 0 {
		return false
	}
	for i := range s.slots[:s.used] {
		if slot := &s.slots[i]; slot.stage == from && slot.owner == int8(id) {
			slot.stage, slot.owner = to, 0
		}
	}
	for s.used > 0 && s.slots[0].stage == emptied {
		copy(s.slots[:], s.slots[1:])
		s.slots[3] = slot{}
		s.used--
	}
	return true
}
