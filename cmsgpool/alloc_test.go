package cmsgpool

import (
	"runtime"
	"testing"
)

// cycle is one turn of the data path: take a buffer, encode, decode, put it back.
func cycle(p *Pool, fds []int) []int {
	b := p.Get()
	for i, slots := 0, b.Rights(len(fds)); i < len(slots); i++ {
		slots[i] = int32(fds[i])
	}
	oob := b.Raw()[:Space(len(fds))]
	sum := int32(0)
	for parser := Parse(oob); ; {
		m, ok := parser.Next()
		if !ok {
			break
		}
		for _, fd := range m.FDs() {
			sum += fd
		}
	}
	fds = AppendFDs(fds[:0], oob)
	fds[0] += int(sum) & 1
	p.Put(b)
	return fds
}

func TestNothingAllocates(t *testing.T) {
	p, fds := New(2), make([]int, MaxFDs)
	cycle(p, fds)
	if got := testing.AllocsPerRun(1000, func() { cycle(p, fds) }); got != 0 {
		t.Errorf("AllocsPerRun = %v", got)
	}
}

// AllocsPerRun rounds down; this counts single mallocs over a million cycles. They
// are those of the whole process, so the best of three counts.
func TestAMillionCyclesMallocNothing(t *testing.T) {
	p, fds := New(2), make([]int, 4)
	cycle(p, fds)
	best := ^uint64(0)
	for range 3 {
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		for range 1_000_000 {
			cycle(p, fds)
		}
		runtime.ReadMemStats(&after)
		best = min(best, after.Mallocs-before.Mallocs)
	}
	if best != 0 {
		t.Errorf("%d mallocs in a million cycles", best)
	}
}
