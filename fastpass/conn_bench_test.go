//go:build unix

package fastpass

import (
	"net"
	"os"
	"testing"
)

// BenchmarkConn: op=new is from the descriptor to the net.Conn, op=life from there to the closed descriptor with both
// addresses asked for, as net/http does. The descriptors are duplicates, so that closing does not measure TCP's end.
func BenchmarkConn(b *testing.B) {
	makers := []struct {
		name string
		make func(fd int) (net.Conn, error)
	}{
		{"Conn", func(fd int) (net.Conn, error) { return NewConn(Desc{FD: fd}) }},
		{"FileConn", connFromFile},
	}
	for _, m := range makers {
		b.Run("op=new/impl="+m.name, func(b *testing.B) { connBenchNew(b, m.make) })
	}
	for _, m := range makers {
		b.Run("op=life/impl="+m.name, func(b *testing.B) {
			connBenchNew(b, func(fd int) (net.Conn, error) {
				c, err := m.make(fd)
				if err == nil {
					_, _ = c.LocalAddr(), c.RemoteAddr()
					err = c.Close()
				}
				return nil, err
			})
		})
	}
	for _, network := range []string{"tcp4", "unix"} {
		for _, m := range makers {
			b.Run("op=echo/network="+network+"/impl="+m.name, func(b *testing.B) { connBenchEcho(b, network, m.make) })
		}
	}
}

// connFromFile is the standard library's way.
func connFromFile(fd int) (net.Conn, error) {
	file := os.NewFile(uintptr(fd), "socket")
	c, err := net.FileConn(file)
	if e := file.Close(); err == nil {
		err = e
	}
	return c, err
}

func connBenchNew(b *testing.B, newConn func(fd int) (net.Conn, error)) {
	sock, _ := connSocket(b, "tcp4")
	file := os.NewFile(uintptr(sock), "socket")
	defer file.Close()
	raw, err := file.SyscallConn()
	if err != nil {
		b.Fatal(err)
	}
	var fds [128]int
	var conns [len(fds)]net.Conn
	b.ReportAllocs()
	for left := b.N; left > 0; left -= len(fds) {
		n := min(left, len(fds))
		b.StopTimer()
		for i := range n {
			fds[i] = connDup(b, raw)
		}
		b.StartTimer()
		for i, fd := range fds[:n] {
			if conns[i], err = newConn(fd); err != nil {
				b.Fatal(err)
			}
		}
		b.StopTimer()
		for _, c := range conns[:n] {
			if c != nil {
				_ = c.Close()
			}
		}
		b.StartTimer()
	}
}

func connBenchEcho(b *testing.B, network string, newConn func(fd int) (net.Conn, error)) {
	sock, peer := connSocket(b, network)
	c, err := newConn(sock)
	if err != nil {
		b.Fatal(err)
	}
	defer c.Close()
	there, back := make([]byte, 128), make([]byte, 128)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := peer.Write(there); err != nil {
			b.Fatal(err)
		}
		if _, err := c.Read(back); err != nil {
			b.Fatal(err)
		}
		if _, err := c.Write(back); err != nil {
			b.Fatal(err)
		}
		if _, err := peer.Read(there); err != nil {
			b.Fatal(err)
		}
	}
}
