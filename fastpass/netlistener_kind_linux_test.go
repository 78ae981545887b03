//go:build linux && !fdpass_portable

package fastpass

import (
	"testing"

	"golang.org/x/sys/unix"
)

// A descriptor that is no stream socket is closed, also if the number of its protocol is TCP's in another family.
func TestNetListenerTakesNoProtocolSixOfOtherKinds(t *testing.T) {
	for _, k := range []struct {
		name         string
		family, kind int
	}{{"netlink xfrm", unix.AF_NETLINK, unix.SOCK_RAW}, {"raw tcp", unix.AF_INET, unix.SOCK_RAW}} {
		t.Run(k.name, func(t *testing.T) {
			fd, err := unix.Socket(k.family, k.kind|unix.SOCK_CLOEXEC, 6)
			if err != nil {
				t.Skip(err)
			}
			p, q := link(t, nil, nil)
			l := q.NetListener()
			if err := p.Send(Desc{FD: fd}); err != nil {
				t.Fatal(err)
			}
			good, _ := connSocket(t, "tcp4")
			if err := p.Send(Desc{FD: good, Tag: 7}); err != nil {
				t.Fatal(err)
			}
			c, err := l.Accept()
			if err != nil {
				t.Fatal(err)
			}
			defer c.Close()
			if got := c.(*Conn); got.Tag() != 7 {
				t.Error("it is a Conn")
			}
		})
	}
}
