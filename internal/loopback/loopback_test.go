//go:build unix

package loopback

import (
	"net"
	"net/netip"
	"runtime"
	"testing"
	"time"
)

func TestTheLabelOfAConnectionIsItsClient(t *testing.T) {
	ln, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	client, err := net.Dial("tcp4", ln.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	c, err := ln.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	raw, err := c.(*net.TCPConn).SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	raw.Control(func(fd uintptr) {
		address := netip.MustParseAddrPort(client.LocalAddr().String())
		got := PeerLabel(int(fd))
		if want := Label(address); got != want {
			t.Errorf("%x, want %x", got, want)
		}
		if Address(got) != address {
			t.Errorf("label %x is %v, want %v", got, Address(got), address)
		}
		if n := testing.AllocsPerRun(100, func() { PeerLabel(int(fd)) }); n > 0 && runtime.GOOS == "linux" {
			t.Errorf("%v allocations, which count as the passing path's", n)
		}
	})
}

func TestNoClientAddressComesTwice(t *testing.T) {
	a := NewAddresses(time.Nanosecond)
	seen := map[netip.AddrPort]bool{}
	for range 3 * len(a.ips) {
		next := a.Next()
		if seen[next] {
			t.Fatalf("%v again", next)
		}
		seen[next] = true
	}
}
