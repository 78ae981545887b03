//go:build unix

package fastpass

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

var connNetworks = []string{"tcp4", "tcp6", "unix"}

// connSocket is a connected socket as a worker receives it, and the peer's end of the connection.
func connSocket(t testing.TB, network string) (fd int, peer net.Conn) {
	t.Helper()
	ln := connListen(t, network)
	defer ln.Close()
	peer, err := net.Dial(ln.Addr().Network(), ln.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { peer.Close() })
	accepted, err := ln.Accept()
	if err != nil {
		t.Fatal(err)
	}
	return connDetach(t, accepted), peer
}

func connListen(t testing.TB, network string) net.Listener {
	t.Helper()
	addr := map[string]string{"tcp4": "127.0.0.1:0", "tcp6": "[::1]:0", "unix": filepath.Join(t.TempDir(), "s")}[network]
	ln, err := net.Listen(network, addr)
	if network == "tcp6" && err != nil {
		t.Skip("no IPv6 here: ", err)
	}
	if err != nil {
		t.Fatal(err)
	}
	return ln
}

// connDetach closes c and returns a descriptor of its connection that no Go type owns.
func connDetach(t testing.TB, c net.Conn) int {
	t.Helper()
	defer c.Close()
	raw, err := c.(syscall.Conn).SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	return connDup(t, raw)
}

func connDup(t testing.TB, raw interface{ Control(func(fd uintptr)) error }) (dup int) {
	t.Helper()
	var err error
	if e := raw.Control(func(fd uintptr) { dup, err = unix.FcntlInt(fd, unix.F_DUPFD_CLOEXEC, 3) }); e != nil || err != nil {
		t.Fatal(e, err)
	}
	return dup
}

func connNew(t testing.TB, d Desc) *Conn {
	t.Helper()
	c, err := NewConn(d)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

func connPair(t testing.TB, network string) (*Conn, net.Conn) {
	t.Helper()
	fd, peer := connSocket(t, network)
	return connNew(t, Desc{FD: fd}), peer
}

// connReset makes c's connection one that the peer has reset, and returns when c knows it.
func connReset(t testing.TB, c *Conn, peer net.Conn) {
	t.Helper()
	if err := peer.(*net.TCPConn).SetLinger(0); err != nil {
		t.Fatal(err)
	}
	peer.Close()
	if _, err := c.Read(make([]byte, 1)); !errors.Is(err, syscall.ECONNRESET) {
		t.Fatalf("read on a reset connection: %v", err)
	}
}

func connWantTimeout(t testing.TB, err error) {
	t.Helper()
	var ne net.Error
	if !errors.As(err, &ne) || !ne.Timeout() || !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("got %v, want a timeout", err)
	}
}

func connWantClosed(t testing.TB, err error) {
	t.Helper()
	var op *net.OpError
	if !errors.Is(err, net.ErrClosed) || !errors.As(err, &op) {
		t.Errorf("got %v, want a *net.OpError with net.ErrClosed", err)
	}
}

var connLongAgo = time.Unix(1, 0)

func TestConnBehavesLikeAConnectionOfPackageNet(t *testing.T) {
	subtests := []struct {
		name string
		run  func(t *testing.T, c *Conn, peer net.Conn)
	}{
		{"bytes arrive in order in both directions at once", connBothWays},
		{"several readers and writers share it", connManyUsers},
		{"a deadline in the past fails reads and writes at once", connPastDeadline},
		{"a deadline to come ends a blocked read", connFutureReadDeadline},
		{"a deadline to come ends a blocked write", connFutureWriteDeadline},
		{"moving the deadline into the past interrupts", connInterrupt},
		{"removing the deadline makes it work again", connDeadlineRemoved},
		{"close unblocks a read", connCloseUnblocksRead},
		{"close unblocks a write", connCloseUnblocksWrite},
		{"every method fails with net.ErrClosed after close", connClosed},
		{"half close ends one direction only", connHalfClose},
		{"an empty read returns at once", connEmptyRead},
		{"an empty write finds the connection broken", connEmptyWrite},
		{"close returns when the descriptor is closed", connCloseCloses},
		{"a raw write waits for a write", connRawWrite},
		{"methods race with each other and with close", connRace},
		{"the raw connection waits for readiness and fails once closed", connRaw},
	}
	for _, network := range connNetworks {
		for _, s := range subtests {
			t.Run(network+"/"+s.name, func(t *testing.T) {
				c, peer := connPair(t, network)
				s.run(t, c, peer)
			})
			t.Run(network+"/polled/"+s.name, func(t *testing.T) {
				c, peer := connPair(t, network)
				if _, err := c.socket.poll(nil); err != nil {
					t.Fatal(err)
				}
				s.run(t, c, peer)
			})
			if network == "tcp4" {
				t.Run(network+"/brief/"+s.name, func(t *testing.T) {
					c, peer := connBrief(t, network)
					s.run(t, c, peer)
				})
			}
		}
	}
}

// connBrief is connPair with calls of which the runtime is not told, where there are such.
func connBrief(t *testing.T, network string) (*Conn, net.Conn) {
	t.Helper()
	fd, peer := connSocket(t, network)
	c, err := newConn(Desc{FD: fd}, true)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c, peer
}

func connBothWays(t *testing.T, c *Conn, peer net.Conn) {
	data := make([]byte, 8<<20)
	for i := range data {
		data[i] = byte(i * i >> 7)
	}
	var wg sync.WaitGroup
	for _, end := range []interface {
		net.Conn
		CloseWrite() error
	}{c, peer.(interface {
		net.Conn
		CloseWrite() error
	})} {
		wg.Go(func() {
			if n, err := end.Write(data); n != len(data) || err != nil {
				t.Errorf("wrote %d: %v", n, err)
			}
			if err := end.CloseWrite(); err != nil {
				t.Error(err)
			}
		})
		wg.Go(func() {
			if got, err := io.ReadAll(end); err != nil || !bytes.Equal(got, data) {
				t.Errorf("read %d bytes: %v", len(got), err)
			}
		})
	}
	wg.Wait()
	if n, err := c.Read(make([]byte, 1)); n != 0 || err != io.EOF {
		t.Errorf("read at the end: %d, %v; want a bare io.EOF", n, err)
	}
}

func connManyUsers(t *testing.T, c *Conn, peer net.Conn) {
	const users, bytesEach = 4, 256
	var wg sync.WaitGroup
	for range users {
		wg.Go(func() {
			for range bytesEach {
				if _, err := peer.Write([]byte{1}); err != nil {
					t.Error(err)
				}
			}
		})
		wg.Go(func() {
			for range bytesEach {
				if n, err := c.Read(make([]byte, 1)); n != 1 || err != nil {
					t.Errorf("read %d: %v", n, err)
				}
				if n, err := c.Write(make([]byte, 1)); n != 1 || err != nil {
					t.Errorf("wrote %d: %v", n, err)
				}
			}
		})
	}
	wg.Go(func() {
		if _, err := io.ReadFull(peer, make([]byte, users*bytesEach)); err != nil {
			t.Error(err)
		}
	})
	wg.Wait()
}

func connPastDeadline(t *testing.T, c *Conn, peer net.Conn) {
	if _, err := peer.Write([]byte("there to be read")); err != nil {
		t.Fatal(err)
	}
	if err := c.SetDeadline(connLongAgo); err != nil {
		t.Fatal(err)
	}
	_, err := c.Read(make([]byte, 1))
	connWantTimeout(t, err)
	_, err = c.Write(make([]byte, 1))
	connWantTimeout(t, err)
	var op *net.OpError
	if !errors.As(err, &op) || op.Op != "write" || op.Net != c.LocalAddr().Network() ||
		op.Source.String() != c.LocalAddr().String() || op.Addr.String() != c.RemoteAddr().String() {
		t.Errorf("the error is %#v", err)
	}
}

func connFutureReadDeadline(t *testing.T, c *Conn, _ net.Conn) {
	for range 2 {
		if err := c.SetReadDeadline(time.Now().Add(time.Millisecond)); err != nil {
			t.Fatal(err)
		}
		for range 2 { // it stays passed
			_, err := c.Read(make([]byte, 1))
			connWantTimeout(t, err)
		}
	}
	if _, err := c.Write(make([]byte, 1)); err != nil {
		t.Errorf("a read deadline ended a write: %v", err)
	}
}

func connFutureWriteDeadline(t *testing.T, c *Conn, peer net.Conn) {
	if err := c.SetWriteDeadline(time.Now().Add(10 * time.Millisecond)); err != nil {
		t.Fatal(err)
	}
	total := 0
	for {
		n, err := c.Write(make([]byte, 1<<20))
		total += n
		if err != nil {
			connWantTimeout(t, err)
			break
		}
	}
	if _, err := io.CopyN(io.Discard, peer, int64(total)); err != nil {
		t.Errorf("%d bytes were reported written: %v", total, err)
	}
}

func connInterrupt(t *testing.T, c *Conn, _ net.Conn) {
	var wg sync.WaitGroup
	wg.Go(func() {
		_, err := c.Read(make([]byte, 1))
		connWantTimeout(t, err)
	})
	if err := c.SetReadDeadline(connLongAgo); err != nil {
		t.Fatal(err)
	}
	wg.Wait()
}

func connDeadlineRemoved(t *testing.T, c *Conn, peer net.Conn) {
	if err := c.SetDeadline(connLongAgo); err != nil {
		t.Fatal(err)
	}
	_, err := c.Read(make([]byte, 1))
	connWantTimeout(t, err)
	if err := c.SetDeadline(time.Time{}); err != nil {
		t.Fatal(err)
	}
	if _, err := c.Write([]byte("x")); err != nil {
		t.Fatal(err)
	}
	if _, err := io.CopyN(peer, peer, 1); err != nil {
		t.Fatal(err)
	}
	if _, err := c.Read(make([]byte, 1)); err != nil {
		t.Fatal(err)
	}
}

func connCloseUnblocksRead(t *testing.T, c *Conn, _ net.Conn) {
	var wg sync.WaitGroup
	wg.Go(func() {
		_, err := c.Read(make([]byte, 1))
		connWantClosed(t, err)
	})
	if err := c.Close(); err != nil {
		t.Error(err)
	}
	wg.Wait()
}

func connCloseUnblocksWrite(t *testing.T, c *Conn, peer net.Conn) {
	var wg sync.WaitGroup
	wg.Go(func() {
		for {
			if _, err := c.Write(make([]byte, 1<<20)); err != nil {
				connWantClosed(t, err)
				return
			}
		}
	})
	if _, err := peer.Read(make([]byte, 1)); err != nil { // the writer is at work
		t.Error(err)
	}
	if err := c.Close(); err != nil {
		t.Error(err)
	}
	wg.Wait()
}

func connClosed(t *testing.T, c *Conn, _ net.Conn) {
	raw, err := c.SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Close(); err != nil {
		t.Fatal(err)
	}
	for name, call := range map[string]func() error{
		"Read":             func() error { _, err := c.Read(make([]byte, 1)); return err },
		"empty Read":       func() error { _, err := c.Read(nil); return err },
		"Write":            func() error { _, err := c.Write(make([]byte, 1)); return err },
		"SetDeadline":      func() error { return c.SetDeadline(time.Now()) },
		"SetReadDeadline":  func() error { return c.SetReadDeadline(time.Now()) },
		"SetWriteDeadline": func() error { return c.SetWriteDeadline(time.Now()) },
		"CloseRead":        c.CloseRead,
		"CloseWrite":       c.CloseWrite,
		"Close":            c.Close,
		"Std":              func() error { _, err := c.Std(); return err },
		"Control":          func() error { return raw.Control(func(uintptr) {}) },
		"raw Read":         func() error { return raw.Read(isReady) },
		"raw Write":        func() error { return raw.Write(isReady) },
	} {
		t.Run(name, func(t *testing.T) { connWantClosed(t, call()) })
	}
}

func connHalfClose(t *testing.T, c *Conn, peer net.Conn) {
	if err := c.CloseWrite(); err != nil {
		t.Fatal(err)
	}
	if _, err := peer.Read(make([]byte, 1)); err != io.EOF {
		t.Errorf("the peer reads %v, want EOF", err)
	}
	if _, err := c.Write(make([]byte, 1)); !errors.Is(err, syscall.EPIPE) {
		t.Errorf("write after CloseWrite: %v, want EPIPE", err)
	}
	if _, err := peer.Write([]byte("x")); err != nil {
		t.Fatal(err)
	}
	if _, err := c.Read(make([]byte, 1)); err != nil {
		t.Errorf("read after CloseWrite: %v", err)
	}
	if err := c.CloseRead(); err != nil {
		t.Fatal(err)
	}
	if _, err := c.Read(make([]byte, 1)); err != io.EOF {
		t.Errorf("read after CloseRead: %v, want EOF", err)
	}
}

func connEmptyRead(t *testing.T, c *Conn, _ net.Conn) {
	if n, err := c.Read(nil); n != 0 || err != nil {
		t.Errorf("got %d, %v", n, err)
	}
}

func connEmptyWrite(t *testing.T, c *Conn, _ net.Conn) {
	if n, err := c.Write(nil); n != 0 || err != nil {
		t.Errorf("got %d, %v", n, err)
	}
	if err := c.SetReadDeadline(connLongAgo); err != nil {
		t.Fatal(err)
	}
	if n, err := c.Read(nil); n != 0 || err != nil {
		t.Errorf("an empty read behind its deadline: %d, %v", n, err)
	}
	if err := c.CloseWrite(); err != nil {
		t.Fatal(err)
	}
	if _, err := c.Write(nil); !errors.Is(err, syscall.EPIPE) {
		t.Errorf("after CloseWrite: %v, want EPIPE", err)
	}
}

func connCloseCloses(t *testing.T, c *Conn, peer net.Conn) {
	var wg sync.WaitGroup
	begun := make(chan struct{})
	wg.Go(func() {
		_ = c.socket.Control(func(uintptr) {
			close(begun)
			time.Sleep(10 * time.Millisecond)
		})
	})
	wg.Go(func() {
		_, err := c.Read(make([]byte, 1))
		connWantClosed(t, err)
	})
	<-begun
	if err := c.Close(); err != nil {
		t.Error(err)
	}
	if isOpen(c.socket.stream.FD) {
		t.Error("Close has returned, and the descriptor is open")
	}
	if _, err := peer.Read(make([]byte, 1)); err != io.EOF {
		t.Errorf("the peer reads %v", err)
	}
	wg.Wait()
}

func connRawWrite(t *testing.T, c *Conn, peer net.Conn) {
	const long = 4 << 20
	var wg sync.WaitGroup
	begun := make(chan struct{})
	wg.Go(func() {
		close(begun)
		if n, err := c.Write(make([]byte, long)); n != long || err != nil {
			t.Errorf("wrote %d: %v", n, err)
		}
	})
	wg.Go(func() {
		<-begun
		raw, err := c.SyscallConn()
		if err == nil {
			err = raw.Write(func(fd uintptr) bool {
				_, err := syscall.Write(int(fd), []byte{1})
				return err != syscall.EAGAIN
			})
		}
		if err != nil {
			t.Error(err)
		}
	})
	all := make([]byte, long+1)
	if _, err := io.ReadFull(peer, all); err != nil {
		t.Fatal(err)
	}
	if i := bytes.IndexByte(all, 1); i != 0 && i != long {
		t.Errorf("the raw write got into the other one, at %d", i)
	}
	wg.Wait()
}

func connRace(t *testing.T, c *Conn, peer net.Conn) {
	var wg sync.WaitGroup
	wg.Go(func() { _, _ = io.Copy(peer, peer) })
	buf := make([]byte, 64)
	for _, call := range []func(){
		func() { _, _ = c.Write(buf) },
		func() { _, _ = c.Read(make([]byte, 8)) },
		func() { _ = c.SetDeadline(time.Now().Add(time.Hour)) },
		func() { _ = c.LocalAddr().String() + c.RemoteAddr().String() },
		func() { _, _ = c.SyscallConn() },
		func() { _ = c.Tag() },
	} {
		for range 2 {
			wg.Go(func() {
				for range 50 {
					call()
				}
			})
		}
	}
	if _, err := io.ReadFull(c, make([]byte, 1)); err != nil {
		t.Error(err)
	}
	if err := c.Close(); err != nil {
		t.Error(err)
	}
	wg.Wait()
}

func connRaw(t *testing.T, c *Conn, peer net.Conn) {
	raw, err := c.SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	wg.Go(func() {
		var n int
		var err error
		e := raw.Read(func(fd uintptr) bool {
			n, err = syscall.Read(int(fd), make([]byte, 8))
			return err != syscall.EAGAIN
		})
		if e != nil || err != nil || n != 4 {
			t.Errorf("raw read: %d, %v, %v", n, err, e)
		}
	})
	if _, err := peer.Write([]byte("ping")); err != nil {
		t.Error(err)
	}
	wg.Wait()
}

func TestConnReadsThePayloadBeforeTheSocket(t *testing.T) {
	for _, size := range []int{1, 3, 7, 100} {
		t.Run(fmt.Sprintf("%d bytes a time", size), func(t *testing.T) {
			fd, peer := connSocket(t, "unix")
			c := connNew(t, Desc{FD: fd, Tag: 42, Payload: []byte("payload ")})
			if c.Tag() != 42 {
				t.Errorf("tag %d", c.Tag())
			}
			if _, err := io.WriteString(peer, "socket"); err != nil {
				t.Fatal(err)
			}
			peer.Close()
			var got []string
			for buf := make([]byte, size); ; {
				n, err := c.Read(buf)
				if err == io.EOF {
					break
				}
				if err != nil || n == 0 {
					t.Fatalf("read %d: %v", n, err)
				}
				got = append(got, string(buf[:n]))
			}
			if all := strings.Join(got, ""); all != "payload socket" {
				t.Errorf("read %q", all)
			}
			if size > 8 && got[0] != "payload " {
				t.Errorf("the first read gave %q: it waited for the socket or mixed the two", got[0])
			}
		})
	}
}

func TestConnHoldsThePayloadToDeadlineAndClose(t *testing.T) {
	fd, _ := connSocket(t, "unix")
	c := connNew(t, Desc{FD: fd, Payload: []byte("payload")})
	if n, err := c.Read(nil); n != 0 || err != nil {
		t.Errorf("empty read: %d, %v", n, err)
	}
	if err := c.SetReadDeadline(connLongAgo); err != nil {
		t.Fatal(err)
	}
	_, err := c.Read(make([]byte, 1))
	connWantTimeout(t, err)
	if err := c.SetReadDeadline(time.Time{}); err != nil {
		t.Fatal(err)
	}
	if err := c.CloseRead(); err != nil {
		t.Fatal(err)
	}
	if n, err := c.Read(make([]byte, 3)); n != 3 || err != nil {
		t.Errorf("read after CloseRead: %d, %v", n, err)
	}
	c.Close()
	_, err = c.Read(make([]byte, 1))
	connWantClosed(t, err)
}

func TestConnGivesEachPayloadByteToOneReader(t *testing.T) {
	fd, peer := connSocket(t, "unix")
	payload := make([]byte, 1000)
	for i := range payload {
		payload[i] = byte(i % 250)
	}
	c := connNew(t, Desc{FD: fd, Payload: payload})
	peer.Close()
	var mu sync.Mutex
	var seen [250]int
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			for b := make([]byte, 1); ; {
				if _, err := c.Read(b); err == io.EOF {
					return
				} else if err != nil {
					t.Error(err)
					return
				}
				mu.Lock()
				seen[b[0]]++
				mu.Unlock()
			}
		})
	}
	wg.Wait()
	for b, n := range seen {
		if n != 4 {
			t.Errorf("byte %d came %d times, want 4", b, n)
		}
	}
}

func TestConnHasTheAddressesOfPackageNet(t *testing.T) {
	check := func(t *testing.T, fd int, want ...net.Addr) {
		c := connNew(t, Desc{FD: fd})
		var wg sync.WaitGroup
		for range 4 {
			wg.Go(func() {
				for i, got := range []net.Addr{c.LocalAddr(), c.RemoteAddr()} {
					if fmt.Sprintf("%T %[1]v %s", got, got.Network()) != fmt.Sprintf("%T %[1]v %s", want[i], want[i].Network()) {
						t.Errorf("got %#v, want %#v", got, want[i])
					}
				}
			})
		}
		wg.Wait()
		local := c.LocalAddr()
		c.Close()
		if c.LocalAddr() != local {
			t.Error("the address is forgotten after Close")
		}
	}
	for _, network := range append([]string{"link-local"}, connNetworks...) {
		t.Run(network, func(t *testing.T) {
			var ln net.Listener
			if network == "link-local" {
				ln = linkLocalListener(t)
			} else {
				ln = connListen(t, network)
			}
			defer ln.Close()
			peer, err := net.Dial(ln.Addr().Network(), ln.Addr().String())
			if err != nil {
				t.Fatal(err)
			}
			accepted, err := ln.Accept()
			if err != nil {
				t.Fatal(err)
			}
			for _, end := range []net.Conn{peer, accepted} {
				local, remote := end.LocalAddr(), end.RemoteAddr()
				check(t, connDetach(t, end), local, remote)
			}
		})
	}
	t.Run("socketpair", func(t *testing.T) {
		fds, err := syscall.Socketpair(syscall.AF_UNIX, syscall.SOCK_STREAM, 0)
		if err != nil {
			t.Fatal(err)
		}
		other := os.NewFile(uintptr(fds[1]), "other end")
		defer other.Close()
		std, err := net.FileConn(other)
		if err != nil {
			t.Fatal(err)
		}
		defer std.Close()
		check(t, fds[0], std.LocalAddr(), std.RemoteAddr())
	})
}

// linkLocalListener listens at an address that has a zone.
func linkLocalListener(t *testing.T) net.Listener {
	t.Helper()
	ifis, err := net.Interfaces()
	if err != nil {
		t.Fatal(err)
	}
	var cfg net.ListenConfig
	cfg.SetMultipathTCP(false) // with it Linux names no zone
	for _, ifi := range ifis {
		addrs, _ := ifi.Addrs()
		for _, a := range addrs {
			if ip, ok := a.(*net.IPNet); ok && ip.IP.To4() == nil && ip.IP.IsLinkLocalUnicast() {
				at := net.TCPAddr{IP: ip.IP, Zone: ifi.Name}
				if ln, err := cfg.Listen(t.Context(), "tcp6", at.String()); err == nil {
					return ln
				}
			}
		}
	}
	t.Skip("no interface has a link-local address of IPv6")
	return nil
}

func TestAZoneHasTheNameOfItsInterface(t *testing.T) {
	ifis, err := net.Interfaces()
	if err != nil || len(ifis) == 0 {
		t.Skip("no interfaces: ", err)
	}
	for id, want := range map[int]string{0: "", ifis[0].Index: ifis[0].Name, 1 << 30: "1073741824"} {
		if got := zoneName(id); got != want {
			t.Errorf("zone %d: got %q, want %q", id, got, want)
		}
	}
}

func TestConnAddressesAreNeverNil(t *testing.T) {
	t.Run("closed before the question", func(t *testing.T) {
		c, _ := connPair(t, "tcp4")
		c.Close()
		if l, r := c.LocalAddr().String(), c.RemoteAddr().String(); l != ":0" || r != ":0" {
			t.Errorf("got %q and %q", l, r)
		}
	})
	t.Run("reset before the question", func(t *testing.T) {
		c, peer := connPair(t, "tcp4")
		want := peer.RemoteAddr().String()
		connReset(t, c, peer)
		if l, r := c.LocalAddr().String(), c.RemoteAddr(); l != want || r.(*net.TCPAddr) == nil {
			t.Errorf("got %q and %v", l, r)
		}
	})
	t.Run("unix closed by the peer", func(t *testing.T) {
		c, peer := connPair(t, "unix")
		peer.Close()
		if _, ok := c.RemoteAddr().(*net.UnixAddr); !ok {
			t.Errorf("got %T", c.RemoteAddr())
		}
	})
}

func TestConnWriteOnAResetConnectionReturnsEPIPE(t *testing.T) {
	c, peer := connPair(t, "tcp4")
	connReset(t, c, peer)
	_, err := c.Write([]byte("x"))
	var op *net.OpError
	if !errors.Is(err, syscall.EPIPE) || !errors.As(err, &op) {
		t.Errorf("got %v, want a *net.OpError with EPIPE", err)
	}
}

// The os package raises SIGPIPE for descriptors 1 and 2, so only a process of its own can show that Conn does not.
func TestConnAtTheNumberOfStandardOutputSurvivesAReset(t *testing.T) {
	const env = "FASTPASS_TEST_CONN_FD"
	if os.Getenv(env) != "" {
		connStdioChild(os.Getenv(env) == "2")
	}
	for _, fd := range []string{"1", "2"} {
		sock, peer := connSocket(t, "tcp4")
		file := os.NewFile(uintptr(sock), "socket")
		cmd := itself("-test.run=^" + t.Name() + "$")
		cmd.Env = append(os.Environ(), env+"="+fd)
		if fd == "1" {
			cmd.Stdout = file
		} else {
			cmd.Stderr = file
		}
		err := cmd.Start()
		file.Close()
		if err != nil {
			t.Fatal(err)
		}
		if _, err := io.ReadFull(peer, make([]byte, 1)); err != nil {
			t.Errorf("the child says nothing: %v", err)
		}
		if err := peer.(*net.TCPConn).SetLinger(0); err != nil {
			t.Error(err)
		}
		peer.Close()
		if err := cmd.Wait(); err != nil {
			t.Errorf("descriptor %s: %v", fd, err)
		}
	}
}

func connStdioChild(stderr bool) {
	fd := 1
	if stderr {
		fd = 2
	}
	c, err := NewConn(Desc{FD: fd})
	if err != nil {
		os.Exit(10)
	}
	if _, err = c.Write([]byte("x")); err != nil {
		os.Exit(11)
	}
	if _, err = c.Read(make([]byte, 1)); !errors.Is(err, syscall.ECONNRESET) {
		os.Exit(12)
	}
	if _, err = c.Write([]byte("x")); !errors.Is(err, syscall.EPIPE) {
		os.Exit(13)
	}
	if _, err = unix.FcntlInt(uintptr(fd), syscall.F_GETFD, 0); err != syscall.EBADF {
		os.Exit(14)
	}
	os.Exit(0)
}

func TestConnTakesADescriptorInBlockingMode(t *testing.T) {
	fd, peer := connSocket(t, "tcp4")
	if err := syscall.SetNonblock(fd, false); err != nil {
		t.Fatal(err)
	}
	c := connNew(t, Desc{FD: fd})
	if err := c.SetReadDeadline(time.Now().Add(time.Millisecond)); err != nil {
		t.Fatal(err)
	}
	_, err := c.Read(make([]byte, 1))
	connWantTimeout(t, err)
	if _, err := c.Write([]byte("x")); err != nil {
		t.Fatal(err)
	}
	if _, err := peer.Read(make([]byte, 1)); err != nil {
		t.Fatal(err)
	}
}

func TestNewConnRefusesWhatIsNoStreamSocketAndLeavesItOpen(t *testing.T) {
	pipe := func() (fds [2]int, err error) { err = syscall.Pipe(fds[:]); return }
	pair := func(typ int) func() ([2]int, error) {
		return func() ([2]int, error) { return syscall.Socketpair(syscall.AF_UNIX, typ, 0) }
	}
	null := func() (fds [2]int, err error) {
		for i := range fds {
			if fds[i], err = syscall.Open(os.DevNull, syscall.O_RDWR, 0); err != nil {
				return fds, err
			}
		}
		return fds, nil
	}
	for name, open := range map[string]func() ([2]int, error){
		"pipe": pipe, "device": null, "datagram socket": pair(syscall.SOCK_DGRAM),
	} {
		t.Run(name, func(t *testing.T) {
			fds, err := open()
			if err != nil {
				t.Fatal(err)
			}
			defer func() { _ = syscall.Close(fds[0]); _ = syscall.Close(fds[1]) }()
			_, err = NewConn(Desc{FD: fds[0]})
			var de *DescError
			if !errors.As(err, &de) || de.FD != fds[0] {
				t.Errorf("got %v, want a DescError", err)
			}
			runtime.GC()
			flags, err := unix.FcntlInt(uintptr(fds[0]), syscall.F_GETFL, 0)
			if err != nil || flags&syscall.O_NONBLOCK != 0 {
				t.Errorf("it is not as it was: flags %#x, %v", flags, err)
			}
		})
	}
	if _, err := NewConn(Desc{FD: -1}); !errors.Is(err, syscall.EBADF) {
		t.Errorf("FD -1: %v, want EBADF", err)
	}
}

// Nothing of a short connection has to wait: its bytes are there, and so is the room for the answer.
func TestConnIsNotPolledBeforeSomebodyHasToWait(t *testing.T) {
	for _, network := range connNetworks {
		t.Run(network, func(t *testing.T) {
			c, peer := connPair(t, network)
			want := func(polled bool, after string) {
				t.Helper()
				if got := c.socket.polled.Load() != nil; got != polled {
					t.Errorf("polled after %s: %v", after, got)
				}
			}
			if _, err := peer.Write([]byte("question")); err != nil {
				t.Fatal(err)
			}
			awaitReadable(t, c)
			if n, err := c.Read(make([]byte, 99)); n != 8 || err != nil {
				t.Fatalf("read %d: %v", n, err)
			}
			if _, err := c.Write([]byte("answer")); err != nil {
				t.Fatal(err)
			}
			want(false, "a question and its answer")
			if err := c.SetReadDeadline(connLongAgo); err != nil { // as net/http ends a read that it has begun in vain
				t.Fatal(err)
			}
			_, err := c.Read(make([]byte, 1))
			connWantTimeout(t, err)
			want(false, "a read that may not wait")
			if err := c.SetReadDeadline(time.Time{}); err != nil {
				t.Fatal(err)
			}
			read := make(chan error, 1)
			go func() {
				_, err := c.Read(make([]byte, 1))
				read <- err
			}()
			until(t, "a read that waits has it polled", func() bool { return c.socket.polled.Load() != nil })
			if _, err := peer.Write([]byte("!")); err != nil {
				t.Fatal(err)
			}
			soon(t, "the read returns", func() {
				if err := <-read; err != nil {
					t.Error(err)
				}
			})
		})
	}
}

// awaitReadable returns when c has something to read, without having it polled.
func awaitReadable(t *testing.T, c *Conn) {
	t.Helper()
	err := c.socket.Control(func(fd uintptr) {
		n, err := unix.Poll([]unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}, 60_000)
		if n != 1 || err != nil {
			t.Fatalf("poll: %d, %v", n, err)
		}
	})
	if err != nil {
		t.Fatal(err)
	}
}

func TestConnThatCannotBePolledSaysSoWhenItHasToWait(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("only epoll refuses a descriptor that it has already")
	}
	fd, peer := connSocket(t, "tcp4")
	neverClosed = append(neverClosed, os.NewFile(uintptr(fd), "socket"))
	c := connNew(t, Desc{FD: fd})
	if _, err := c.Write([]byte("x")); err != nil {
		t.Error(err)
	}
	if _, err := peer.Read(make([]byte, 1)); err != nil {
		t.Error(err)
	}
	for range 2 {
		_, err := c.Read(make([]byte, 1))
		if err == nil || !strings.Contains(err.Error(), fmt.Sprint("cannot poll descriptor ", fd)) {
			t.Errorf("got %v", err)
		}
		if ne := net.Error(nil); errors.As(err, &ne) && ne.Timeout() {
			t.Errorf("%v is said to be a timeout", err)
		}
	}
	runtime.GC() // no finalizer may close it
	runtime.GC()
	if _, err := c.Write([]byte("x")); err != nil {
		t.Error(err)
	}
}

// neverClosed are files whose descriptors somebody else closes: their finalizers would close what has the numbers then.
var neverClosed []*os.File

// Other processes have the same open file, and so the same mode.
func TestConnIsPolledAlthoughAnotherProcessHasMadeItBlock(t *testing.T) {
	fd, peer := connSocket(t, "tcp4")
	c := connNew(t, Desc{FD: fd})
	if err := syscall.SetNonblock(fd, false); err != nil {
		t.Fatal(err)
	}
	std, err := c.Std()
	if err != nil {
		t.Fatal(err)
	}
	defer std.Close()
	if err := std.SetReadDeadline(time.Now().Add(time.Millisecond)); err != nil {
		t.Fatal(err)
	}
	_, err = std.Read(make([]byte, 1))
	connWantTimeout(t, err)
	if _, err := peer.Write([]byte("x")); err != nil {
		t.Error(err)
	}
}

// A deadline that has passed holds at every moment, also while the socket is given to the poller.
func TestConnHoldsToADeadlineWhileItIsGivenToThePoller(t *testing.T) {
	for i := range scaled(3000) {
		fds, err := syscall.Socketpair(syscall.AF_UNIX, syscall.SOCK_STREAM, 0)
		if err != nil {
			t.Fatal(err)
		}
		c := connNew(t, Desc{FD: fds[0]})
		_, _ = syscall.Write(fds[1], []byte("there to be read"))
		if err := c.SetReadDeadline(connLongAgo); err != nil {
			t.Fatal(err)
		}
		var wg sync.WaitGroup
		wg.Go(func() { _ = c.socket.rawWrite(isReady) })
		for c.socket.polled.Load() == nil {
			runtime.Gosched()
		}
		if _, err := c.Read(make([]byte, 1)); !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Fatalf("round %d: %v", i, err)
		}
		wg.Wait()
		c.Close()
		_ = syscall.Close(fds[1])
	}
}

// The payload's deadline is the socket's, also once that is polled.
func TestConnHoldsThePayloadToADeadlineSetWhenItIsPolled(t *testing.T) {
	fd, _ := connSocket(t, "unix")
	c := connNew(t, Desc{FD: fd, Payload: []byte("payload")})
	if _, err := c.socket.poll(nil); err != nil {
		t.Fatal(err)
	}
	if err := c.SetReadDeadline(connLongAgo); err != nil {
		t.Fatal(err)
	}
	_, err := c.Read(make([]byte, 1))
	connWantTimeout(t, err)
}

func TestConnThatNobodyReachesIsClosed(t *testing.T) {
	for _, polled := range []bool{false, true} {
		t.Run(fmt.Sprint("polled ", polled), func(t *testing.T) {
			fd, peer := connSocket(t, "unix")
			func() {
				c, err := NewConn(Desc{FD: fd})
				if err == nil && polled {
					_, err = c.socket.poll(nil)
				}
				if err != nil {
					t.Fatal(err)
				}
			}()
			ended := make(chan error, 1)
			go func() {
				_, err := peer.Read(make([]byte, 1))
				ended <- err
			}()
			for deadline := time.Now().Add(time.Minute); ; {
				runtime.GC()
				select {
				case err := <-ended:
					if err != io.EOF {
						t.Errorf("the peer reads %v", err)
					}
					return
				case <-time.After(time.Millisecond):
				}
				if time.Now().After(deadline) {
					t.Fatal("it is still open")
				}
			}
		})
	}
}

// Whoever is at work in a Conn while it is closed must not meet the file that gets its number next.
func TestConnIsNotUsedOnceItIsClosed(t *testing.T) {
	for i := range scaled(2000) {
		fds, err := syscall.Socketpair(syscall.AF_UNIX, syscall.SOCK_STREAM, 0)
		if err != nil {
			t.Fatal(err)
		}
		c := connNew(t, Desc{FD: fds[0], Shared: i%4 == 0})
		if i%3 == 0 {
			if _, err := c.socket.poll(nil); err != nil {
				t.Fatal(err)
			}
		}
		var users sync.WaitGroup
		for _, use := range []func() error{
			func() error { _, err := c.Write([]byte("x")); return err },
			func() error { _, err := c.Read(make([]byte, 1)); return err },
			func() error {
				return c.socket.Control(func(fd uintptr) {
					if _, err := syscall.GetsockoptInt(int(fd), syscall.SOL_SOCKET, syscall.SO_TYPE); err != nil {
						t.Errorf("round %d: descriptor %d is somebody else's: %v", i, fd, err)
					}
				})
			},
		} {
			users.Go(func() {
				for use() == nil {
				}
			})
		}
		_, _ = syscall.Write(fds[1], []byte("read this")) // and wait for more
		runtime.Gosched()
		c.Close()
		var pipe [2]int
		if err := syscall.Pipe(pipe[:]); err != nil {
			t.Fatal(err)
		}
		users.Wait()
		if err := syscall.SetNonblock(pipe[0], true); err != nil {
			t.Fatal(err)
		}
		if n, err := syscall.Read(pipe[0], make([]byte, 1)); n > 0 || err != syscall.EAGAIN {
			t.Fatalf("round %d: somebody wrote into the pipe: %d, %v", i, n, err)
		}
		for _, fd := range []int{pipe[0], pipe[1], fds[1]} {
			_ = syscall.Close(fd)
		}
	}
}

func TestConnClosesASharedConnectionForEverybody(t *testing.T) {
	for _, network := range connNetworks {
		t.Run(network, func(t *testing.T) {
			fd, peer := connSocket(t, network)
			c := connNew(t, Desc{FD: fd, Shared: true})
			copied := connDup(t, &c.socket)
			defer syscall.Close(copied)
			var wg sync.WaitGroup
			wg.Go(func() {
				_, err := c.Read(make([]byte, 1))
				connWantClosed(t, err) // not the EOF of the shutdown
			})
			if err := c.Close(); err != nil {
				t.Error(err)
			}
			_ = peer.SetReadDeadline(time.Now().Add(time.Minute)) // rather than hang
			if _, err := peer.Read(make([]byte, 1)); err != io.EOF {
				t.Errorf("the peer reads %v although the connection is closed", err)
			}
			wg.Wait()
		})
	}
}

func TestConnStdIsTheStandardTypeOfTheSameConnection(t *testing.T) {
	for _, network := range connNetworks {
		t.Run(network, func(t *testing.T) {
			c, peer := connPair(t, network)
			std, err := c.Std()
			if err != nil {
				t.Fatal(err)
			}
			defer std.Close()
			_, isTCP := std.(*net.TCPConn)
			_, isUnix := std.(*net.UnixConn)
			if isTCP == (network == "unix") || isUnix != (network == "unix") {
				t.Errorf("got a %T", std)
			}
			_, err = c.Write([]byte("x"))
			connWantClosed(t, err)
			if _, err := std.Write([]byte("x")); err != nil {
				t.Fatal(err)
			}
			if _, err := peer.Read(make([]byte, 1)); err != nil {
				t.Fatal(err)
			}
			if err := std.SetReadDeadline(connLongAgo); err != nil {
				t.Fatal(err)
			}
			_, err = std.Read(make([]byte, 1))
			connWantTimeout(t, err)
			std.Close()
			if _, err := peer.Read(make([]byte, 1)); err != io.EOF {
				t.Errorf("the peer reads %v: a duplicate is left", err)
			}
		})
	}
	t.Run("not while payload is unread", func(t *testing.T) {
		fd, _ := connSocket(t, "tcp4")
		c := connNew(t, Desc{FD: fd, Payload: []byte("abc")})
		if _, err := c.Std(); err == nil || !strings.Contains(err.Error(), "3 bytes of payload") {
			t.Fatalf("got %v", err)
		}
		if _, err := io.ReadFull(c, make([]byte, 3)); err != nil {
			t.Fatal(err)
		}
		std, err := c.Std()
		if err != nil {
			t.Fatal(err)
		}
		std.Close()
	})
}

func TestConnReadAndWriteDoNotAllocate(t *testing.T) {
	fd, peer := connSocket(t, "unix")
	c := connNew(t, Desc{FD: fd, Payload: make([]byte, 101)})
	buf := make([]byte, 1)
	connNoAllocs(t, "payload", func() error { _, err := c.Read(buf); return err })
	connNoAllocs(t, "socket", func() error {
		for _, end := range [][2]net.Conn{{peer, c}, {c, peer}} {
			if _, err := end[0].Write(buf); err != nil {
				return err
			}
			if _, err := end[1].Read(buf); err != nil {
				return err
			}
		}
		return nil
	})
}

func connNoAllocs(t *testing.T, name string, run func() error) {
	t.Helper()
	if n := testing.AllocsPerRun(100, func() {
		if err := run(); err != nil {
			t.Error(err)
		}
	}); n != 0 {
		t.Errorf("%s: %v allocations", name, n)
	}
}

func isReady(uintptr) bool { return true }
