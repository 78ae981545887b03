package roundtrip

import (
	"errors"
	"net"
	"os"
	"time"

	"example.com/fdpass/fastpass"

	"golang.org/x/sys/unix"
	"gvisor.dev/gvisor/pkg/fdchannel"
)

const spin = 50 * time.Microsecond

var (
	viaFramed     = viaFastpass("framed", fastpass.Config{Protocol: fastpass.Framed})
	viaFramedSpin = viaFastpass("framed spin", fastpass.Config{Protocol: fastpass.Framed, Spin: spin})
	viaBare       = viaFastpass("bare", fastpass.Config{Protocol: fastpass.Bare})
	viaBareSpin   = viaFastpass("bare spin", fastpass.Config{Protocol: fastpass.Bare, Spin: spin})
)

// viaFastpass is this library, both directions over one link.
func viaFastpass(name string, cfg fastpass.Config) way {
	return way{name, func() (end, error) {
		c, err := unixConn()
		if err != nil {
			return nil, err
		}
		p, err := fastpass.New(c, &cfg)
		return fastpassEnd{p}, err
	}}
}

type fastpassEnd struct{ p *fastpass.Passer }

func (e fastpassEnd) give(fd int) error { return e.p.Send(fastpass.Desc{FD: fd}) }

func (e fastpassEnd) take() (int, error) {
	d, err := e.p.Recv()
	return d.FD, err
}

var viaFDChannel = way{"fdchannel", func() (end, error) { return fdchannelEnd{fdchannel.NewEndpoint(link)}, nil }}

type fdchannelEnd struct{ e *fdchannel.Endpoint }

func (e fdchannelEnd) give(fd int) error  { return errors.Join(e.e.SendFD(fd), unix.Close(fd)) }
func (e fdchannelEnd) take() (int, error) { return e.e.RecvFD() }

// viaNet is what the standard library offers.
var viaNet = way{"net", func() (end, error) {
	c, err := unixConn()
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

// unixConn returns the link as the standard library has it.
func unixConn() (*net.UnixConn, error) {
	f := os.NewFile(link, "link")
	c, err := net.FileConn(f)
	f.Close()
	if err != nil {
		return nil, err
	}
	return c.(*net.UnixConn), nil
}
