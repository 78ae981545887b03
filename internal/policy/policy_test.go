//go:build unix

package policy

import (
	"fmt"
	"net"
	"net/netip"
	"os"
	"testing"

	"example.com/fdpass/fastpass"
	"example.com/fdpass/internal/leak"
	"example.com/fdpass/internal/loopback"
)

func TestMain(m *testing.M) { os.Exit(leak.Run(m)) }

func TestAPolicyIsFoundByItsNameInEitherManner(t *testing.T) {
	for name, want := range map[string]fastpass.Policy{
		"round-robin": fastpass.RoundRobin, "RoundRobin": fastpass.RoundRobin,
		"least-loaded": fastpass.LeastLoaded, "LeastLoaded": fastpass.LeastLoaded,
		"hash": fastpass.Hash, "Hash": fastpass.Hash,
		"": nil, "random": nil,
	} {
		if got, want := fmt.Sprintf("%#v", ByName(name)), fmt.Sprintf("%#v", want); got != want { // they may be functions
			t.Errorf("%q: %s, want %s", name, got, want)
		}
	}
	for _, name := range Names {
		if ByName(name) == nil {
			t.Errorf("there is no %s", name)
		}
	}
}

func TestAConnectionIsTaggedOnceAndThePolicyProperSeesNoTag(t *testing.T) {
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
	tagging := Tagging{fastpass.PolicyFunc(func(d *fastpass.Desc, _ uint64, _ []fastpass.Worker) int {
		if d.Tag != 0 {
			t.Errorf("the policy proper sees tag %x", d.Tag)
		}
		return 3
	})}
	raw.Control(func(fd uintptr) {
		label := loopback.Label(netip.MustParseAddrPort(client.LocalAddr().String()))
		for before, want := range map[uint64]uint64{0: label, 77: 77} {
			d := fastpass.Desc{FD: int(fd), Tag: before}
			if i := tagging.Pick(&d, 0, nil); i != 3 || d.Tag != want {
				t.Errorf("with tag %x before: worker %d, tag %x, want 3 and %x", before, i, d.Tag, want)
			}
		}
	})
}
