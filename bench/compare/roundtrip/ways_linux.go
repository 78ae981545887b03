package roundtrip

import (
	"errors"
	"net"
	"os"
	"time"

	"example.com/fdpass/bench/compare/role"
	"example.com/fdpass/fastpass"

	"golang.org/x/sys/unix"
	"gvisor.dev/gvisor/pkg/fdchannel"
)

const spin = 50 * time.Microsecond

var (
	viaFramed        = viaOneLink("framed", fastpass.Framed, 0)
	viaFramedSpin    = viaOneLink("framed spin", fastpass.Framed, spin)
	viaFramedTwo     = viaTwoLinks("framed two", fastpass.Framed, 0)
	viaFramedTwoSpin = viaTwoLinks("framed two spin", fastpass.Framed, spin)
	viaBare          = viaOneLink("bare", fastpass.Bare, 0)
	viaBareSpin      = viaOneLink("bare spin", fastpass.Bare, spin)
	viaBareTwo       = viaTwoLinks("bare two", fastpass.Bare, 0)
	viaBareTwoSpin   = viaTwoLinks("bare two spin", fastpass.Bare, spin)
)

// viaOneLink is this library, both directions over one link.
func viaOneLink(name string, protocol fastpass.Protocol, spin time.Duration) way {
	return way{name, func(bool) (end, error) {
		p, err := passer(link, &fastpass.Config{Protocol: protocol, Spin: spin})
		return fastpassEnd{p, p}, err
	}}
}

// viaTwoLinks is this library, a link for each direction.
func viaTwoLinks(name string, protocol fastpass.Protocol, spin time.Duration) way {
	return way{name, func(pings bool) (end, error) {
		out, in := uintptr(link), uintptr(second)
		if !pings {
			out, in = second, link
		}
		there, err := passer(out, &fastpass.Config{Protocol: protocol, Direction: fastpass.SendOnly, Spin: spin})
		if err != nil {
			return nil, err
		}
		back, err := passer(in, &fastpass.Config{Protocol: protocol, Direction: fastpass.RecvOnly, Spin: spin})
		return fastpassEnd{there, back}, err
	}}
}

func passer(fd uintptr, cfg *fastpass.Config) (*fastpass.Passer, error) {
	c, err := role.UnixConn(os.NewFile(fd, "link"))
	if err != nil {
		return nil, err
	}
	return fastpass.New(c, cfg)
}

type fastpassEnd struct{ there, back *fastpass.Passer }

func (e fastpassEnd) give(fd int) error { return e.there.Send(fastpass.Desc{FD: fd}) }

func (e fastpassEnd) take() (int, error) {
	d, err := e.back.Recv()
	return d.FD, err
}

var viaFDChannel = way{"fdchannel", func(bool) (end, error) { return fdchannelEnd{fdchannel.NewEndpoint(link)}, nil }}

type fdchannelEnd struct{ e *fdchannel.Endpoint }

func (e fdchannelEnd) give(fd int) error  { return errors.Join(e.e.SendFD(fd), unix.Close(fd)) }
func (e fdchannelEnd) take() (int, error) { return e.e.RecvFD() }

// viaNet is what the standard library offers.
var viaNet = way{"net", func(bool) (end, error) {
	c, err := role.UnixConn(os.NewFile(link, "link"))
	return &netEnd{c: c, control: make([]byte, unix.CmsgSpace(4))}, err
}}

type netEnd struct {
	c       *net.UnixConn
	control []byte
}

func (e *netEnd) give(fd int) error {
	_, _, err := e.c.WriteMsgUnix([]byte{0}, unix.UnixRights(fd), nil)
	return errors.Join(err, unix.Close(fd))
}

func (e *netEnd) take() (int, error) {
	var data [1]byte
	_, n, _, _, err := e.c.ReadMsgUnix(data[:], e.control)
	if err != nil {
		return -1, err
	}
	messages, err := unix.ParseSocketControlMessage(e.control[:n])
	if err != nil {
		return -1, err
	}
	fds, err := unix.ParseUnixRights(&messages[0])
	if err != nil {
		return -1, err
	}
	return fds[0], nil
}
