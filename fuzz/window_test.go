package fuzz

import (
	"testing"

	"example.com/fdpass/ring"
)

// FuzzWindow gives the send window arbitrary claims, publications in parts and out of order, looks and releases. It
// must say of each position what a model of it says, keep the values in place, and hand out cleared slots.
func FuzzWindow(f *testing.F) {
	f.Add([]byte{})
	f.Add([]byte{2, 0, 3, 1, 0, 2, 2, 0, 9, 1, 0, 9, 2, 3, 1, 0, 4, 2, 3, 9})
	f.Add([]byte{10, 0, 255, 0, 255, 0, 255, 1, 1, 255, 1, 0, 255, 1, 0, 9, 2, 3, 255, 0, 255, 0, 255, 1, 0, 255, 2, 3, 200})
	f.Fuzz(func(t *testing.T, in []byte) {
		e := events(in)
		w := windowCheck{T: t, capacity: 1 << (e.byte() % 11)}
		w.window = ring.NewWindow[uint64](int(w.capacity))
		for len(e) > 0 {
			switch e.byte() % 4 {
			case 0:
				w.claim(int(e.byte()))
			case 1:
				w.publish(int(e.byte()), int(e.byte()))
			case 2:
				w.look()
			case 3:
				w.release(uint64(e.byte()))
			}
		}
	})
}

type windowCheck struct {
	*testing.T
	window          *ring.Window[uint64]
	capacity        uint64
	head, end, tail uint64
	open            [][2]uint64     // claimed and not published, from and to
	published       map[uint64]bool // beyond end
}

func (w *windowCheck) claim(n int) {
	pos, got := w.window.Claim(n)
	if want := min(n, int(w.capacity-(w.tail-w.head))); got != want || got > 0 && pos != w.tail {
		w.Fatalf("claimed %d of %d at %d; the window is %d..%d of %d", got, n, pos, w.head, w.tail, w.capacity)
	}
	if got > 0 {
		w.tail += uint64(got)
		w.open = append(w.open, [2]uint64{pos, w.tail})
		w.each(pos, w.tail, func(pos uint64, v *uint64) {
			if *v != 0 {
				w.Fatalf("slot %d is handed out with a value", pos)
			}
		})
	}
}

// publish publishes the first n, or the last 128-n, of an open claim.
func (w *windowCheck) publish(which, n int) {
	if len(w.open) == 0 {
		return
	}
	i := which % len(w.open)
	from, to := w.open[i][0], w.open[i][1]
	if n < 128 {
		to = min(to, from+uint64(n))
		w.open[i][0] = to
	} else {
		from = max(from, to-min(to, uint64(n-128)))
		w.open[i][1] = from
	}
	if w.open[i][0] == w.open[i][1] {
		w.open = append(w.open[:i], w.open[i+1:]...)
	}
	w.each(from, to, func(pos uint64, v *uint64) { *v = pos + 1 })
	w.window.Publish(from, int(to-from))
	for ; from < to; from++ {
		if w.published == nil {
			w.published = make(map[uint64]bool)
		}
		w.published[from] = true
	}
}

func (w *windowCheck) look() {
	end := w.window.Published(w.end)
	for w.published[w.end] {
		delete(w.published, w.end)
		w.end++
	}
	if head := w.window.Head(); head != w.head || end != w.end {
		w.Fatalf("published is %d..%d, want %d..%d", head, end, w.head, w.end)
	}
	w.each(w.head, w.end, func(pos uint64, v *uint64) {
		if *v != pos+1 {
			w.Fatalf("slot %d holds the value of %d", pos, *v-1)
		}
	})
	if w.window.Tail() != w.tail || w.window.Len() != int(w.tail-w.head) {
		w.Fatalf("tail %d and %d in the window, want %d and %d", w.window.Tail(), w.window.Len(), w.tail, w.tail-w.head)
	}
}

func (w *windowCheck) release(n uint64) {
	w.head = min(w.head+n, w.end)
	w.window.Release(w.head)
}

// each calls f for every slot from from to to-1.
func (w *windowCheck) each(from, to uint64, f func(pos uint64, v *uint64)) {
	for from < to {
		s := w.window.Slots(from, int(to-from))
		for i := range s {
			f(from+uint64(i), &s[i])
		}
		from += uint64(len(s))
	}
}
