//go:build invariants

package cmsgpool

import "testing"

func TestInvariantsPanicOnMisuse(t *testing.T) {
	p := New(4)
	b := p.Get()
	slots := b.Rights(2)
	slots[0], slots[1] = 3, 4
	p.Put(b)
	if slots[0] != -1 || slots[1] != -1 {
		t.Errorf("a kept view shows descriptors %v after Put, want -1", slots)
	}
	for name, misuse := range map[string]func(){
		"Put twice":                    func() { p.Put(b) },
		"Put twice, into another pool": func() { New(1).Put(b) },
		"Put twice, into a nil pool":   func() { (*Pool)(nil).Put(b) },
		"Raw after Put":                func() { b.Raw() },
		"Rights after Put":             func() { b.Rights(1) },
	} {
		if !panics(misuse) {
			t.Errorf("%s did not panic", name)
		}
	}
	if again := p.Get(); again != b || panics(func() { again.Raw() }) {
		t.Error("a buffer from Get is not usable")
	}
}
