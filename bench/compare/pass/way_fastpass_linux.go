package pass

import (
	"context"
	"os"
	"slices"

	"example.com/fdpass/bench/compare/role"
	"example.com/fdpass/bench/limit"
	"example.com/fdpass/fastpass"
)

// fastpassUse is how the library is used.
type fastpassUse struct {
	protocol fastpass.Protocol
	merging  bool // each descriptor is sent for itself, on a link with the defaults
	tagged   bool // each has a tag
}

// viaFastpass is this library.
func viaFastpass(name string, u fastpassUse) way {
	config := func(w work, d fastpass.Direction) *fastpass.Config {
		c := &fastpass.Config{Protocol: u.protocol, Direction: d}
		if !u.merging {
			c.Batch = w.Batch
			if !w.Give {
				c.Window = limit.Window
			}
		}
		return c
	}
	return way{
		name: name,
		sender: func(w work, _ []int) (sender, error) {
			p, err := inherited(config(w, fastpass.SendOnly))
			return &fastpassSender{p: p, tagged: u.tagged}, err
		},
		receiver: func(w work) (receiver, error) {
			p, err := inherited(config(w, fastpass.RecvOnly))
			const n = 8 * 253 // a receiver need not know how they are sent
			return &fastpassReceiver{p: p, ds: make([]fastpass.Desc, n), fds: make([]int, n)}, err
		},
		atOnce: func(w work) int { return w.Batch * w.messages() },
	}
}

var (
	viaBare          = viaFastpass("bare", fastpassUse{protocol: fastpass.Bare})
	viaFramed        = viaFastpass("framed", fastpassUse{protocol: fastpass.Framed})
	viaFramedTagged  = viaFastpass("framed tagged", fastpassUse{protocol: fastpass.Framed, tagged: true})
	viaBareMerging   = viaFastpass("bare merging", fastpassUse{protocol: fastpass.Bare, merging: true})
	viaFramedMerging = viaFastpass("framed merging", fastpassUse{protocol: fastpass.Framed, merging: true})
)

// inherited makes a Passer of the link.
func inherited(cfg *fastpass.Config) (*fastpass.Passer, error) {
	c, err := role.UnixConn(os.NewFile(link, "link"))
	if err != nil {
		return nil, err
	}
	return fastpass.New(c, cfg)
}

type fastpassSender struct {
	p      *fastpass.Passer
	tagged bool
	tag    uint64
	ds     []fastpass.Desc
	copies []int
}

func (s *fastpassSender) lend(fds []int) error { return s.pass(fds, true) }

func (s *fastpassSender) give(fds []int) (err error) {
	if s.copies, err = copies(s.copies, fds); err != nil {
		return err
	}
	return s.pass(s.copies, false)
}

func (s *fastpassSender) pass(fds []int, keep bool) error {
	if s.tagged {
		s.tag++
	}
	if len(fds) == 1 {
		return s.p.Send(fastpass.Desc{FD: fds[0], Keep: keep, Tag: s.tag})
	}
	s.ds = slices.Grow(s.ds[:0], len(fds))[:len(fds)]
	for i, fd := range fds {
		d := &s.ds[i]
		d.FD, d.Keep, d.Tag = fd, keep, s.tag
	}
	_, err := s.p.SendBatch(s.ds)
	return err
}

func (s *fastpassSender) flush() error { return s.p.Shutdown(context.Background()) }

type fastpassReceiver struct {
	p   *fastpass.Passer
	ds  []fastpass.Desc
	fds []int
}

func (r *fastpassReceiver) receive() ([]int, error) {
	n, err := r.p.RecvBatch(r.ds)
	if err != nil {
		return nil, err
	}
	fds := r.fds[:n]
	for i := range fds {
		fds[i] = r.ds[i].FD
	}
	return fds, nil
}

func (r *fastpassReceiver) close(fds []int) error {
	fastpass.CloseFDs(fds)
	return nil
}
