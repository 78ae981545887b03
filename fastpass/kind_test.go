//go:build linux

package fastpass

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// someOfEveryKind makes descriptors and says of which kind they are.
var someOfEveryKind = []struct {
	name string
	kind Kind
	make func(t testing.TB) (int, error)
}{
	{"a TCP socket", StreamSocket, socketOf(unix.AF_INET, unix.SOCK_STREAM)},
	{"an AF_UNIX stream socket", StreamSocket, socketOf(unix.AF_UNIX, unix.SOCK_STREAM)},
	{"a UDP socket", OtherSocket, socketOf(unix.AF_INET, unix.SOCK_DGRAM)},
	{"a seqpacket socket", OtherSocket, socketOf(unix.AF_UNIX, unix.SOCK_SEQPACKET)},
	{"a pipe", Pipe, func(testing.TB) (int, error) {
		var fds [2]int
		if err := unix.Pipe2(fds[:], unix.O_CLOEXEC); err != nil {
			return -1, err
		}
		unix.Close(fds[1])
		return fds[0], nil
	}},
	{"a named pipe", Pipe, func(t testing.TB) (int, error) {
		path := filepath.Join(t.TempDir(), "fifo")
		if err := unix.Mkfifo(path, 0o600); err != nil {
			return -1, err
		}
		return unix.Open(path, unix.O_RDWR|unix.O_CLOEXEC, 0)
	}},
	{"a regular file", File, func(t testing.TB) (int, error) {
		return unix.Open(filepath.Join(t.TempDir(), "file"), unix.O_RDWR|unix.O_CREAT|unix.O_CLOEXEC, 0o600)
	}},
	{"a file without a name", File, func(testing.TB) (int, error) { return unix.MemfdCreate("memfd", unix.MFD_CLOEXEC) }},
	{"a directory", Directory, opened("/", unix.O_RDONLY|unix.O_DIRECTORY)},
	{"a directory that is only a path", Directory, opened("/", unix.O_PATH)},
	{"a character device", Device, opened("/dev/null", unix.O_RDWR)},
	{"an eventfd", OtherKind, func(testing.TB) (int, error) { return unix.Eventfd(0, unix.EFD_CLOEXEC) }},
	{"an epoll", OtherKind, func(testing.TB) (int, error) { return unix.EpollCreate1(unix.EPOLL_CLOEXEC) }},
	{"a pidfd", OtherKind, func(testing.TB) (int, error) { return unix.PidfdOpen(os.Getpid(), 0) }},
	{"the path of a socket", OtherKind, func(t testing.TB) (int, error) {
		path := filepath.Join(t.TempDir(), "socket")
		deadSocket(t, "unix", path)
		return unix.Open(path, unix.O_PATH|unix.O_CLOEXEC, 0)
	}},
	{"a symbolic link", OtherKind, func(t testing.TB) (int, error) {
		path := filepath.Join(t.TempDir(), "link")
		if err := os.Symlink("nowhere", path); err != nil {
			return -1, err
		}
		return unix.Open(path, unix.O_PATH|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	}},
}

func socketOf(family, sotype int) func(testing.TB) (int, error) {
	return func(testing.TB) (int, error) { return unix.Socket(family, sotype|unix.SOCK_CLOEXEC, 0) }
}

func opened(path string, flags int) func(testing.TB) (int, error) {
	return func(testing.TB) (int, error) { return unix.Open(path, flags|unix.O_CLOEXEC, 0) }
}

func TestEveryDescriptorIsOfOneKind(t *testing.T) {
	noLeaks(t)
	for _, some := range someOfEveryKind {
		fd, err := some.make(t)
		if err != nil {
			t.Fatalf("%s: %v", some.name, err)
		}
		for kind := StreamSocket; kind <= OtherKind; kind <<= 1 {
			if got := kind.includes(fd); got != (kind == some.kind) {
				t.Errorf("%s: kind %#x includes it: %t", some.name, uint8(kind), got)
			}
			if got := (allKinds &^ kind).includes(fd); got != (kind != some.kind) {
				t.Errorf("%s: all but kind %#x include it: %t", some.name, uint8(kind), got)
			}
		}
		unix.Close(fd)
	}
}

func TestKindsThatAreNoneAreRefused(t *testing.T) {
	if _, _, err := Pair(&Config{Kinds: allKinds + 1}); err == nil || !strings.Contains(err.Error(), "Config.Kinds is 0x80") {
		t.Errorf("Pair: %v", err)
	}
}

// pipes makes n descriptors that an end which takes files refuses, and says whether all have been closed.
func pipes(t testing.TB, n int) (ds []Desc, closed func() bool) {
	t.Helper()
	var fds [2]int
	if err := unix.Pipe2(fds[:], unix.O_CLOEXEC|unix.O_NONBLOCK); err != nil {
		t.Fatal(err)
	}
	reader, writer := fds[0], fds[1]
	t.Cleanup(func() { unix.Close(reader) })
	for i := range n {
		fd := writer
		if i > 0 {
			var err error
			if fd, err = unix.FcntlInt(uintptr(writer), unix.F_DUPFD_CLOEXEC, 0); err != nil {
				t.Fatal(err)
			}
		}
		ds = append(ds, Desc{FD: fd})
	}
	return ds, func() bool { // the end of file comes when nobody has the other end open
		var b [1]byte
		n, err := unix.Read(reader, b[:])
		return n == 0 && err == nil
	}
}

// kindsSent is how many descriptors of files and pipes are sent: more than a message holds.
const kindsSent = 300

func TestWhatIsOfAnotherKindIsAcknowledgedCountedAndClosed(t *testing.T) {
	// Which of those that are sent are files; the others are pipes.
	patterns := map[string]func(i int) bool{
		"every other":        func(i int) bool { return i%2 == 1 },
		"all but the first":  func(i int) bool { return i > 0 },
		"all but the last":   func(i int) bool { return i < kindsSent-1 },
		"a few far between":  func(i int) bool { return i%100 == 50 },
		"the last one only":  func(i int) bool { return i == kindsSent-1 },
		"runs and not alone": func(i int) bool { return i/30%3 != 1 },
	}
	for _, l := range everyLink {
		for _, dir := range []Direction{Both, RecvOnly} {
			for name, isFile := range patterns {
				for _, batch := range []int{1, 50} {
					t.Run(fmt.Sprintf("%v to %v, %s, %d at a time", l, dir, name, batch), func(t *testing.T) {
						noLeaks(t)
						testKinds(t, l, dir, isFile, batch)
					})
				}
			}
		}
	}
}

func testKinds(t *testing.T, l linkConfig, dir Direction, isFile func(int) bool, batch int) {
	const n = kindsSent
	here, there := l.config(), l.config()
	sent := 0
	here.OnSent = func(d Desc) {
		if d.Tag != uint64(sent) {
			t.Errorf("OnSent for %v, the %dth", d, sent)
		}
		sent++
	}
	there.Direction, there.Kinds = dir, File
	p, q := link(t, here, there)
	files := newNumbered(t)
	ds, closed := pipes(t, n)
	var want []int
	for i := range ds {
		if isFile(i) {
			unix.Close(ds[i].FD)
			ds[i].FD = files.open(t, i)
			want = append(want, i)
		}
		ds[i].Tag, ds[i].Payload = uint64(i), fmt.Appendf(nil, "payload %d", i)
	}
	for rest := ds; len(rest) > 0; {
		k, err := p.SendBatch(rest)
		if err != nil {
			t.Fatal(err)
		}
		rest = rest[k:]
	}
	shut := make(chan error, 1)
	go func() { shut <- p.Shutdown(t.Context()) }()

	got := make([]Desc, batch)
	var err error
	soon(t, "all arrive", func() {
		for len(want) > 0 {
			k := 1
			if batch == 1 {
				got[0], err = q.Recv()
			} else {
				k, err = q.RecvBatch(got)
			}
			if err != nil {
				t.Errorf("%d are missing: %v", len(want), err)
				return
			}
			for _, d := range got[:k] {
				if numberOf(d.FD) != want[0] || string(d.Payload) != fmt.Sprintf("payload %d", want[0]) || l.Protocol == Framed && d.Tag != uint64(want[0]) {
					t.Errorf("%v with %q comes, which is number %d, not %d", d, d.Payload, numberOf(d.FD), want[0])
				}
				want = want[1:]
			}
			CloseFDs(fdsOf(got[:k]))
		}
		if _, err := q.Recv(); !isEnd(err) { // which also takes in what comes last and is refused
			t.Errorf("Recv: %v", err)
		}
		if err := <-shut; err != nil {
			t.Error(err)
		}
	})
	nFiles := 0
	for i := range n {
		if isFile(i) {
			nFiles++
		}
	}
	if s := q.Stats(); s.Received != uint64(nFiles) || s.Rejected != uint64(n-nFiles) {
		t.Errorf("received %d, rejected %d of %d files and %d pipes", s.Received, s.Rejected, nFiles, n-nFiles)
	}
	if s := p.Stats(); sent != n || s.Delivered != n || s.Queued != 0 {
		t.Errorf("OnSent was called %d times; %+v", sent, s)
	}
	until(t, "all that were refused are closed", closed)
}

func TestRecvWaitsOnWhileAllThatComesIsRefused(t *testing.T) {
	for _, l := range everyLink {
		for _, dir := range []Direction{Both, RecvOnly} {
			t.Run(fmt.Sprintf("%v to %v", l, dir), func(t *testing.T) {
				noLeaks(t)
				there := l.config()
				there.Direction, there.Kinds = dir, File
				p, q := link(t, l.config(), there)
				type received struct {
					ds  []Desc
					err error
				}
				got := make(chan received)
				go func() {
					ds, err := recvN(q, 1, 10)
					got <- received{ds, err}
				}()
				for range 5 {
					ds, closed := pipes(t, 3)
					if _, err := p.SendBatch(ds); err != nil {
						t.Fatal(err)
					}
					until(t, "they are refused and closed", closed)
				}
				if err := p.Send(Desc{FD: newNumbered(t).open(t, 1)}); err != nil {
					t.Fatal(err)
				}
				r := <-got
				if r.err != nil || len(r.ds) != 1 || numberOf(r.ds[0].FD) != 1 {
					t.Fatalf("RecvBatch: %v, %v", r.ds, r.err)
				}
				CloseFDs(fdsOf(r.ds))

				// The deadline holds although something comes all the time: a device.
				stop, stopped := make(chan struct{}), make(chan struct{})
				device := null(t)
				defer unix.Close(device)
				go func() {
					defer close(stopped)
					for {
						select {
						case <-stop:
							return
						default:
							if p.Send(Desc{FD: device, Keep: true}) != nil {
								return
							}
						}
					}
				}()
				q.SetReadDeadline(time.Now().Add(20 * time.Millisecond))
				soon(t, "the deadline passes", func() {
					if d, err := q.Recv(); !errors.Is(err, os.ErrDeadlineExceeded) {
						t.Errorf("Recv: %v, %v", d, err)
					}
				})
				close(stop)
				q.Close() // whoever sends does not wait for room
				wait(t, "sending ends", stopped)
			})
		}
	}
}

func TestNoTwoDescriptorsShareAPayloadsMemory(t *testing.T) {
	noLeaks(t)
	p, q := link(t, nil, &Config{Kinds: File})
	files := newNumbered(t)
	ds := make([]Desc, 6)
	for round := range 3 {
		send, _ := pipes(t, 6)
		for i := range send {
			if i >= round {
				unix.Close(send[i].FD)
				send[i].FD = files.open(t, i)
			}
			send[i].Payload = fmt.Appendf(nil, "%d of round %d", i, round)
		}
		if _, err := p.SendBatch(send); err != nil {
			t.Fatal(err)
		}
		for want := round; want < 6; {
			n, err := q.RecvBatch(ds)
			if err != nil {
				t.Fatal(err)
			}
			for _, d := range ds[:n] {
				if got, want := string(d.Payload), fmt.Sprintf("%d of round %d", want, round); got != want {
					t.Errorf("payload %q, not %q", got, want)
				}
				want++
			}
			CloseFDs(fdsOf(ds[:n]))
		}
	}
}

func TestLookingAtKindsAllocatesNothing(t *testing.T) {
	for _, some := range someOfEveryKind {
		fd, err := some.make(t)
		if err != nil {
			t.Fatal(err)
		}
		if n := testing.AllocsPerRun(1000, func() { (File | StreamSocket).includes(fd) }); n != 0 {
			t.Errorf("%s: %v allocations", some.name, n)
		}
		unix.Close(fd)
	}
}
