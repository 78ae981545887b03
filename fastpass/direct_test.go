//go:build unix

package fastpass

import (
	"errors"
	"slices"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

// expectInOrder receives descriptors and compares their inodes.
func expectInOrder(t *testing.T, p *Passer, want []uint64) {
	t.Helper()
	ds, err := recvN(p, len(want), 100)
	if err != nil {
		t.Error(err)
	}
	if got := inodes(t, ds); !slices.Equal(got, want[:len(got)]) {
		t.Errorf("inodes %v, want %v", got, want)
	}
	CloseFDs(fdsOf(ds))
}

func plainPipes(t *testing.T, n int) []Desc {
	ds := taggedPipes(t, 0, n)
	for i := range ds {
		ds[i].Tag = 0
	}
	return ds
}

// What the socket of a Bare link takes at once never comes into the window, and what is to become of it happens all the
// same.
func TestABareLinkQueuesOnlyWhatHasToWait(t *testing.T) {
	for name, c := range map[string]struct {
		n      int
		lent   func(i int) bool
		calls  uint64
		queued bool
		change func(p *Passer, ds []Desc)
	}{
		"one":                        {n: 1, calls: 1},
		"one that is lent":           {n: 1, calls: 1, lent: func(int) bool { return true }},
		"a full message":             {n: 253, calls: 1},
		"more copies than in a call": {n: 300, calls: 2},
		"copies behind what is lent": {n: 600, calls: 3, lent: func(i int) bool { return i < 300 }},
		"lent, a full call":          {n: fullCall, calls: 1, lent: func(int) bool { return true }},
		"lent, and one more":         {n: fullCall + 1, calls: 2, lent: func(int) bool { return true }},
		"every third is lent":        {n: 30, calls: 1, lent: func(i int) bool { return i%3 == 0 }},
		"behind one that is queued":  {n: 20, calls: 1, queued: true, change: func(p *Passer, ds []Desc) { must(p.Push(ds[0])) }},
		"with a payload":             {n: 20, calls: 1, queued: true, change: func(_ *Passer, ds []Desc) { ds[7].Payload = []byte("x") }},
		"while the socket is full":   {n: 20, calls: 0, queued: true, change: func(p *Passer, _ []Desc) { p.out.blocked.Store(true) }},
	} {
		t.Run(name, func(t *testing.T) {
			var told []int
			cfg := &Config{Protocol: Bare, Direction: SendOnly, MaxPayload: 8}
			cfg.OnSent = func(d Desc) {
				if told = append(told, d.FD); isOpen(d.FD) != d.Keep {
					t.Errorf("descriptor %d is open: %v, lent: %v", d.FD, !d.Keep, d.Keep)
				}
			}
			p, q := link(t, cfg, &Config{Protocol: Bare, Direction: RecvOnly, MaxPayload: 8})
			ds := plainPipes(t, c.n)
			for i := range ds {
				ds[i].Keep = c.lent != nil && c.lent(i)
			}
			want, rest := inodes(t, ds), ds
			if c.change != nil {
				c.change(p, ds)
				rest = ds[p.out.window.Len():]
			}
			if n, err := p.SendBatch(rest); n != len(rest) || err != nil {
				t.Fatal(n, err)
			}
			if got := p.out.window.Tail() > 0; got != c.queued {
				t.Errorf("%d were queued", p.out.window.Tail())
			}
			s := p.Stats()
			if name == "while the socket is full" {
				p.out.unblock()
			} else if s.SendCalls < c.calls || !c.queued && s.SendCalls != c.calls || s.Sent != uint64(c.n) || s.Delivered != s.Sent || s.Queued != 0 {
				t.Errorf("%+v, want %d calls for all %d", s, c.calls, c.n)
			}
			expectInOrder(t, q, want)
			if !slices.Equal(told, fdsOf(ds)) {
				t.Errorf("told of %v, want %v", told, fdsOf(ds))
			}
			for _, d := range ds {
				if d.Keep {
					unix.Close(d.FD)
				}
			}
		})
	}
}

// What does not go with one call is cut behind a full message, so that no small one travels in the middle.
func TestACallEndsWithAFullMessage(t *testing.T) {
	for _, c := range []struct{ n, most, batch, messages, want int }{
		{253, 253, 253, 8, 253},
		{254, 253, 253, 8, 253},
		{2024, 2024, 253, 8, 2024},
		{2025, 2024, 253, 8, 2024},
		{300, 253, 64, 32, 192},
		{253, 253, 64, 32, 253},
		{100, 253, 64, 1, 64},
		{64, 253, 64, 1, 64},
		{5, 253, 1, 3, 3},
		{10, 253, 300, 1, 10},
	} {
		p := new(Passer)
		o := &p.out
		o.p = p
		o.p.cfg.Messages, o.batch = c.messages, c.batch
		if got := len(o.firstCall(make([]Desc, c.n), c.most)); got != c.want {
			t.Errorf("%d, no more than %d, messages of %d, %d at once: %d, want %d", c.n, c.most, c.batch, c.messages, got, c.want)
		}
	}
}

// A message that the kernel refuses is found out in the window, wherever it comes in a batch.
func TestWhatIsRefusedOfABatchDoesNotDisturbTheOthers(t *testing.T) {
	for _, bad := range []int{0, 1, 100, 252, 253, 254, 299} {
		p, q := oneWay(t, Bare)
		ds := plainPipes(t, 300)
		want := inodes(t, ds)
		unix.Close(ds[bad].FD)
		n, err := p.SendBatch(ds)
		var of *DescError
		if n != len(ds) || !errors.As(err, &of) || of.FD != ds[bad].FD || !errors.Is(err, syscall.EBADF) {
			t.Errorf("number %d is not open: %d sent, %v", bad, n, err)
		}
		expectInOrder(t, q, slices.Delete(want, bad, bad+1))
		if s := p.Stats(); s.Sent != 299 || s.Delivered != 299 || s.Refused != 1 {
			t.Errorf("number %d is not open: %+v", bad, s)
		}
	}
}

// OnSent runs in the flusher's role: what it sends is queued, and sent by who has that role.
func TestOnSentMaySend(t *testing.T) {
	const n = 50
	ds := plainPipes(t, n)
	want := inodes(t, ds)
	var p *Passer
	cfg := &Config{Protocol: Bare, Direction: SendOnly}
	next := 1
	cfg.OnSent = func(Desc) {
		if next < n {
			next++
			if err := p.TrySend(ds[next-1]); err != nil {
				t.Error(err)
			}
		}
	}
	p, q := link(t, cfg, &Config{Protocol: Bare, Direction: RecvOnly})
	if err := p.Send(ds[0]); err != nil {
		t.Fatal(err)
	}
	expectInOrder(t, q, want)
}
