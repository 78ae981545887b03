//go:build linux

package fastpass

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"example.com/fdpass/internal/sys"

	"golang.org/x/sys/unix"
)

const nobody = 65534

// dialSpec is the argument of roles that dial or listen, or are another user's.
type dialSpec struct {
	Link linkConfig
	Path string
	User int // become this user first
	N    int
}

// become makes this process one of s.User.
func (s dialSpec) become() {
	if s.User != 0 {
		must(syscall.Setgroups(nil))
		must(syscall.Setgid(s.User))
		must(syscall.Setuid(s.User))
	}
}

// dialRole adds a role with a dialSpec.
func dialRole(name string, f func(s dialSpec)) {
	roles[name] = func() {
		var s dialSpec
		childArg(&s)
		s.become()
		f(s)
	}
}

func init() {
	dialRole("dial-echo", func(s dialSpec) {
		p, err := Dial(context.Background(), s.Path, s.Link.config())
		must(err)
		echo(p, s.N)
	})
	dialRole("dial-denied", func(s dialSpec) {
		_, err := Dial(context.Background(), s.Path, nil)
		require(errors.Is(err, fs.ErrPermission) && strings.Contains(err.Error(), "the mode"), "Dial: %v", err)
	})
	dialRole("dial-raw", dialRaw)
	dialRole("listen-raw", listenRaw)
	dialRole("listen-until-killed", func(s dialSpec) {
		_, err := Listen(s.Path, nil)
		must(err)
		say("listening")
		hear()
	})
	dialRole("listen-under-umask", listenUnderUmask)
	dialRole("listen-race", listenRace)
	dialRole("accept-without-descriptors", acceptWithoutDescriptors)
}

// dialRaw connects, sends bytes, and says what came back before the end. A socket that is closed with bytes
// unread gives its peer ECONNRESET, one that was read to the end a plain end of file.
func dialRaw(s dialSpec) {
	c, err := net.Dial(s.Link.Network, s.Path)
	must(err)
	_, err = c.Write([]byte("a few bytes"))
	must(err)
	say("sent")
	var b [100]byte
	n, err := c.Read(b[:])
	say("%d bytes, reset %t", n, errors.Is(err, unix.ECONNRESET))
}

// listenRaw is the other end of a Dial, which it lets connect.
func listenRaw(s dialSpec) {
	ln, err := net.Listen(s.Link.Network, s.Path)
	must(err)
	must(os.Chmod(s.Path, 0o666))
	say("listening")
	c, err := ln.Accept()
	must(err)
	var b [100]byte
	n, err := c.Read(b[:])
	say("%d bytes, %v", n, err)
}

// listenUnderUmask looks at the mode of the socket, and of the directory that it is made in, all the time.
func listenUnderUmask(s dialSpec) {
	syscall.Umask(s.N)
	dir := filepath.Dir(s.Path)
	stop, stopped := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(stopped)
		for {
			select {
			case <-stop:
				return
			default:
			}
			if fi, err := os.Lstat(s.Path); err == nil {
				require(fi.Mode() == fs.ModeSocket|0o600, "the socket's mode is %v", fi.Mode())
			}
			entries, err := os.ReadDir(dir)
			must(err)
			for _, e := range entries {
				if fi, err := e.Info(); err == nil {
					require(fi.Mode().Perm()&0o077 == 0, "%s has mode %v", e.Name(), fi.Mode())
				}
			}
		}
	}()
	for i := range 200 {
		l, err := Listen(s.Path, nil)
		must(err)
		fi, err := os.Lstat(s.Path)
		must(err)
		require(fi.Mode() == fs.ModeSocket|0o600, "the socket's mode is %v", fi.Mode())
		if i%2 == 0 {
			must(l.Close())
		} else { // leave it, dead, to the next
			l.path = ""
			must(l.Close())
		}
	}
	close(stop)
	<-stopped
}

// listenRace listens whenever it is told to, and says whether it could.
func listenRace(s dialSpec) {
	say("ready")
	for hear() != "" {
		l, err := Listen(s.Path, seqpacket)
		require(err == nil || errors.Is(err, syscall.EADDRINUSE), "%v", err)
		say("%t", err == nil)
		hear()
		if err == nil {
			must(l.Close())
		}
		say("closed")
	}
}

// seqpacket is for tests that make the other socket themselves.
var seqpacket = &Config{Network: "unixpacket"}

// acceptWithoutDescriptors has a connection waiting when its table is full.
func acceptWithoutDescriptors(s dialSpec) {
	l, err := Listen(s.Path, seqpacket)
	must(err)
	c, err := net.Dial("unixpacket", s.Path)
	must(err)
	defer c.Close()
	var before unix.Rlimit
	must(unix.Getrlimit(unix.RLIMIT_NOFILE, &before))
	must(unix.Setrlimit(unix.RLIMIT_NOFILE, &unix.Rlimit{Cur: 0, Max: before.Max}))

	ctx, cancel := context.WithTimeout(context.Background(), 100*time.Millisecond) // some pauses
	defer cancel()
	_, err = l.Accept(ctx)
	require(err == context.DeadlineExceeded, "Accept: %v", err)

	got := make(chan error)
	go func() {
		p, err := l.Accept(context.Background())
		if err == nil {
			p.Close()
		}
		got <- err
	}()
	must(unix.Setrlimit(unix.RLIMIT_NOFILE, &before))
	must(<-got)
	must(l.Close())
}

func listenAt(t testing.TB, path string, cfg *Config) *Listener {
	t.Helper()
	l, err := Listen(path, cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	return l
}

// acceptOne accepts one link, to be closed after the test.
func acceptOne(t testing.TB, l *Listener) *Passer {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	p, err := l.Accept(ctx)
	if err != nil {
		t.Fatal(err)
	}
	closeAfter(t, p)
	return p
}

// dialOne dials one link, to be closed after the test.
func dialOne(t testing.TB, path string, cfg *Config) *Passer {
	t.Helper()
	p, err := Dial(context.Background(), path, cfg)
	if err != nil {
		t.Fatal(err)
	}
	closeAfter(t, p)
	return p
}

// abstractName is one that no other test has.
func abstractName(t testing.TB) string {
	return fmt.Sprintf("@fastpass-test-%d-%s", os.Getpid(), strings.ReplaceAll(t.Name(), "/", "-"))
}

// deadSocket leaves a socket at path on which nobody listens.
func deadSocket(t testing.TB, network, path string) {
	t.Helper()
	ln, err := net.ListenUnix(network, &net.UnixAddr{Name: path, Net: network})
	if err != nil {
		t.Fatal(err)
	}
	ln.SetUnlinkOnClose(false)
	ln.Close()
}

// names are what a directory holds.
func names(t testing.TB, dir string) string {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	var all []string
	for _, e := range entries {
		all = append(all, e.Name())
	}
	return strings.Join(all, " ")
}

// openTempDir is a temporary directory that every user can enter and write in.
func openTempDir(t testing.TB) string {
	t.Helper()
	dir := t.TempDir()
	for d, mode := range map[string]fs.FileMode{filepath.Dir(dir): 0o755, dir: 0o777} {
		if err := os.Chmod(d, mode); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

func needRoot(t testing.TB) {
	if os.Geteuid() != 0 {
		t.Skip("needs root, to become another user")
	}
}

func TestListenAndDialPassDescriptorsBothWays(t *testing.T) {
	for _, l := range everyLink {
		for _, abstract := range []bool{false, true} {
			t.Run(fmt.Sprintf("%v, abstract %t", l, abstract), func(t *testing.T) {
				noLeaks(t)
				const n = 100
				path := filepath.Join(t.TempDir(), "socket")
				if abstract {
					path = abstractName(t)
				}
				ln := listenAt(t, path, l.config())
				if got, want := ln.Addr(), (&net.UnixAddr{Name: path, Net: l.Network}); got.String() != want.String() || got.Network() != want.Network() {
					t.Errorf("Addr: %v", got)
				}
				c := startChild(t, "dial-echo", nil, dialSpec{Link: l, Path: path, N: n})
				p := acceptOne(t, ln)
				if p.Peer().PID != c.cmd.Process.Pid {
					t.Errorf("Peer: %+v, not process %d", p.Peer(), c.cmd.Process.Pid)
				}
				passBothWays(t, p, n)
				c.succeed()
			})
		}
	}
}

func TestListenDefaultsToTheNetworkOfTheProtocol(t *testing.T) {
	noLeaks(t)
	framed := "unix"
	if sys.HasSeqpacket {
		framed = "unixpacket"
	}
	for proto, want := range map[Protocol]string{Framed: framed, Bare: "unix"} {
		l := listenAt(t, filepath.Join(t.TempDir(), "socket"), &Config{Protocol: proto})
		if got := l.Addr().Network(); got != want {
			t.Errorf("%v: %s, not %s", proto, got, want)
		}
	}
}

func TestListenMakesASocketThatIsNeverOpenToOthers(t *testing.T) {
	for _, umask := range []int{0, 0o022, 0o077, 0o177, 0o777} {
		t.Run(fmt.Sprintf("umask %03o", umask), func(t *testing.T) {
			dir := t.TempDir()
			startChild(t, "listen-under-umask", nil, dialSpec{Path: filepath.Join(dir, "socket"), N: umask}).succeed()
			if left := names(t, dir); left != "socket" { // the last one is left dead
				t.Errorf("the directory holds %q", left)
			}
		})
	}
}

func TestListenReplacesADeadSocketOfItsOwnUserOnly(t *testing.T) {
	type place struct {
		name string
		make func(t *testing.T, path string)
		want error
		text string
	}
	socket := func(kind int, listen bool) func(*testing.T, string) {
		return func(t *testing.T, path string) {
			fd, err := unix.Socket(unix.AF_UNIX, kind|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() {
				if _, errno := sys.Accept(fd, false); errno == 0 {
					t.Error("the live socket has a connection waiting")
				}
				unix.Close(fd)
			})
			if err := unix.Bind(fd, &unix.SockaddrUnix{Name: path}); err != nil {
				t.Fatal(err)
			}
			if listen {
				if err := unix.Listen(fd, 1); err != nil {
					t.Fatal(err)
				}
			}
		}
	}
	dead := func(network string) func(*testing.T, string) {
		return func(t *testing.T, path string) { deadSocket(t, network, path) }
	}
	ok := func(t *testing.T, err error) {
		if err != nil {
			t.Fatal(err)
		}
	}
	for _, test := range []place{
		{"nothing", func(*testing.T, string) {}, nil, ""},
		{"a dead stream socket", dead("unix"), nil, ""},
		{"a dead seqpacket socket", dead("unixpacket"), nil, ""},
		{"a live stream socket", socket(unix.SOCK_STREAM, true), syscall.EADDRINUSE, "listens there"},
		{"a live seqpacket socket", socket(unix.SOCK_SEQPACKET, true), syscall.EADDRINUSE, "listens there"},
		{"a live datagram socket", socket(unix.SOCK_DGRAM, false), syscall.EADDRINUSE, "listens there"},
		{"a socket that does not listen yet", socket(unix.SOCK_SEQPACKET, false), syscall.EADDRINUSE, "listens there"},
		{"a regular file", func(t *testing.T, path string) {
			ok(t, os.WriteFile(path, nil, 0o600))
		}, fs.ErrExist, "a regular file"},
		{"a directory", func(t *testing.T, path string) {
			ok(t, os.Mkdir(path, 0o700))
		}, fs.ErrExist, "a directory"},
		{"a named pipe", func(t *testing.T, path string) {
			ok(t, unix.Mkfifo(path, 0o600))
		}, fs.ErrExist, "a named pipe"},
		{"a symbolic link to a dead socket", func(t *testing.T, path string) {
			deadSocket(t, "unixpacket", path+"-target")
			ok(t, os.Symlink(path+"-target", path))
		}, fs.ErrExist, "a symbolic link"},
		{"a symbolic link to nothing", func(t *testing.T, path string) {
			ok(t, os.Symlink(path+"-target", path))
		}, fs.ErrExist, "a symbolic link"},
		{"a dead socket of another user", func(t *testing.T, path string) {
			needRoot(t)
			deadSocket(t, "unixpacket", path)
			ok(t, os.Chown(path, nobody, nobody))
		}, fs.ErrPermission, "a socket of user 65534"},
		{"a live socket of another user", func(t *testing.T, path string) {
			needRoot(t)
			socket(unix.SOCK_SEQPACKET, true)(t, path)
			ok(t, os.Chown(path, nobody, nobody))
		}, fs.ErrPermission, "a socket of user 65534"},
		{"a dead socket, and a lock that is another user's", func(t *testing.T, path string) {
			needRoot(t)
			deadSocket(t, "unixpacket", path)
			lock := filepath.Join(filepath.Dir(path), ".socket.fastpass-lock")
			ok(t, os.WriteFile(lock, nil, 0o666))
			ok(t, os.Chown(lock, nobody, nobody))
		}, fs.ErrPermission, "not this user's file"},
		{"a dead socket, and a lock that leads elsewhere", func(t *testing.T, path string) {
			deadSocket(t, "unixpacket", path)
			ok(t, os.Symlink("elsewhere", filepath.Join(filepath.Dir(path), ".socket.fastpass-lock")))
		}, syscall.ELOOP, ".socket.fastpass-lock"},
		{"a dead socket, and a lock that a killed process has left", func(t *testing.T, path string) {
			deadSocket(t, "unixpacket", path)
			ok(t, os.WriteFile(filepath.Join(filepath.Dir(path), ".socket.fastpass-lock"), nil, 0o600))
		}, nil, ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			noLeaks(t)
			dir := t.TempDir()
			path := filepath.Join(dir, "socket")
			test.make(t, path)
			before := names(t, dir)
			fi, _ := os.Lstat(path)
			l, err := Listen(path, nil)
			if test.want == nil {
				if err != nil {
					t.Fatal(err)
				}
				defer l.Close()
				if got := names(t, dir); got != "socket" {
					t.Errorf("the directory holds %q", got)
				}
				dialOne(t, path, nil)
				acceptOne(t, l)
				return
			}
			if err == nil {
				l.Close()
			}
			if !errors.Is(err, test.want) || !strings.Contains(err.Error(), test.text) {
				t.Errorf("Listen: %v; want %v and %q", err, test.want, test.text)
			}
			if got := names(t, dir); got != before {
				t.Errorf("the directory holds %q, not %q as before", got, before)
			}
			if now, err := os.Lstat(path); err != nil || !os.SameFile(fi, now) {
				t.Errorf("there is another file now: %v", err)
			}
		})
	}
}

func TestListenReplacesTheSocketOfAKilledProcess(t *testing.T) {
	noLeaks(t)
	path := filepath.Join(t.TempDir(), "socket")
	c := startChild(t, "listen-until-killed", nil, dialSpec{Path: path})
	c.expect("listening")
	if _, err := Listen(path, nil); !errors.Is(err, syscall.EADDRINUSE) {
		t.Errorf("while it lives: %v", err)
	}
	c.signal(unix.SIGKILL)
	c.status()
	if _, err := Dial(context.Background(), path, nil); !errors.Is(err, syscall.ECONNREFUSED) {
		t.Errorf("Dial: %v", err)
	}
	listenAt(t, path, nil)
}

func TestOfManyThatListenAtOnceOneSucceeds(t *testing.T) {
	t.Run("goroutines", func(t *testing.T) {
		noLeaks(t)
		path := filepath.Join(t.TempDir(), "socket")
		for range scaled(300) {
			deadSocket(t, "unixpacket", path)
			got := make(chan *Listener, 8)
			for range cap(got) {
				go func() {
					l, err := Listen(path, seqpacket)
					if err != nil && !errors.Is(err, syscall.EADDRINUSE) {
						t.Error(err)
					}
					got <- l
				}()
			}
			var won *Listener
			for range cap(got) {
				if l := <-got; l != nil {
					if won != nil {
						t.Error("two listen in the same place")
						l.Close()
					}
					won = l
				}
			}
			if won == nil {
				t.Fatal("nobody listens")
			}
			c, err := net.Dial("unixpacket", path)
			if err != nil {
				t.Fatal(err)
			}
			c.Close()
			won.Close()
		}
	})
	t.Run("processes", func(t *testing.T) {
		noLeaks(t)
		path := filepath.Join(t.TempDir(), "socket")
		children := make([]*child, 4)
		for i := range children {
			children[i] = startChild(t, "listen-race", nil, dialSpec{Path: path})
			children[i].expect("ready")
		}
		for range scaled(300) {
			deadSocket(t, "unixpacket", path)
			won := 0
			for _, c := range children {
				c.say("listen")
			}
			for _, c := range children {
				if c.hear() == "true" {
					won++
				}
			}
			if won != 1 {
				t.Fatalf("%d processes listen in the same place", won)
			}
			c, err := net.Dial("unixpacket", path)
			if err != nil {
				t.Fatal(err)
			}
			c.Close()
			for _, c := range children {
				c.say("close")
				c.expect("closed")
			}
		}
		for _, c := range children {
			c.in.Close()
			c.succeed()
		}
	})
}

func TestAPathIsAsLongAsASocketAddressAllows(t *testing.T) {
	noLeaks(t)
	t.Chdir(t.TempDir())
	portable := sys.Implementation != "sendmmsg/recvmmsg"
	deep := strings.Repeat("d", 105)
	if err := os.Mkdir(deep, 0o700); err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct {
		name      string
		path      string
		limit     int // 0: it fits
		listening int // where Listen needs some for itself
	}{
		{"short", "s", 0, 0},
		{"the longest name", strings.Repeat("x", 107), 0, 0},
		{"the longest path to a short name", deep + "/x", 0, 88},
		{"one more", strings.Repeat("x", 108), 107, 0},
		{"the longest abstract name", "@" + strings.Repeat("x", 107), 0, 0},
		{"one more in an abstract name", "@" + strings.Repeat("x", 108), 108, 0},
		{"far too long", strings.Repeat("x", 5000), 107, 0},
	} {
		t.Run(test.name, func(t *testing.T) {
			noLeaks(t)
			refused := func(what string, err error, limit int) {
				t.Helper()
				text := fmt.Sprintf("the path is %d bytes long, and a socket's may be %d here", len(test.path), limit)
				if !errors.Is(err, syscall.ENAMETOOLONG) || !strings.Contains(err.Error(), text) {
					t.Errorf("%s: %v; want %q", what, err, text)
				}
			}
			l, err := Listen(test.path, nil)
			if test.limit > 0 {
				refused("Listen", err, test.limit)
				_, err = Dial(context.Background(), test.path, nil)
				refused("Dial", err, test.limit)
				return
			}
			if portable && test.listening > 0 {
				refused("Listen", err, test.listening)
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			dialOne(t, test.path, nil)
			acceptOne(t, l)
			if err := l.Close(); err != nil {
				t.Fatal(err)
			}
			if left := names(t, ".") + " " + names(t, deep); left != deep+" " {
				t.Errorf("left over: %q", left)
			}
		})
	}
}

func TestBadPathsAreRefused(t *testing.T) {
	noLeaks(t)
	t.Chdir(t.TempDir())
	for _, test := range []struct{ path, text string }{
		{"", "the path is empty"},
		{"@", "no name follows"},
		{"a\x00b", "zero byte"},
	} {
		for what, f := range map[string]func() error{
			"Listen": func() error { _, err := Listen(test.path, nil); return err },
			"Dial":   func() error { _, err := Dial(context.Background(), test.path, nil); return err },
		} {
			if err := f(); !errors.Is(err, syscall.EINVAL) || !strings.Contains(err.Error(), test.text) {
				t.Errorf("%s %q: %v; want %q", what, test.path, err, test.text)
			}
		}
	}
	for path, want := range map[string]error{
		"/": fs.ErrExist, ".": fs.ErrExist, "..": fs.ErrExist, "no/such": fs.ErrNotExist, "/dev/null/x": syscall.ENOTDIR,
	} {
		if _, err := Listen(path, nil); !errors.Is(err, want) {
			t.Errorf("Listen %q: %v", path, err)
		}
	}
	if left := names(t, "."); left != "" {
		t.Errorf("left over: %q", left)
	}
}

func TestAnAbstractNameIsInUseUntilClose(t *testing.T) {
	noLeaks(t)
	t.Chdir(t.TempDir())
	name := abstractName(t)
	l := listenAt(t, name, nil)
	if _, err := Listen(name, nil); !errors.Is(err, syscall.EADDRINUSE) {
		t.Errorf("second Listen: %v", err)
	}
	dialOne(t, name, nil)
	acceptOne(t, l)
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := Dial(context.Background(), name, nil); !errors.Is(err, syscall.ECONNREFUSED) || !strings.Contains(err.Error(), "abstract") {
		t.Errorf("Dial after Close: %v", err)
	}
	if err := listenAt(t, name, nil).Close(); err != nil {
		t.Fatal(err)
	}
	if left := names(t, "."); left != "" {
		t.Errorf("left over: %q", left)
	}
}

func TestAnotherUserIsRefusedBeforeTheFirstByte(t *testing.T) {
	needRoot(t)
	for _, l := range everyLink {
		for _, abstract := range []bool{false, true} {
			t.Run(fmt.Sprintf("%v, abstract %t", l, abstract), func(t *testing.T) {
				noLeaks(t)
				path := filepath.Join(openTempDir(t), "socket")
				if abstract {
					path = abstractName(t)
				}
				ln := listenAt(t, path, l.config())
				if !abstract {
					if err := os.Chmod(path, 0o666); err != nil {
						t.Fatal(err)
					}
				}
				intruder := startChild(t, "dial-raw", nil, dialSpec{Link: l, Path: path, User: nobody})
				intruder.expect("sent") // so it is the first in the backlog
				friend := dialOne(t, path, l.config())
				p := acceptOne(t, ln)
				if got := ln.Refused(); got != 1 {
					t.Errorf("%d refused", got)
				}
				intruder.expect("0 bytes, reset true")
				intruder.succeed()
				if err := p.Send(Desc{FD: null(t)}); err != nil {
					t.Fatal(err)
				}
				d, err := friend.Recv()
				if err != nil {
					t.Fatal(err)
				}
				CloseFDs([]int{d.FD})
			})
		}
	}
}

func TestTheModeKeepsOtherUsersOut(t *testing.T) {
	needRoot(t)
	noLeaks(t)
	path := filepath.Join(openTempDir(t), "socket")
	listenAt(t, path, nil)
	startChild(t, "dial-denied", nil, dialSpec{Path: path, User: nobody}).succeed()
}

func TestAuthorizeDecidesWhoTakesPart(t *testing.T) {
	needRoot(t)
	noLeaks(t)
	path := filepath.Join(openTempDir(t), "socket")
	var asked []Credentials
	l := linkConfig{Protocol: Framed, Network: "unixpacket"}
	cfg := l.config()
	cfg.Authorize = func(c Credentials) error {
		asked = append(asked, c)
		if c.UID != nobody {
			return errors.New("nobody only")
		}
		return nil
	}
	ln := listenAt(t, path, cfg)
	if err := os.Chmod(path, 0o666); err != nil {
		t.Fatal(err)
	}
	own := dialOne(t, path, l.config())
	c := startChild(t, "dial-echo", nil, dialSpec{Link: l, Path: path, User: nobody, N: 10})
	p := acceptOne(t, ln)
	pid := c.cmd.Process.Pid
	if p.Peer() != (Credentials{PID: pid, UID: nobody, GID: nobody}) {
		t.Errorf("Peer: %+v", p.Peer())
	}
	if want := []Credentials{{PID: os.Getpid()}, {PID: pid, UID: nobody, GID: nobody}}; fmt.Sprint(asked) != fmt.Sprint(want) {
		t.Errorf("Authorize was asked about %v, not %v", asked, want)
	}
	passBothWays(t, p, 10)
	c.succeed()
	wait(t, "the refused link ends", own.Done())
	if !errors.Is(own.Err(), ErrPeerGone) {
		t.Errorf("the refused end: %v", own.Err())
	}
}

func TestDialRefusesAListenerOfAnotherUserBeforeTheFirstByte(t *testing.T) {
	needRoot(t)
	for _, l := range everyLink {
		t.Run(l.String(), func(t *testing.T) {
			noLeaks(t)
			path := filepath.Join(openTempDir(t), "socket")
			c := startChild(t, "listen-raw", nil, dialSpec{Link: l, Path: path, User: nobody})
			c.expect("listening")
			p, err := Dial(context.Background(), path, l.config())
			if err == nil {
				p.Close()
			}
			if !errors.Is(err, fs.ErrPermission) || !strings.Contains(err.Error(), "user 65534") {
				t.Errorf("Dial: %v", err)
			}
			c.expect("0 bytes, %v", io.EOF)
			c.succeed()
		})
	}
}

func TestDialAsksAuthorize(t *testing.T) {
	noLeaks(t)
	path := filepath.Join(t.TempDir(), "socket")
	listenAt(t, path, nil)
	no := errors.New("not this one")
	var asked Credentials
	p, err := Dial(context.Background(), path, &Config{Authorize: func(c Credentials) error {
		asked = c
		return no
	}})
	if p != nil || !errors.Is(err, no) {
		t.Errorf("Dial: %v, %v", p, err)
	}
	if want := (Credentials{PID: os.Getpid(), UID: os.Geteuid(), GID: os.Getegid()}); asked != want {
		t.Errorf("Authorize was asked about %+v, not %+v", asked, want)
	}
}

func TestDialSaysWhatIsWrong(t *testing.T) {
	noLeaks(t)
	dir := t.TempDir()
	at := func(name string) string { return filepath.Join(dir, name) }
	deadSocket(t, "unixpacket", at("dead"))
	if err := os.WriteFile(at("file"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	listenAt(t, at("live"), &Config{Network: "unix"})
	ended, cancel := context.WithCancel(context.Background())
	cancel()
	for _, test := range []struct {
		name, path, text string
		ctx              context.Context
		cfg              *Config
		want             error
	}{
		{"nothing there", at("none"), "no such file", nil, nil, fs.ErrNotExist},
		{"a dead socket", at("dead"), "nobody listens on this socket", nil, nil, syscall.ECONNREFUSED},
		{"a regular file", at("file"), "it is a regular file and no socket", nil, nil, syscall.ECONNREFUSED},
		{"a directory", dir, "it is a directory and no socket", nil, nil, syscall.ECONNREFUSED},
		{"another type", at("live"), "Config.Network is not \"unixpacket\"", nil, seqpacket, syscall.EPROTOTYPE},
		{"a bad configuration", at("live"), "Config.Batch is 254", nil, &Config{Batch: 254}, nil},
		{"an ended context", at("live"), "", ended, &Config{Network: "unix"}, context.Canceled},
	} {
		t.Run(test.name, func(t *testing.T) {
			ctx := test.ctx
			if ctx == nil {
				ctx = context.Background()
			}
			p, err := Dial(ctx, test.path, test.cfg)
			if p != nil || err == nil || test.want != nil && !errors.Is(err, test.want) || !strings.Contains(err.Error(), test.text) {
				t.Errorf("Dial: %v, %v; want %v and %q", p, err, test.want, test.text)
			}
		})
	}
}

func TestDialWaitsWhileTheBacklogIsFull(t *testing.T) {
	noLeaks(t)
	path := filepath.Join(t.TempDir(), "socket")
	fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_SEQPACKET|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(fd)
	if err := errors.Join(unix.Bind(fd, &unix.SockaddrUnix{Name: path}), unix.Listen(fd, 0)); err != nil {
		t.Fatal(err)
	}
	dialOne(t, path, seqpacket)
	if c, err := net.Dial("unixpacket", path); !errors.Is(err, syscall.EAGAIN) {
		t.Fatalf("the backlog is not full: %v, %v", c, err)
	}

	ctx, cancel := context.WithCancel(context.Background())
	dialled := make(chan error)
	go func() {
		_, err := Dial(ctx, path, seqpacket)
		dialled <- err
	}()
	cancel()
	if err := <-dialled; !errors.Is(err, context.Canceled) {
		t.Errorf("Dial: %v", err)
	}

	var p *Passer
	go func() {
		var err error
		p, err = Dial(context.Background(), path, seqpacket)
		dialled <- err
	}()
	first, errno := sys.Accept(fd, false)
	if errno != 0 {
		t.Fatal(errno)
	}
	defer unix.Close(first)
	soon(t, "Dial finds room", func() { err = <-dialled })
	if err != nil {
		t.Fatal(err)
	}
	p.Close()
}

func TestAcceptEndsWithItsContextAndLosesNoConnection(t *testing.T) {
	noLeaks(t)
	path := filepath.Join(t.TempDir(), "socket")
	l := listenAt(t, path, nil)
	for range 100 {
		// Two wait, either of them in the kernel, and the first is called off while a connection comes.
		ctx, cancel := context.WithCancel(context.Background())
		links, errs := [2]*Passer{}, [2]error{}
		done := [2]chan struct{}{make(chan struct{}), make(chan struct{})}
		for i, ctx := range []context.Context{ctx, context.Background()} {
			go func() {
				defer close(done[i])
				links[i], errs[i] = l.Accept(ctx)
			}()
		}
		go cancel()
		clients := []*Passer{dialOne(t, path, nil)}
		wait(t, "Accept that is called off returns", done[0])
		if links[0] != nil { // the connection came first
			clients = append(clients, dialOne(t, path, nil))
		} else if errs[0] != context.Canceled {
			t.Fatal(errs[0])
		}
		wait(t, "Accept that is not called off returns", done[1])
		if links[1] == nil {
			t.Fatal(errs[1])
		}
		for _, p := range append(clients, links[0], links[1]) {
			if p != nil {
				p.Close()
			}
		}
	}
}

func TestAcceptDoesNothingForAContextThatHasEnded(t *testing.T) {
	noLeaks(t)
	path := filepath.Join(t.TempDir(), "socket")
	l := listenAt(t, path, nil)
	dialOne(t, path, nil)
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if p, err := l.Accept(ctx); p != nil || err != context.Canceled {
		t.Errorf("Accept: %v, %v", p, err)
	}
	acceptOne(t, l)
}

func TestCloseEndsAllCallsOfAcceptAndRemovesTheSocket(t *testing.T) {
	noLeaks(t)
	dir := t.TempDir()
	path := filepath.Join(dir, "socket")
	l := listenAt(t, path, nil)
	kept := dialOne(t, path, nil)
	p := acceptOne(t, l)
	const n = 5
	errs := make(chan error, n)
	var started sync.WaitGroup
	for range n {
		started.Add(1)
		go func() {
			started.Done()
			_, err := l.Accept(context.Background())
			errs <- err
		}()
	}
	started.Wait()
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	soon(t, "Accept returns", func() {
		for range n {
			if err := <-errs; err != net.ErrClosed {
				t.Errorf("Accept: %v", err)
			}
		}
	})
	if err := l.Close(); err != net.ErrClosed {
		t.Errorf("second Close: %v", err)
	}
	if _, err := l.Accept(context.Background()); err != net.ErrClosed {
		t.Errorf("Accept after Close: %v", err)
	}
	if left := names(t, dir); left != "" {
		t.Errorf("the directory holds %q", left)
	}
	if err := p.Send(Desc{FD: null(t)}); err != nil {
		t.Errorf("an accepted link has ended too: %v", err)
	}
	d, err := kept.Recv()
	if err != nil {
		t.Fatal(err)
	}
	CloseFDs([]int{d.FD})
}

func TestCloseLeavesWhatSomebodyElseHasPutThere(t *testing.T) {
	noLeaks(t)
	dir := t.TempDir()
	t.Chdir(dir)
	l := listenAt(t, "socket", nil)
	if err := os.Remove("socket"); err != nil {
		t.Fatal(err)
	}
	other := listenAt(t, "socket", nil)
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	dialOne(t, "socket", nil)
	acceptOne(t, other)
	t.Chdir("/") // Close must find the file from everywhere
	if err := other.Close(); err != nil {
		t.Fatal(err)
	}
	if left := names(t, dir); left != "" {
		t.Errorf("the directory holds %q", left)
	}
}

func TestASilentPeerHoldsNobodyUp(t *testing.T) {
	for _, l := range framedLinks {
		t.Run(l.String(), func(t *testing.T) {
			noLeaks(t)
			path := filepath.Join(t.TempDir(), "socket")
			ln := listenAt(t, path, l.config())
			silent, err := net.Dial(l.Network, path)
			if err != nil {
				t.Fatal(err)
			}
			defer silent.Close()
			c := startChild(t, "dial-echo", nil, dialSpec{Link: l, Path: path, N: 10})
			acceptOne(t, ln)
			passBothWays(t, acceptOne(t, ln), 10)
			c.succeed()
		})
	}
}

func TestAPeerThatHasGoneIsAcceptedAndSaysSo(t *testing.T) {
	for _, l := range everyLink {
		t.Run(l.String(), func(t *testing.T) {
			noLeaks(t)
			path := filepath.Join(t.TempDir(), "socket")
			ln := listenAt(t, path, l.config())
			c, err := net.Dial(l.Network, path)
			if err != nil {
				t.Fatal(err)
			}
			c.Close()
			p := acceptOne(t, ln)
			soon(t, "Recv returns", func() { _, err = p.Recv() })
			if l.Protocol == Framed && !errors.Is(err, ErrPeerGone) || l.Protocol == Bare && err != io.EOF {
				t.Errorf("Recv: %v", err)
			}
		})
	}
}

func TestAcceptWaitsWhileThereIsNoDescriptorLeft(t *testing.T) {
	noLeaks(t)
	startChild(t, "accept-without-descriptors", nil, dialSpec{Path: filepath.Join(t.TempDir(), "socket")}).succeed()
}
