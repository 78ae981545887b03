//go:build linux

package sys

import (
	"fmt"
	"io"
	"os"
	"runtime"
	"slices"
	"syscall"
	"testing"

	"example.com/fdpass/cmsgpool"
	"example.com/fdpass/internal/leak"

	"golang.org/x/sys/unix"
)

func TestMain(m *testing.M) { os.Exit(leak.Run(m)) }

func isOpen(fd int) bool {
	_, err := unix.FcntlInt(uintptr(fd), unix.F_GETFD, 0)
	return err == nil
}

func null(t testing.TB) int {
	t.Helper()
	fd, err := unix.Open("/dev/null", unix.O_RDWR|unix.O_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	return fd
}

func pair(t testing.TB, sotype int) *[2]int {
	t.Helper()
	fds, err := Socketpair(sotype)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { CloseFDs(fds[:]) })
	return &fds
}

var socketTypes = map[string]int{"stream": unix.SOCK_STREAM, "seqpacket": unix.SOCK_SEQPACKET}

// withRights makes message i of v one with n copies of fd and the given data.
func withRights(v *Vector, i, fd, n int, data string) {
	b := new(cmsgpool.Buffer)
	if n > 0 {
		for k := range b.Rights(n) {
			b.Rights(n)[k] = int32(fd)
		}
	}
	v.Set(i, []byte(data), b.Raw()[:cmsgpool.Space(n)])
}

func withRoom(v *Vector, n, data int) ([][]byte, []*cmsgpool.Buffer) {
	bs, cs := make([][]byte, n), make([]*cmsgpool.Buffer, n)
	for i := range n {
		bs[i], cs[i] = make([]byte, data), new(cmsgpool.Buffer)
		v.Set(i, bs[i], cs[i].Raw())
	}
	return bs, cs
}

func TestAVectorArrivesAsItWasSent(t *testing.T) {
	for name, sotype := range socketTypes {
		t.Run(name, func(t *testing.T) {
			fds, fd := pair(t, sotype), null(t)
			defer closeFD(fd)
			out, in := NewVector(3), NewVector(5)
			counts := []int{1, 253, 7}
			// A signal may cut a call short, under qemu-user at least.
			for sent := 0; sent < len(counts); {
				for i, n := range counts[sent:] {
					withRights(out, i, fd, n, fmt.Sprint("message ", sent+i))
				}
				n, errno := System.Send(fds[0], out, len(counts)-sent)
				if n == 0 || errno != 0 {
					t.Fatal(n, errno)
				}
				sent += n
			}
			for came := 0; came < len(counts); {
				data, control := withRoom(in, 5, 100)
				n, errno := System.Recv(fds[1], in, 5, 0)
				if n == 0 || came+n > len(counts) || errno != 0 {
					t.Fatal(came, n, errno)
				}
				for i := range n {
					if got := string(data[i][:in.Bytes(i)]); got != fmt.Sprint("message ", came) {
						t.Errorf("message %d is %q", came, got)
					}
					got := cmsgpool.AppendFDs(nil, control[i].Raw()[:in.Control(i)])
					if len(got) != counts[came] || in.Flags(i)&unix.MSG_CTRUNC != 0 {
						t.Errorf("message %d brought %d descriptors, flags %#x", came, len(got), in.Flags(i))
					}
					for _, fd := range got {
						if flags, err := unix.FcntlInt(uintptr(fd), unix.F_GETFD, 0); err != nil || flags&unix.FD_CLOEXEC == 0 {
							t.Fatalf("descriptor %d: flags %#x, %v", fd, flags, err)
						}
					}
					CloseFDs(got)
					came++
				}
			}
			if n, errno := System.Recv(fds[1], in, 5, 0); n != 0 || errno != unix.EAGAIN {
				t.Errorf("an empty socket: %d, %v", n, errno)
			}
			closeFD(fds[0])
			// One empty message for each place is as good an end as one.
			if n, errno := System.Recv(fds[1], in, 5, 0); n < 1 || errno != 0 || in.Bytes(0) != 0 {
				t.Errorf("at the end: %d, %v", n, errno)
			}
			fds[0] = null(t) // for the cleanup
		})
	}
}

func TestSendStopsAtAMessageThatTheKernelRefuses(t *testing.T) {
	for name, sotype := range socketTypes {
		for bad := range 3 {
			t.Run(fmt.Sprint(name, ", message ", bad), func(t *testing.T) {
				fds, fd := pair(t, sotype), null(t)
				defer closeFD(fd)
				v := NewVector(3)
				sent, errno := 0, syscall.Errno(0)
				for n := -1; n != 0 && sent < 3; sent += n { // more than once only if a signal cuts a call short
					for i := sent; i < 3; i++ {
						withRights(v, i-sent, fd, 2, "x")
						if i == bad {
							withRights(v, i-sent, 1<<30, 1, "x")
						}
					}
					n, errno = System.Send(fds[0], v, 3-sent)
					if n > 0 && errno != 0 {
						t.Errorf("%d sent, and %v", n, errno)
					}
				}
				if sent != bad || errno != unix.EBADF {
					t.Errorf("%d sent, %v", sent, errno)
				}
				withRights(v, 0, 1<<30, 1, "x")
				if n, errno := System.Send(fds[0], v, 3); n != 0 || errno != unix.EBADF {
					t.Errorf("again, %d sent, %v", n, errno)
				}
			})
		}
	}
}

func TestSendReportsAFullSocketAndWhatItTook(t *testing.T) {
	for name, sotype := range socketTypes {
		t.Run(name, func(t *testing.T) {
			fds := pair(t, sotype)
			v := NewVector(64)
			for i := range 64 {
				withRights(v, i, fds[0], 1, "x")
			}
			sent := 0
			for {
				n, errno := System.Send(fds[0], v, 64)
				sent += n
				if errno != 0 {
					if errno != unix.EAGAIN {
						t.Error(errno)
					}
					break
				}
			}
			if System.Writable(fds[0]) {
				t.Error("a full socket is writable")
			}
			System.RaiseSendBuffer(fds[0])
			if n, errno := System.Write(fds[0], []byte("one more")); n != 8 || errno != 0 {
				t.Errorf("after RaiseSendBuffer: %d, %v", n, errno)
			}
			in := NewVector(8)
			got := 0
			for got < sent {
				_, control := withRoom(in, 8, 100)
				n, errno := System.Recv(fds[1], in, 8, 0)
				if errno != 0 {
					t.Fatal(errno)
				}
				for i := range n {
					fds := cmsgpool.AppendFDs(nil, control[i].Raw()[:in.Control(i)])
					got += len(fds)
					CloseFDs(fds)
				}
			}
			if got != sent {
				t.Errorf("%d came of %d", got, sent)
			}
		})
	}
}

func TestAClosedPeerIsAnErrorAndNoSignal(t *testing.T) {
	for name, sotype := range socketTypes {
		t.Run(name, func(t *testing.T) {
			fds := pair(t, sotype)
			closeFD(fds[1])
			fds[1] = null(t) // for the cleanup
			v := NewVector(1)
			withRights(v, 0, fds[0], 1, "x")
			for range 3 {
				if n, errno := System.Send(fds[0], v, 1); n != 0 || errno != unix.EPIPE && errno != unix.ECONNRESET {
					t.Errorf("%d, %v", n, errno)
				}
			}
			if _, errno := System.Write(fds[0], []byte("x")); errno != unix.EPIPE {
				t.Errorf("Write: %v", errno)
			}
		})
	}
}

// The kernel facts that the fence leans on.
func TestShutdownReadFencesThePeer(t *testing.T) {
	for name, sotype := range socketTypes {
		t.Run(name, func(t *testing.T) {
			fds := pair(t, sotype)
			if _, errno := System.Write(fds[1], []byte("before")); errno != 0 {
				t.Fatal(errno)
			}
			if _, errno := System.Write(fds[0], []byte("queued")); errno != 0 {
				t.Fatal(errno)
			}
			System.ShutdownRead(fds[0])
			if _, errno := System.Write(fds[1], []byte("after")); errno != unix.EPIPE {
				t.Errorf("the peer's send: %v, want EPIPE", errno)
			}
			for i, want := range []string{"before", ""} {
				b := make([]byte, 100)
				if n, err := unix.Read(fds[0], b); err != nil || string(b[:n]) != want {
					t.Errorf("read %d: %q, %v; want %q", i, b[:max(n, 0)], err, want)
				}
			}
			b := make([]byte, 100)
			if n, err := unix.Read(fds[1], b); err != nil || string(b[:n]) != "queued" {
				t.Errorf("the peer reads %q, %v", b[:max(n, 0)], err)
			}
		})
	}
}

func TestSocketpairIsNonBlockingAndCloseOnExec(t *testing.T) {
	for name, sotype := range socketTypes {
		t.Run(name, func(t *testing.T) {
			for _, fd := range pair(t, sotype) {
				fl, _ := unix.FcntlInt(uintptr(fd), unix.F_GETFL, 0)
				fdFlags, _ := unix.FcntlInt(uintptr(fd), unix.F_GETFD, 0)
				if fl&unix.O_NONBLOCK == 0 || fdFlags&unix.FD_CLOEXEC == 0 {
					t.Errorf("descriptor %d has flags %#x and %#x", fd, fl, fdFlags)
				}
				if got, err := SocketType(fd); err != nil || got != sotype {
					t.Errorf("type %d, %v", got, err)
				}
			}
		})
	}
}

func TestPeerCredentialsAreThoseOfTheOtherEnd(t *testing.T) {
	c, err := PeerCredentials(pair(t, unix.SOCK_SEQPACKET)[0])
	if want := (Credentials{os.Getpid(), os.Getuid(), os.Getgid()}); err != nil || c != want {
		t.Errorf("%+v, %v; want %+v", c, err, want)
	}
	fd := null(t)
	defer closeFD(fd)
	if c, err := PeerCredentials(fd); err == nil || c != unknownCredentials {
		t.Errorf("of no socket: %+v, %v", c, err)
	}
}

func TestWhatIsToBeClosedIsClosedAndNothingElse(t *testing.T) {
	for name, pick := range map[string]func(i int) bool{
		"one":       func(i int) bool { return i == 3 },
		"a run":     func(i int) bool { return i >= 2 && i < 9 },
		"all":       func(int) bool { return true },
		"every 2nd": func(i int) bool { return i%2 == 0 },
		"two runs":  func(i int) bool { return i < 3 || i > 6 },
		"none":      func(int) bool { return false },
	} {
		for order, arrange := range map[string]func([]int){
			"ascending": func([]int) {}, "descending": slices.Reverse[[]int],
		} {
			for how, closeAll := range map[string]func([]int){"CloseFDs": CloseFDs, "Closer": closeByOne} {
				t.Run(fmt.Sprint(how, ", ", name, ", ", order), func(t *testing.T) {
					var all, some []int
					for range 12 {
						all = append(all, null(t))
					}
					defer func() {
						for _, fd := range all {
							if !slices.Contains(some, fd) {
								closeFD(fd)
							}
						}
					}()
					for i, fd := range all {
						if pick(i) {
							some = append(some, fd)
						}
					}
					arrange(some)
					closeAll(some)
					for _, fd := range all {
						if open := isOpen(fd); open == slices.Contains(some, fd) {
							t.Errorf("descriptor %d is open: %v, to be closed: %v", fd, open, some)
						}
					}
				})
			}
		}
	}
}

// closeByOne gives fds to a Closer.
func closeByOne(fds []int) {
	c := Closer{Kernel: System}
	for _, fd := range fds {
		c.Add(fd, false)
	}
	c.Flush()
}

func TestCloserNeedsAFlushOnlyForTheLastRun(t *testing.T) {
	fds := []int{null(t), null(t), null(t)}
	c := Closer{Kernel: System}
	c.Flush() // nothing to do
	c.Add(fds[2], false)
	c.Add(fds[0], false)
	if isOpen(fds[2]) {
		t.Error("a number that the next does not continue is still open")
	}
	c.Add(fds[1], false)
	c.Flush()
	c.Flush()
	for _, fd := range fds {
		if isOpen(fd) {
			t.Errorf("descriptor %d is open", fd)
		}
	}
}

func TestFreeSlotsIsWhatCanBeOpened(t *testing.T) {
	var before unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &before); err != nil {
		t.Fatal(err)
	}
	defer unix.Setrlimit(unix.RLIMIT_NOFILE, &before)
	source := null(t)
	defer closeFD(source)
	System.FreeSlots(source, 1) // may keep a descriptor for that
	for _, free := range []int{0, 1, 2, 7, 8, 9, 100, 500} {
		t.Run(fmt.Sprint(free), func(t *testing.T) {
			limit := before
			limit.Cur = 600
			if err := unix.Setrlimit(unix.RLIMIT_NOFILE, &limit); err != nil {
				t.Fatal(err)
			}
			var held []int
			defer func() { CloseFDs(held) }()
			for {
				fd, err := unix.FcntlInt(uintptr(source), unix.F_DUPFD_CLOEXEC, 0)
				if err != nil {
					break
				}
				held = append(held, fd)
			}
			// Not in order of number, so that the free ones lie among others.
			for i := range free {
				k := i * 7919 % len(held)
				closeFD(held[k])
				held = slices.Delete(held, k, k+1)
			}
			if got := System.FreeSlots(source, 1000); got != free {
				t.Errorf("%d free slots, want %d", got, free)
			}
			if want := min(free, 3); min(System.FreeSlots(source, 3), 3) != want {
				t.Errorf("%d of 3, want %d", System.FreeSlots(source, 3), want)
			}
		})
	}
	for _, c := range []struct{ free, want, least int }{{2, 100, 2}, {7, 1000, 7}, {60, 50, 50}, {300, 253, 253}, {300, 1000, 253}} {
		t.Run(fmt.Sprintf("%d of %d below a limit that lies below numbers in use", c.free, c.want), func(t *testing.T) {
			const below, above = 320, 400
			if err := unix.Setrlimit(unix.RLIMIT_NOFILE, &before); err != nil {
				t.Fatal(err)
			}
			var held []int
			defer func() { CloseFDs(held) }()
			for range below + above {
				held = append(held, null(t))
			}
			limit := before
			limit.Cur = uint64(held[below])
			CloseFDs(held[:c.free])
			held = held[c.free:]
			if err := unix.Setrlimit(unix.RLIMIT_NOFILE, &limit); err != nil {
				t.Fatal(err)
			}
			got := System.FreeSlots(source, c.want)
			unix.Setrlimit(unix.RLIMIT_NOFILE, &before)
			if got < c.least || got > c.free {
				t.Errorf("%d free slots, want %d to %d", got, c.least, c.free)
			}
		})
	}
}

func TestAcceptTakesWhatIsThere(t *testing.T) {
	ln, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer closeFD(ln)
	if err := unix.Bind(ln, &unix.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}}); err != nil {
		t.Fatal(err)
	}
	if err := unix.Listen(ln, 10); err != nil {
		t.Fatal(err)
	}
	if fd, errno := Accept(ln, false); errno != unix.EAGAIN {
		t.Errorf("nobody is there: %d, %v", fd, errno)
	}
	addr, err := unix.Getsockname(ln)
	if err != nil {
		t.Fatal(err)
	}
	c, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer closeFD(c)
	if err := unix.Connect(c, addr); err != nil {
		t.Fatal(err)
	}
	fd, errno := Accept(ln, false)
	if errno != 0 {
		t.Fatal(errno)
	}
	defer closeFD(fd)
	fl, _ := unix.FcntlInt(uintptr(fd), unix.F_GETFL, 0)
	fdFlags, _ := unix.FcntlInt(uintptr(fd), unix.F_GETFD, 0)
	if fl&unix.O_NONBLOCK == 0 || fdFlags&unix.FD_CLOEXEC == 0 {
		t.Errorf("flags %#x and %#x", fl, fdFlags)
	}
	if _, errno := Accept(c, false); errno == 0 || errno == syscall.EAGAIN {
		t.Errorf("a socket that does not listen: %v", errno)
	}
}

// A message that is looked at stays, with its descriptors.
func TestPeekInstallsDuplicates(t *testing.T) {
	for name, sotype := range socketTypes {
		t.Run(name, func(t *testing.T) {
			fds := pair(t, sotype)
			f, err := os.CreateTemp(t.TempDir(), "")
			if err != nil {
				t.Fatal(err)
			}
			defer f.Close()
			f.Seek(77, io.SeekStart)
			v := NewVector(1)
			withRights(v, 0, int(f.Fd()), 3, "look")
			if n, errno := System.Send(fds[0], v, 1); n != 1 || errno != 0 {
				t.Fatal(n, errno)
			}
			for _, flags := range []int{unix.MSG_PEEK, unix.MSG_PEEK, 0} {
				data, control := withRoom(v, 1, 100)
				n, errno := System.Recv(fds[1], v, 1, flags)
				if n != 1 || errno != 0 || string(data[0][:v.Bytes(0)]) != "look" {
					t.Fatal(n, errno)
				}
				got := cmsgpool.AppendFDs(nil, control[0].Raw()[:v.Control(0)])
				if len(got) != 3 {
					t.Errorf("%d descriptors", len(got))
				}
				for _, fd := range got {
					if at, err := unix.Seek(fd, 0, io.SeekCurrent); at != 77 || err != nil {
						t.Errorf("offset %d, %v", at, err)
					}
				}
				CloseFDs(got)
			}
		})
	}
}

func TestASignalDoesNotMakeASocketWritable(t *testing.T) {
	fds, err := Socketpair(unix.SOCK_STREAM)
	if err != nil {
		t.Fatal(err)
	}
	defer CloseFDs(fds[:])
	for errno := syscall.Errno(0); errno == 0; {
		_, errno = System.Write(fds[0], make([]byte, 1<<10))
	}
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	thread, stop := unix.Gettid(), make(chan struct{})
	defer close(stop)
	go func() {
		for {
			select {
			case <-stop:
				return
			default:
				unix.Tgkill(unix.Getpid(), thread, unix.SIGURG) // as the runtime does
			}
		}
	}()
	for i := range 20_000 {
		if System.Writable(fds[0]) {
			t.Fatalf("a full socket is writable when asked for the %dth time", i+1)
		}
	}
}
