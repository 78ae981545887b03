//go:build unix

package fastpass

import (
	"slices"
	"testing"

	"example.com/fdpass/cmsgpool"
	"example.com/fdpass/internal/wire"

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

// A message whose descriptors have neither tags nor payloads has no records, and everything arrives as it was sent.
func TestAMessageHasRecordsOnlyIfItNeedsThem(t *testing.T) {
	for name, c := range map[string]struct {
		ds      []Desc
		records bool
	}{
		"nothing to say of any":           {[]Desc{{}, {}, {}}, false},
		"of a single one":                 {[]Desc{{}}, false},
		"all lent":                        {[]Desc{{Keep: true}, {Keep: true}}, false},
		"all shared":                      {[]Desc{{Shared: true}, {Keep: true}}, false},
		"the first shared":                {[]Desc{{Keep: true}, {}, {}}, true},
		"the last shared":                 {[]Desc{{}, {}, {Shared: true}}, true},
		"a tag":                           {[]Desc{{}, {}, {Tag: 1}}, true},
		"a tag of high bits":              {[]Desc{{Tag: 1 << 63}, {}}, true},
		"a payload":                       {[]Desc{{}, {Payload: []byte("x")}, {}}, true},
		"an empty payload":                {[]Desc{{}, {Payload: []byte{}}}, false},
		"one that is refused":             {[]Desc{{}, {FD: -1, Tag: 7, Keep: true, Payload: []byte("x")}, {}}, false},
		"one that is refused comes first": {[]Desc{{FD: -1, Tag: 7}, {Keep: true}, {Keep: true}}, false},
		"as many as there can be":         {make([]Desc, cmsgpool.MaxFDs), false},
	} {
		for _, network := range []string{"unixpacket", "unix"} {
			t.Run(name+" over "+network, func(t *testing.T) {
				l := linkConfig{Network: network}
				p, q := link(t, l.config(), l.config())
				raw, r := rawLink(t, l)
				r.hello()
				for _, to := range []*Passer{p, raw} {
					ds, refused := slices.Clone(c.ds), false
					for i := range ds {
						if d := &ds[i]; d.FD < 0 {
							refused = true
						} else if d.FD = null(t); d.Keep {
							defer unix.Close(d.FD)
						}
					}
					if _, err := to.SendBatch(ds); (err != nil) != refused {
						t.Fatal(err)
					}
				}
				var h wire.Header
				var came []byte // HELLO and what follows it, which may come at once
				until(t, "the frame comes", func() bool {
					b, _ := r.recv()
					for came = append(came, b...); h.Parse(came) == nil && h.Type != wire.TypeData; {
						came = came[wire.HeaderSize+h.Length:]
					}
					return h.Type == wire.TypeData
				})
				if h.Plain() == c.records || h.Plain() != (h.Length == 0) {
					t.Errorf("%+v: records wanted: %v", h, c.records)
				}
				for i, want := range c.ds {
					if want.FD < 0 {
						continue
					}
					got, err := q.Recv()
					if err != nil {
						t.Fatal(err)
					}
					unix.Close(got.FD)
					if got.Tag != want.Tag || string(got.Payload) != string(want.Payload) || got.Shared != (want.Keep || want.Shared) {
						t.Errorf("number %d: %+v comes as %+v", i, want, got)
					}
				}
			})
		}
	}
}
