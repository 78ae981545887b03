//go:build linux && !fdpass_portable

package fastpass

import (
	"net"
	"os"
	"testing"

	"golang.org/x/sys/unix"
)

func init() { roles["send as nobody"] = sendAsNobody }

// sendAsNobody is a worker without privileges at the other end of its parent's socketpair.
func sendAsNobody() {
	must(unix.Setresgid(65534, 65534, 65534))
	must(unix.Setresuid(65534, 65534, 65534))
	uc, err := fileConn(os.NewFile(3, "link"))
	must(err)
	p, err := New(uc, nil)
	must(err)
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	must(err)
	client, err := net.Dial("tcp", ln.Addr().String())
	must(err)
	f, err := client.(*net.TCPConn).File()
	must(err)
	must(p.Send(Desc{FD: int(f.Fd())}))
	say("sent")
	<-p.Done()
}

// Who makes a socketpair is the peer that the kernel names at both its ends, whoever has the other one.
func TestAConnOfAnUnprivilegedWorkerIsNotBrief(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("needs root")
	}
	p, f, err := Pair(nil)
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	c := startChild(t, "send as nobody", f, nil)
	conn, err := p.NetListener().Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if conn.(*Conn).socket.stream.Brief {
		t.Errorf("a process of another user has the socket, and may lock it: peer %+v, own pid %d", p.Peer(), os.Getpid())
	}
	p.Close()
	_ = c.status()
}
