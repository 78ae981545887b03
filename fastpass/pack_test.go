//go:build unix

package fastpass

import (
	"testing"

	"golang.org/x/sys/unix"
)

func TestACallTakesAsManyMessagesAsGainAnything(t *testing.T) {
	for name, c := range map[string]struct {
		cfg       Config
		n         int // descriptors
		payload   int // bytes with each
		wantCalls uint64
	}{
		"one descriptor each":        {Config{Batch: 1}, 65, 0, 3},
		"not more than is allowed":   {Config{Batch: 1, Messages: 5}, 11, 0, 3},
		"eight each":                 {Config{Batch: 8}, 8 * 33, 0, 2},
		"full messages":              {Config{Messages: 64}, 9 * 253, 0, 2},
		"nearly full messages":       {Config{Batch: 252}, 9 * 252, 0, 2},
		"large payloads":             {Config{Batch: 1, MaxPayload: 64 << 10}, 3, 64 << 10, 2},
		"payloads of a page":         {Config{Batch: 1}, 16, 4 << 10, 1},
		"messages for the last few":  {Config{Batch: 1}, 33, 0, 2},
		"what fits into one message": {Config{}, 253, 0, 1},
	} {
		t.Run(name, func(t *testing.T) {
			c.cfg.Protocol, c.cfg.Direction = Bare, SendOnly
			receiver := c.cfg
			receiver.Direction = RecvOnly
			p, q := link(t, &c.cfg, &receiver)
			fd := null(t)
			defer unix.Close(fd)
			for i := range c.n {
				if err := p.Push(Desc{FD: fd, Keep: true, Payload: make([]byte, c.payload)}); err != nil {
					t.Fatal(i, err)
				}
			}
			if err := p.Flush(); err != nil {
				t.Fatal(err)
			}
			if s := p.Stats(); s.SendCalls != c.wantCalls || s.Sent != uint64(c.n) {
				t.Errorf("%d calls have sent %d of %d, want %d calls", s.SendCalls, s.Sent, c.n, c.wantCalls)
			}
			got := 0
			for ds := make([]Desc, 3000); got < c.n; {
				n, err := q.RecvBatch(ds)
				if err != nil {
					t.Fatal(err)
				}
				for _, d := range ds[:n] {
					unix.Close(d.FD)
				}
				got += n
			}
		})
	}
}

func TestAReceiverAsksForWhatMakesAFullCall(t *testing.T) {
	for name, c := range map[string]struct {
		messages int // at most
		target   int // room of the caller of Recv; -1: nobody has asked
		got      int // of it
		last     int // descriptors in the last message
		want     int
	}{
		"nobody has asked":                       {32, -1, 0, 253, 8},
		"nobody has asked, single descriptors":   {32, -1, 0, 1, 8},
		"nobody has asked, and fewer is allowed": {2, -1, 0, 1, 2},
		"one is wanted":                          {32, 1, 0, 253, 1},
		"one is wanted, of single ones":          {32, 1, 0, 1, 1},
		"many are wanted, full messages":         {32, 10000, 0, 253, 8},
		"many are wanted, single ones":           {32, 10000, 0, 1, 32},
		"more is allowed":                        {64, 10000, 0, 1, 64},
		"small messages":                         {32, 10000, 0, 100, 21},
		"as many as there is room for":           {32, 10, 0, 1, 10},
		"as many as there is room left for":      {32, 10, 6, 1, 4},
		"the last one need not fit":              {32, 10, 0, 4, 3},
	} {
		t.Run(name, func(t *testing.T) {
			in := inbox{p: &Passer{cfg: Config{Messages: c.messages}}, got: c.got, last: c.last}
			if c.target >= 0 {
				in.target = make([]Desc, c.target)
			}
			if got := in.messages(); got != c.want {
				t.Errorf("asks for %d messages, want %d", got, c.want)
			}
		})
	}
}
