package fastpass

import (
	"fmt"
	"golang.org/x/sys/unix"
	"io"
	"net"
	"os"
	"testing"
	"time"
)

func pairOf(t testing.TB, a, b *Config) (*Passer, *Passer) {
	t.Helper()
	p, f, err := Pair(a)
	if err != nil {
		t.Fatal(err)
	}
	c, err := net.FileConn(f)
	if err != nil {
		t.Fatal(err)
	}
	f.Close()
	q, err := New(c.(*net.UnixConn), b)
	if err != nil {
		t.Fatal(err)
	}
	return p, q
}

func TestSmoke(t *testing.T) {
	for _, proto := range []Protocol{Framed, Bare} {
		for _, network := range []string{"unix", "unixpacket"} {
			for _, dir := range []Direction{Both, RecvOnly} {
				t.Run(fmt.Sprint(proto, network, dir), func(t *testing.T) {
					a := &Config{Protocol: proto, Network: network}
					b := &Config{Protocol: proto, Network: network, Direction: dir}
					p, q := pairOf(t, a, b)
					p.SetDeadline(time.Now().Add(3 * time.Second))
					q.SetDeadline(time.Now().Add(3 * time.Second))
					for i := range 10 {
						r, w, _ := os.Pipe()
						w.Close()
						d, err := dupFD(r)
						if err != nil {
							t.Fatal(err)
						}
						r.Close()
						if err := p.Send(Desc{FD: d, Tag: uint64(i)}); err != nil {
							t.Fatal(err)
						}
					}
					ds := make([]Desc, 4)
					for got := 0; got < 10; {
						n, err := q.RecvBatch(ds)
						if err != nil {
							t.Fatal(err, p.Stats(), q.Stats())
						}
						for _, d := range ds[:n] {
							if proto == Framed && d.Tag != uint64(got) {
								t.Fatalf("tag %d want %d", d.Tag, got)
							}
							got++
							CloseFDs([]int{d.FD})
						}
					}
					if err := p.Close(); err != nil {
						t.Fatal(err)
					}
					if _, err := q.Recv(); err != io.EOF {
						t.Fatal(err)
					}
					q.Close()
					if n := len(p.Undelivered()); n != 0 {
						t.Fatal("undelivered", n)
					}
				})
			}
		}
	}
}
func dupFD(f *os.File) (int, error) { return unix.FcntlInt(f.Fd(), unix.F_DUPFD_CLOEXEC, 0) }
