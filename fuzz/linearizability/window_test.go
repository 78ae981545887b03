package linearizability

import (
	"fmt"
	"slices"
	"testing"

	"example.com/fdpass/ring"

	"github.com/anishathalye/porcupine"
)

// window is what is used of a ring.Window.
type window interface {
	Claim(n int) (pos uint64, got int)
	Slots(pos uint64, n int) []uint16
	Publish(pos uint64, n int)
	Published(from uint64) uint64
	Release(to uint64)
}

func TestTheWindowIsLinearizable(t *testing.T) {
	crowded(t)
	first := firstSeed(t)
	var y tally
	for i := range uint64(*histories) {
		capacity := capacities[i%uint64(len(capacities))]
		calls := windowHistory(first+i, capacity, ring.NewWindow[uint16](capacity))
		if !explained(t, windowModel(capacity), calls, windowMoments) {
			t.Fatalf("seed %d, capacity %d: nothing explains\n%s", first+i, capacity, list(calls))
		}
		y.add(calls, capacity)
	}
	y.check(t)
}

// windowHistory records what two producers and a consumer do to w, which is new.
func windowHistory(seed uint64, capacity int, w window) []*call {
	produce := func(c *client) {
		for range 8 {
			c.produce(w, size(c))
		}
	}
	var end, head uint64
	return run(seed, func(c *client) {
		c.consume(w, &end, &head, 0)
	}, produce, produce, func(c *client) {
		for range 7 {
			c.consume(w, &end, &head, c.rng.IntN(capacity))
		}
	})
}

// produce claims up to n slots, fills them and publishes them, now and then in two parts, the last one first.
func (c *client) produce(w window, n int) {
	vs := c.values(n)
	var pos uint64
	c.record(push, n, func(r *call) {
		var got int
		pos, got = w.Claim(n)
		r.pos, r.values = uint16(pos), vs[:got]
		vs = r.values
	})
	mid := uint64(c.rng.IntN(len(vs) + 1))
	for _, part := range []struct {
		pos uint64
		vs  []uint16
	}{{pos + mid, vs[mid:]}, {pos, vs[:mid]}} {
		if len(part.vs) == 0 {
			continue
		}
		c.record(publish, len(part.vs), func(r *call) {
			r.pos, r.values = uint16(part.pos), part.vs
			write(w, part.pos, part.vs)
			w.Publish(part.pos, len(part.vs))
		})
	}
}

func write(w window, pos uint64, vs []uint16) {
	for len(vs) > 0 {
		n := copy(w.Slots(pos, len(vs)), vs)
		pos, vs = pos+uint64(n), vs[n:]
	}
}

// consume asks what is published, reads all that is not released, and releases all of that but keep.
func (c *client) consume(w window, end, head *uint64, keep int) {
	n := 0
	c.record(published, 0, func(r *call) {
		*end = w.Published(*end)
		n = int(*end - *head)
		r.pos, r.asked = uint16(*end), n
	})
	c.record(read, n, func(r *call) {
		r.pos = uint16(*head)
		for pos := *head; pos != *end; {
			s := w.Slots(pos, int(*end-pos))
			r.values = append(r.values, s...)
			pos += uint64(len(s))
		}
	})
	if n <= keep {
		return
	}
	c.record(release, 0, func(r *call) {
		*head = *end - uint64(keep)
		r.pos = uint16(*head)
		w.Release(*head)
	})
}

func windowMoments(c *call) []momentKind {
	if c.op == push && len(c.values) < c.asked && len(c.values) > 0 {
		return []momentKind{look, claim}
	}
	if c.op == push && len(c.values) == 0 {
		return []momentKind{look}
	}
	return []momentKind{claim}
}

type windowState struct {
	looked     uint64
	head, tail uint16
	published  [4]bool
	values     [4]uint16
}

func windowModel(capacity int) porcupine.Model {
	return porcupine.Model{
		Init: func() any { return windowState{} },
		Step: func(state, input, _ any) (bool, any) {
			s := state.(windowState)
			ok := s.step(input.(moment), uint16(capacity))
			return ok, s
		},
		DescribeOperation: func(input, _ any) string { return fmt.Sprint(input.(moment).of) },
	}
}

func (s *windowState) step(m moment, capacity uint16) bool {
	c, n := m.of, uint16(len(m.of.values))
	switch {
	case m.kind == look:
		s.looked |= 1 << c.id
		return s.tail == c.pos && capacity-(s.tail-s.head) == n
	case c.op == push:
		ok := s.tail == c.pos && s.tail-s.head+n <= capacity && (int(n) == c.asked || s.looked>>c.id&1 == 1)
		s.tail += n
		return ok
	case c.op == publish:
		for i, v := range c.values {
			k := (c.pos + uint16(i)) % capacity
			s.published[k], s.values[k] = true, v
		}
		return true
	case c.op == published:
		end := s.head
		for end != s.tail && s.published[end%capacity] {
			end++
		}
		return end == c.pos
	case c.op == read:
		var vs []uint16
		for pos := c.pos; pos != c.pos+uint16(c.asked); pos++ {
			vs = append(vs, s.values[pos%capacity])
		}
		return s.head == c.pos && slices.Equal(vs, c.values)
	default: // release
		for ; s.head != c.pos; s.head++ {
			s.published[s.head%capacity], s.values[s.head%capacity] = false, 0
		}
		return true
	}
}
