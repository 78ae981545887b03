//go:build linux

package fastpass

import (
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"

	"golang.org/x/sys/unix"
)

// The behaviours that came with the idea, between two real processes.

// Both ends send and receive at once.

func init() {
	roles["mirror"] = func() { // sends back what comes, until the other end says goodbye
		_, p := childEnd()
		ds := make([]Desc, 100)
		for {
			n, err := p.RecvBatch(ds)
			if err != nil {
				require(isEnd(err), "%v, not an orderly end", err)
				break
			}
			sent, err := p.SendBatch(ds[:n])
			require(err == nil && sent == n, "%d of %d sent back: %v", sent, n, err)
		}
		p.Close()
	}
}

func TestBothEndsSendAndReceiveAtOnce(t *testing.T) {
	numbers := newNumbered(t)
	n := scaled(5000)
	everywhere(t, everyLink, func(t *testing.T, l linkConfig, filesystem bool) {
		p, c := linkTo(t, "mirror", l.config(), childSpec{Link: l}, filesystem)
		failed := make(chan error, 1)
		go func() {
			defer close(failed)
			for i := 0; i < n; i += 50 {
				if _, err := p.SendBatch(numbers.descs(t, i, min(i+50, n))); err != nil {
					failed <- err
				}
			}
		}()
		soon(t, "all come back", func() {
			ds, err := recvN(p, n, 77)
			if err != nil {
				t.Error(err)
			}
			for i, d := range ds {
				if got := numberOf(d.FD); got != i || l.Protocol == Framed && d.Tag != uint64(i) {
					t.Errorf("descriptor %d with tag %d where %d is expected", got, d.Tag, i)
					break
				}
			}
			CloseFDs(fdsOf(ds))
		})
		if err := <-failed; err != nil {
			t.Error(err)
		}
		soon(t, "Shutdown returns", func() {
			if err := p.Shutdown(t.Context()); err != nil {
				t.Error(err)
			}
		})
		c.succeed()
	})
}

// Receiving may begin before sending and the other way round.

func init() {
	roles["in two steps"] = func() {
		spec, p := childEnd()
		if spec.Extra == "receive first" {
			say("receiving")
		} else {
			require(hear() == "receive", "not asked to")
		}
		ds, err := recvN(p, spec.N, 10)
		must(err)
		for i, d := range ds {
			require(numberOf(d.FD) == i, "descriptor %d at %d", numberOf(d.FD), i)
		}
		say("received")
		_, err = p.Recv()
		require(isEnd(err), "%v, not an orderly end", err)
		p.Close()
	}
}

func TestReceivingMayBeginBeforeSendingAndAfterIt(t *testing.T) {
	numbers := newNumbered(t)
	const n = 300
	for _, order := range []string{"receive first", "send first"} {
		t.Run(order, func(t *testing.T) {
			everywhere(t, everyLink, func(t *testing.T, l linkConfig, filesystem bool) {
				p, c := linkTo(t, "in two steps", l.config(), childSpec{Link: l, N: n, Extra: order}, filesystem)
				if order == "receive first" {
					c.expect("receiving")
				}
				for _, d := range numbers.descs(t, 0, n) {
					if err := p.Send(d); err != nil {
						t.Fatal(err)
					}
				}
				if order == "send first" {
					c.say("receive")
				}
				c.expect("received")
				if err := p.Close(); err != nil {
					t.Error(err)
				}
				c.succeed()
			})
		})
	}
}

// The peer is stopped from the start: it does not even say HELLO.
func TestTrySendAndPushNeverBlock(t *testing.T) {
	for _, l := range everyLink {
		for name, queue := range map[string]func(*Passer, Desc) error{"TrySend": (*Passer).TrySend, "Push": (*Passer).Push} {
			t.Run(l.String()+", "+name, func(t *testing.T) {
				noLeaks(t)
				l.Window = 256
				p, f, err := Pair(l.config())
				if err != nil {
					t.Fatal(err)
				}
				defer f.Close()
				closeAfter(t, p)
				fd := null(t)
				defer unix.Close(fd)
				soon(t, "the window is full", func() {
					taken := 0
					for ; err == nil && taken < 1<<20; taken++ {
						err = queue(p, Desc{FD: fd, Keep: true})
					}
					if !errors.Is(err, ErrFull) {
						t.Errorf("%v after %d, want ErrFull", err, taken)
					}
					if taken < 256 {
						t.Errorf("full after %d descriptors, though the window has room for 256", taken)
					}
					if err := p.Flush(); err != nil {
						t.Errorf("Flush: %v", err)
					}
				})
			})
		}
	}
}

// FIFO, with mixed batch sizes and several goroutines.

const fifoGoroutines = 4

// payloadOf is what travels with descriptor i of goroutine g: nothing, mostly.
func payloadOf(l linkConfig, g, i int) []byte {
	if l.Protocol == Framed && i%3 == 0 || l.Protocol == Bare && i%97 == 0 {
		return fmt.Appendf(nil, "%d of %d,%*s", i, g, i%200, "")
	}
	return nil
}

func init() {
	roles["fifo"] = func() {
		spec, p := childEnd()
		var next [fifoGoroutines]int
		ds := make([]Desc, 300)
		rnd := rand.New(rand.NewPCG(1, 2))
		for got := 0; got < spec.N; {
			var n int
			var err error
			if rnd.IntN(20) == 0 {
				n = 1
				ds[0], err = p.Recv()
			} else {
				n, err = p.RecvBatch(ds[:1+rnd.IntN(len(ds))])
			}
			must(err)
			got += n
			for _, d := range ds[:n] {
				number := numberOf(d.FD)
				g, i := number>>24, number&(1<<24-1)
				require(number >= 0 && g < fifoGoroutines, "descriptor %d is none of ours", d.FD)
				require(i == next[g], "goroutine %d: %d came where %d is expected", g, i, next[g])
				next[g]++
				if spec.Link.Protocol == Framed {
					require(d.Tag == uint64(number), "descriptor %#x has tag %#x", number, d.Tag)
				}
				want := string(payloadOf(spec.Link, g, i))
				if want == "" && spec.Link.Protocol == Bare {
					want = "\x00" // or none
				}
				require(string(d.Payload) == want || len(d.Payload) == 0 && want == "\x00",
					"descriptor %#x has payload %q, not %q", number, d.Payload, want)
			}
			CloseFDs(fdsOf(ds[:n]))
		}
		say("received")
		_, err := p.Recv()
		require(isEnd(err), "%v, not an orderly end", err)
		p.Close()
	}
}

func TestDescriptorsArriveInTheOrderInWhichEachGoroutinePushedThem(t *testing.T) {
	numbers := newNumbered(t)
	for i, l := range everyLink {
		n := scaled(100_000)
		if i > 0 || l.Network != l.config().network() {
			n /= 4
		}
		for _, dir := range []Direction{Both, RecvOnly} {
			there := l
			there.Direction = dir
			t.Run(fmt.Sprintf("%d, %v", n, there), func(t *testing.T) {
				noLeaks(t)
				var last atomic.Int64 // OnSent sees each goroutine's in order, too
				var seen [fifoGoroutines]int
				cfg := l.config()
				cfg.OnSent = func(d Desc) {
					g, i := int(d.Tag>>24), int(d.Tag&(1<<24-1))
					if i != seen[g] {
						t.Errorf("OnSent for %d of goroutine %d, %d is expected", i, g, seen[g])
					}
					seen[g]++
					last.Add(1)
				}
				p, c := linkTo(t, "fifo", cfg, childSpec{Link: there, N: n / fifoGoroutines * fifoGoroutines}, false)
				var wg sync.WaitGroup
				for g := range fifoGoroutines {
					wg.Go(func() { pushMixed(t, p, numbers, l, g, n/fifoGoroutines) })
				}
				soon(t, "all are pushed", wg.Wait)
				c.expect("received")
				soon(t, "Shutdown returns", func() {
					if err := p.Shutdown(t.Context()); err != nil {
						t.Error(err)
					}
				})
				if int(last.Load()) != n/fifoGoroutines*fifoGoroutines {
					t.Errorf("OnSent was called %d times for %d descriptors", last.Load(), n)
				}
				c.succeed()
			})
		}
	}
}

// pushMixed sends n descriptors of goroutine g in all the ways that there are.
func pushMixed(t *testing.T, p *Passer, numbers numbered, l linkConfig, g, n int) {
	rnd := rand.New(rand.NewPCG(uint64(g), 1))
	for i := 0; i < n; {
		k := 1
		switch rnd.IntN(4) {
		case 0:
			k = min(1+rnd.IntN(300), n-i)
		case 1:
			k = min(1+rnd.IntN(10), n-i)
		}
		ds := make([]Desc, k)
		for j := range ds {
			number := g<<24 | (i + j)
			ds[j] = Desc{FD: numbers.open(t, number), Tag: uint64(number), Payload: payloadOf(l, g, i+j)}
		}
		i += k
		var err error
		switch how := rnd.IntN(3); {
		case k > 1 || how == 0:
			_, err = p.SendBatch(ds)
		case how == 1:
			err = p.Send(ds[0])
		default:
			try := p.TrySend
			if rnd.IntN(2) == 0 {
				try = p.Push
			}
			if err = try(ds[0]); errors.Is(err, ErrFull) {
				err = p.Send(ds[0])
			}
		}
		if err != nil {
			t.Errorf("goroutine %d: %v", g, err)
			return
		}
	}
	if err := p.Flush(); err != nil {
		t.Errorf("goroutine %d: %v", g, err)
	}
}

// What a descriptor was, it stays.

func init() {
	roles["flags"] = func() {
		spec, p := childEnd()
		ds, err := recvN(p, spec.N, 3)
		must(err)
		for _, d := range ds {
			fl, err := unix.FcntlInt(uintptr(d.FD), unix.F_GETFL, 0)
			must(err)
			fdFlags, err := unix.FcntlInt(uintptr(d.FD), unix.F_GETFD, 0)
			must(err)
			say("nonblock %v, close on exec %v, offset %d", fl&unix.O_NONBLOCK != 0, fdFlags&unix.FD_CLOEXEC != 0, numberOf(d.FD))
		}
		p.Close()
	}
}

func TestFlagsAndOffsetStayAndCloseOnExecIsSet(t *testing.T) {
	numbers := newNumbered(t)
	everywhere(t, everyLink, func(t *testing.T, l linkConfig, filesystem bool) {
		p, c := linkTo(t, "flags", l.config(), childSpec{Link: l, N: 4}, filesystem)
		for i := range 4 {
			fd := numbers.open(t, 1000*i)
			if err := unix.SetNonblock(fd, i%2 == 1); err != nil {
				t.Fatal(err)
			}
			if i >= 2 { // close-on-exec is not what the sender has, but always set
				unix.FcntlInt(uintptr(fd), unix.F_SETFD, 0)
			}
			if err := p.Send(Desc{FD: fd}); err != nil {
				t.Fatal(err)
			}
		}
		for i := range 4 {
			c.expect("nonblock %v, close on exec true, offset %d", i%2 == 1, 1000*i)
		}
		c.succeed()
	})
}

// A passer's own socket passes.

func init() {
	roles["inner link"] = func() {
		spec, p := childEnd()
		d, err := p.Recv()
		must(err)
		conn, err := fileConn(os.NewFile(uintptr(d.FD), "inner"))
		must(err)
		inner, err := New(conn, spec.Link.config())
		must(err)
		ds, err := recvN(inner, spec.N, 5)
		must(err)
		_, err = inner.SendBatch(ds)
		must(err)
		_, err = inner.Recv()
		require(isEnd(err), "%v, not an orderly end", err)
		inner.Close()
		_, err = p.Recv()
		require(isEnd(err), "%v, not an orderly end", err)
		p.Close()
	}
}

func TestAPassersSocketPassesAndIsAPasserThere(t *testing.T) {
	numbers := newNumbered(t)
	everywhere(t, everyLink, func(t *testing.T, l linkConfig, filesystem bool) {
		const n = 20
		p, c := linkTo(t, "inner link", l.config(), childSpec{Link: l, N: n}, filesystem)
		inner, f, err := Pair(l.config())
		if err != nil {
			t.Fatal(err)
		}
		closeAfter(t, inner)
		if _, err := inner.SendBatch(numbers.descs(t, 0, n)); err != nil { // before anybody is there
			t.Fatal(err)
		}
		fd, err := dupFD(f)
		if err != nil {
			t.Fatal(err)
		}
		f.Close()
		if err := p.Send(Desc{FD: fd}); err != nil {
			t.Fatal(err)
		}
		soon(t, "all come back", func() {
			ds, err := recvN(inner, n, 5)
			if err != nil {
				t.Error(err)
			}
			for i, d := range ds {
				if numberOf(d.FD) != i {
					t.Errorf("descriptor %d at %d", numberOf(d.FD), i)
				}
			}
			CloseFDs(fdsOf(ds))
		})
		inner.Close()
		p.Close()
		c.succeed()
	})
}

// OnSent in order, after the copy is closed; Keep leaves it open.

func init() {
	roles["sink"] = func() { // takes everything, until the end
		_, p := childEnd()
		ds := make([]Desc, 50)
		for {
			n, err := p.RecvBatch(ds)
			if err != nil {
				require(isEnd(err), "%v, not an orderly end", err)
				break
			}
			CloseFDs(fdsOf(ds[:n]))
		}
		p.Close()
	}
}

func TestOnSentRunsInOrderAfterTheCopyIsClosedAndKeepLeavesItOpen(t *testing.T) {
	numbers := newNumbered(t)
	everywhere(t, everyLink, func(t *testing.T, l linkConfig, filesystem bool) {
		const n = 1000
		next := 0
		var kept []int
		cfg := l.config()
		cfg.OnSent = func(d Desc) {
			if d.Tag != uint64(next) {
				t.Errorf("OnSent for %d, %d is expected", d.Tag, next)
			}
			if want := d.Tag%3 == 0; d.Keep != want || d.Payload != nil {
				t.Errorf("descriptor %d: Keep is %v, and a payload of %d bytes", d.Tag, d.Keep, len(d.Payload))
			}
			// The number may have been given away again; its offset then is not this one.
			if open := isOpen(d.FD) && numberOf(d.FD) == int(d.Tag); open != d.Keep {
				t.Errorf("descriptor %d with Keep %v is open: %v", d.Tag, d.Keep, open)
			}
			if d.Keep {
				kept = append(kept, d.FD)
			}
			next++
		}
		p, c := linkTo(t, "sink", cfg, childSpec{Link: l}, filesystem)
		ds := numbers.descs(t, 1, n+1)
		for i := range ds {
			ds[i].Tag--
			unix.Seek(ds[i].FD, int64(i), io.SeekStart)
			ds[i].Keep = i%3 == 0
			ds[i].Payload = payloadOf(l, 0, i)
		}
		soon(t, "Shutdown returns", func() {
			for _, d := range ds[:10] {
				if err := p.Send(d); err != nil {
					t.Error(err)
				}
			}
			if _, err := p.SendBatch(ds[10:]); err != nil {
				t.Error(err)
			}
			if err := p.Shutdown(t.Context()); err != nil {
				t.Error(err)
			}
		})
		if next != n {
			t.Errorf("OnSent was called %d times", next)
		}
		CloseFDs(kept)
		c.succeed()
	})
}

// Every kind of descriptor passes.

// kind is a kind of descriptor: how to make one that somebody can use, and how to use it.
type kind struct {
	name string
	make func(t testing.TB) (fd int)
	use  func(fd int) error
}

// hello is what whoever uses a descriptor wants to read from it.
const hello = "hello"

func readsHello(fd int) error {
	b := make([]byte, len(hello))
	if n, err := unix.Read(fd, b); err != nil || string(b[:n]) != hello {
		return fmt.Errorf("read %q: %v", b[:max(n, 0)], err)
	}
	return nil
}

// saysHello gives f to the caller after the other end has said hello.
func saysHello(t testing.TB, here, there interface {
	io.ReadWriter
	io.Closer
},
) int {
	t.Helper()
	t.Cleanup(func() { there.Close() })
	if _, err := there.Write([]byte(hello)); err != nil {
		t.Fatal(err)
	}
	return detach(t, here)
}

// detach closes f and returns a duplicate, which blocks.
func detach(t testing.TB, f io.Closer) int {
	t.Helper()
	file, ok := f.(*os.File)
	if !ok {
		var err error
		if file, err = f.(interface{ File() (*os.File, error) }).File(); err != nil {
			t.Fatal(err)
		}
		f.Close()
	}
	defer file.Close()
	fd, err := dupFD(file)
	if err != nil {
		t.Fatal(err)
	}
	return fd
}

func stream(t testing.TB, network, address string) int {
	t.Helper()
	ln, err := net.Listen(network, address)
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	there, err := net.Dial(network, ln.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	here, err := ln.Accept()
	if err != nil {
		t.Fatal(err)
	}
	return saysHello(t, here.(interface {
		io.ReadWriter
		io.Closer
	}), there)
}

var kinds = []kind{
	{"a regular file", func(t testing.TB) int {
		path := filepath.Join(t.TempDir(), "file")
		if err := os.WriteFile(path, []byte(hello), 0o600); err != nil {
			t.Fatal(err)
		}
		f, err := os.Open(path)
		if err != nil {
			t.Fatal(err)
		}
		return detach(t, f)
	}, readsHello},
	{"a pipe", func(t testing.TB) int {
		r, w, err := os.Pipe()
		if err != nil {
			t.Fatal(err)
		}
		return saysHello(t, r, w)
	}, readsHello},
	{"a TCP connection", func(t testing.TB) int { return stream(t, "tcp", "127.0.0.1:0") }, readsHello},
	{"a TCP connection over IPv6", func(t testing.TB) int { return stream(t, "tcp", "[::1]:0") }, readsHello},
	{"a unix connection", func(t testing.TB) int { return stream(t, "unix", filepath.Join(t.TempDir(), "s")) }, readsHello},
	{"a unixpacket connection", func(t testing.TB) int {
		return stream(t, "unixpacket", filepath.Join(t.TempDir(), "s"))
	}, readsHello},
	{"a UDP socket", func(t testing.TB) int {
		here, err := net.ListenUDP("udp", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
		if err != nil {
			t.Fatal(err)
		}
		there, err := net.DialUDP("udp", nil, here.LocalAddr().(*net.UDPAddr))
		if err != nil {
			t.Fatal(err)
		}
		return saysHello(t, here, there)
	}, readsHello},
	{"a listening TCP socket", func(t testing.TB) int {
		ln, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		return listening(t, ln)
	}, acceptsHello},
	{"a listening unix socket", func(t testing.TB) int {
		ln, err := net.Listen("unix", filepath.Join(t.TempDir(), "s"))
		if err != nil {
			t.Fatal(err)
		}
		return listening(t, ln)
	}, acceptsHello},
	{"an eventfd", func(t testing.TB) int {
		fd, err := unix.Eventfd(0x68656c6c, unix.EFD_CLOEXEC)
		if err != nil {
			t.Fatal(err)
		}
		return fd
	}, func(fd int) error {
		var b [8]byte
		if n, err := unix.Read(fd, b[:]); n != 8 || err != nil || b == [8]byte{} {
			return fmt.Errorf("read %d bytes %x: %v", n, b, err)
		}
		return nil
	}},
	{"a memfd", func(t testing.TB) int {
		fd, err := unix.MemfdCreate(hello, unix.MFD_CLOEXEC)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := unix.Pwrite(fd, []byte(hello), 0); err != nil {
			t.Fatal(err)
		}
		return fd
	}, readsHello},
	{"a pidfd", func(t testing.TB) int {
		fd, err := unix.PidfdOpen(os.Getpid(), 0)
		if err != nil {
			t.Fatal(err)
		}
		return fd
	}, func(fd int) error { return unix.PidfdSendSignal(fd, 0, nil, 0) }},
	{"a directory", func(t testing.TB) int {
		dir := t.TempDir()
		if err := os.WriteFile(filepath.Join(dir, "file"), []byte(hello), 0o600); err != nil {
			t.Fatal(err)
		}
		f, err := os.Open(dir)
		if err != nil {
			t.Fatal(err)
		}
		return detach(t, f)
	}, func(fd int) error {
		file, err := unix.Openat(fd, "file", unix.O_RDONLY|unix.O_CLOEXEC, 0)
		if err != nil {
			return err
		}
		defer unix.Close(file)
		return readsHello(file)
	}},
}

// listening returns the descriptor of ln after somebody has connected to it and said hello.
func listening(t testing.TB, ln net.Listener) int {
	t.Helper()
	if u, ok := ln.(*net.UnixListener); ok {
		u.SetUnlinkOnClose(false)
	}
	there, err := net.Dial(ln.Addr().Network(), ln.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { there.Close() })
	if _, err := there.Write([]byte(hello)); err != nil {
		t.Fatal(err)
	}
	return detach(t, ln)
}

func acceptsHello(fd int) error {
	unix.SetNonblock(fd, false)
	conn, _, err := unix.Accept4(fd, unix.SOCK_CLOEXEC)
	if err != nil {
		return err
	}
	defer unix.Close(conn)
	return readsHello(conn)
}

func init() {
	roles["every kind"] = func() {
		_, p := childEnd()
		for _, k := range kinds {
			d, err := p.Recv()
			require(err == nil, "%s: %v", k.name, err)
			unix.SetNonblock(d.FD, false)
			err = k.use(d.FD)
			require(err == nil, "%s: %v", k.name, err)
		}
		say("used")
		_, err := p.Recv()
		require(isEnd(err), "%v, not an orderly end", err)
		p.Close()
	}
}

func TestEveryKindOfDescriptorPassesAndIsUsable(t *testing.T) {
	everywhere(t, everyLink, func(t *testing.T, l linkConfig, filesystem bool) {
		p, c := linkTo(t, "every kind", l.config(), childSpec{Link: l}, filesystem)
		for i, k := range kinds {
			if err := p.Send(Desc{FD: k.make(t), Tag: uint64(i)}); err != nil {
				t.Fatalf("%s: %v", k.name, err)
			}
		}
		c.expect("used")
		p.Close()
		c.succeed()
	})
}
