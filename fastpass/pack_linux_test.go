package fastpass

import (
	"fmt"
	"slices"
	"testing"

	"example.com/fdpass/cmsgpool"
	"example.com/fdpass/internal/wire"

	"golang.org/x/sys/unix"
)

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

// A Bare link closes copies after each full message, which it sends by itself; without copies to close messages share
// calls.
func TestABareLinkThatGivesAwayMakesACallForEachFullMessage(t *testing.T) {
	for _, keep := range []bool{true, false} {
		t.Run(fmt.Sprintf("keep %v", keep), func(t *testing.T) {
			const messages = 3
			p, f, err := Pair(&Config{Protocol: Bare, Direction: SendOnly, Network: "unixpacket", Window: 1 << 10})
			if err != nil {
				t.Fatal(err)
			}
			closeAfter(t, p)
			defer f.Close()
			ds := nulls(t, messages*cmsgpool.MaxFDs)
			if keep {
				for i := range ds {
					ds[i].Keep = true
				}
				defer CloseFDs(fdsOf(ds))
			}
			if _, err := p.SendBatch(ds); err != nil {
				t.Fatal(err)
			}
			want := uint64(1)
			if !keep {
				want = messages
			}
			if n := p.Stats().SendCalls; n != want {
				t.Errorf("%d calls, want %d", n, want)
			}
		})
	}
}
