//go:build unix

package fastpass

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"example.com/fdpass/internal/leak"
	"example.com/fdpass/internal/sys"

	"golang.org/x/sys/unix"
)

// patience is how long a test waits for something that must happen before it says that it does not. It decides only
// how long a failure takes.
const patience = 30 * time.Second

// scaled is n, or fewer where everything is slow: under the race detector, and with the system calls of 386, int 0x80,
// which on some virtual machines take ten times as long.
func scaled(n int) int {
	if slowBuild {
		return n / 10
	}
	return n
}

const slowBuild = raceEnabled || runtime.GOARCH == "386"

// brief says that a choice of the cases will do, where all of them take seconds: they are gone through in full by make
// unit, and for the other Unixes' implementation by make portable. The race detector, 386 and the tag invariants see
// some of each kind.
func brief() bool { return slowBuild || testing.Short() }

// linkConfig is the part of a Config that a child process needs to know.
type linkConfig struct {
	Protocol   Protocol
	Network    string
	Direction  Direction
	Window     int
	Batch      int
	Messages   int
	MaxPayload int
	Spin       time.Duration
}

func (c linkConfig) config() *Config {
	return &Config{
		Protocol: c.Protocol, Network: c.Network, Direction: c.Direction, Window: c.Window, Batch: c.Batch,
		Messages: c.Messages, MaxPayload: c.MaxPayload, Spin: c.Spin,
	}
}

func (c linkConfig) String() string {
	s := fmt.Sprintf("%v over %s", c.Protocol, c.Network)
	if c.Direction != Both {
		s += ", " + c.Direction.String()
	}
	return s
}

// everyLink are both protocols over both socket types.
var everyLink = []linkConfig{
	{Protocol: Framed, Network: "unixpacket"},
	{Protocol: Framed, Network: "unix"},
	{Protocol: Bare, Network: "unixpacket"},
	{Protocol: Bare, Network: "unix"},
}

// framedLinks are those of them that acknowledge.
var framedLinks = everyLink[:2]

// pairOf makes a link whose two ends are in this process.
func pairOf(t testing.TB, a, b *Config) (*Passer, *Passer) {
	t.Helper()
	p, f, err := Pair(a)
	if err != nil {
		t.Fatal(err)
	}
	return p, passerOf(t, f, b)
}

// socketpair makes the two ends of a link that are no Passers yet.
func socketpair(t testing.TB, network string) (a, b *os.File) {
	t.Helper()
	kind := unix.SOCK_SEQPACKET
	if network == "unix" {
		kind = unix.SOCK_STREAM
	}
	fds, err := sys.Socketpair(kind)
	if err != nil {
		t.Fatal(err)
	}
	return os.NewFile(uintptr(fds[0]), "link"), os.NewFile(uintptr(fds[1]), "link")
}

// passerOf makes a Passer of one end of a pair, whose file it closes.
func passerOf(t testing.TB, f *os.File, cfg *Config) *Passer {
	t.Helper()
	c, err := fileConn(f)
	if err != nil {
		t.Fatal(err)
	}
	p, err := New(c, cfg)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// link makes a link within this process and closes both ends after the test.
func link(t testing.TB, a, b *Config) (*Passer, *Passer) {
	t.Helper()
	p, q := pairOf(t, a, b)
	t.Cleanup(func() {
		soon(t, "both ends close", func() {
			p.Close()
			q.Close()
			closeUndelivered(p)
			closeUndelivered(q)
		})
	})
	return p, q
}

// closeUndelivered closes what p gives back and was not only lent to it.
func closeUndelivered(p *Passer) {
	for _, d := range p.Undelivered() {
		if !d.Keep {
			unix.Close(d.FD)
		}
	}
}

func fdsOf(ds []Desc) []int {
	fds := make([]int, 0, len(ds))
	for _, d := range ds {
		fds = append(fds, d.FD)
	}
	return fds
}

// soon runs f and fails the test, with all stacks, if it does not return.
func soon(t testing.TB, what string, f func()) {
	t.Helper()
	done := make(chan struct{})
	go func() {
		defer close(done)
		f()
	}()
	wait(t, what, done)
}

// wait waits for done to be closed.
func wait(t testing.TB, what string, done <-chan struct{}) {
	t.Helper()
	select {
	case <-done:
	case <-time.After(patience):
		t.Fatalf("never happens: %s\n%s", what, leak.Goroutines())
	}
}

// until waits for something that can only be looked at.
func until(t testing.TB, what string, f func() bool) {
	t.Helper()
	for end := time.Now().Add(patience); !f(); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("never happens: %s\n%s", what, leak.Goroutines())
		}
	}
}

// itself is this test binary once more, through the emulator that runs this one if there is one (make s390x).
func itself(args ...string) *exec.Cmd {
	path, err := filepath.Abs(os.Args[0])
	if err != nil {
		panic(err)
	}
	command := append([]string{path}, args...)
	if emulator := os.Getenv("FDPASS_TEST_EMULATOR"); emulator != "" {
		command = append([]string{emulator}, command...)
	}
	return exec.Command(command[0], command[1:]...)
}

// noLeaks fails the test if it leaves a descriptor, a goroutine, a child or a socket behind. It must be the first thing
// a test calls.
func noLeaks(t testing.TB) {
	t.Helper()
	before := leak.Take()
	t.Cleanup(func() {
		if what := before.Left(patience); what != "" && !t.Failed() {
			t.Errorf("left over:\n%s", what)
		}
	})
}

// numbered makes descriptors that can be told apart: their file offset is their number.
type numbered struct{ path string }

func newNumbered(t testing.TB) numbered {
	t.Helper()
	path := filepath.Join(t.TempDir(), "numbered")
	if err := os.WriteFile(path, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	return numbered{path}
}

func (s numbered) open(t testing.TB, number int) int {
	fd, err := s.tryOpen(number)
	if err != nil {
		t.Fatal(err)
	}
	return fd
}

func (s numbered) tryOpen(number int) (int, error) {
	fd, err := unix.Open(s.path, unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return -1, err
	}
	_, err = unix.Seek(fd, int64(number), io.SeekStart)
	return fd, err
}

func (s numbered) descs(t testing.TB, from, to int) []Desc {
	ds := make([]Desc, 0, to-from)
	for i := from; i < to; i++ {
		ds = append(ds, Desc{FD: s.open(t, i), Tag: uint64(i)})
	}
	return ds
}

// numberOf is the number of a descriptor of numbered, -1 if it is not open.
func numberOf(fd int) int {
	n, err := unix.Seek(fd, 0, io.SeekCurrent)
	if err != nil {
		return -1
	}
	return int(n)
}

// null is a descriptor of no interest.
func null(t testing.TB) int {
	t.Helper()
	fd, err := unix.Open("/dev/null", unix.O_RDWR|unix.O_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	return fd
}

func nulls(t testing.TB, n int) []Desc {
	t.Helper()
	ds := make([]Desc, n)
	for i := range ds {
		ds[i] = Desc{FD: null(t), Tag: uint64(i)}
	}
	return ds
}

// takeOne receives a descriptor, and closes it.
func takeOne(t testing.TB, p *Passer) {
	t.Helper()
	d, err := p.Recv()
	if err != nil {
		t.Fatal(err)
	}
	CloseFDs([]int{d.FD})
}

// recvN receives exactly n descriptors, at most batch at a time.
func recvN(p *Passer, n, batch int) ([]Desc, error) {
	var all []Desc
	for len(all) < n {
		ds := make([]Desc, min(batch, n-len(all)))
		got, err := p.RecvBatch(ds)
		if err != nil {
			return all, fmt.Errorf("after %d of %d: %w", len(all), n, err)
		}
		all = append(all, ds[:got]...)
	}
	return all, nil
}

// isOpen tells whether fd is an open descriptor of this process.
func isOpen(fd int) bool {
	_, err := unix.FcntlInt(uintptr(fd), unix.F_GETFD, 0)
	return err == nil
}

// child is a second process that plays a role. They talk in lines.
type child struct {
	t     testing.TB
	cmd   *exec.Cmd
	in    io.WriteCloser
	lines chan string
	ended chan struct{}
	err   error
}

// startChild starts role with link as its descriptor 3, if there is one, and arg, as JSON, for childArg.
func startChild(t testing.TB, role string, link *os.File, arg any) *child {
	t.Helper()
	return startCommand(t, childCommand(t, role, arg), link)
}

// childCommand is a command that plays role.
func childCommand(t testing.TB, role string, arg any) *exec.Cmd {
	t.Helper()
	js, err := json.Marshal(arg)
	if err != nil {
		t.Fatal(err)
	}
	cmd := itself()
	cmd.Env = append(os.Environ(), "FDPASS_TEST_ROLE="+role, "FDPASS_TEST_ARG="+string(js),
		"GORACE=atexit_sleep_ms=0") // by default every child of a test under -race sleeps a second before it ends
	cmd.Stderr = os.Stderr
	return cmd
}

func startCommand(t testing.TB, cmd *exec.Cmd, link *os.File) *child {
	t.Helper()
	if link != nil {
		cmd.ExtraFiles = []*os.File{link}
	}
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	if link != nil {
		link.Close()
	}
	c := &child{t: t, cmd: cmd, in: in, lines: make(chan string, 1<<16), ended: make(chan struct{})}
	go func() {
		for s := bufio.NewScanner(out); s.Scan(); {
			c.lines <- s.Text()
		}
		close(c.lines)
		c.err = cmd.Wait()
		close(c.ended)
	}()
	t.Cleanup(func() {
		c.cmd.Process.Kill()
		c.in.Close()
		wait(t, "the child process ends", c.ended)
	})
	return c
}

// say sends the child a line.
func (c *child) say(format string, args ...any) {
	c.t.Helper()
	if _, err := fmt.Fprintf(c.in, format+"\n", args...); err != nil {
		c.t.Fatal(err)
	}
}

// hear returns the next line of the child.
func (c *child) hear() string {
	c.t.Helper()
	select {
	case s, ok := <-c.lines:
		if !ok {
			c.t.Fatalf("the child process has ended: %v", c.status())
		}
		return s
	case <-time.After(patience):
		c.t.Fatalf("the child process says nothing\n%s", leak.Goroutines())
		return ""
	}
}

// expect waits for the child to say a certain line.
func (c *child) expect(format string, args ...any) {
	c.t.Helper()
	if got, want := c.hear(), fmt.Sprintf(format, args...); got != want {
		c.t.Fatalf("the child process says %q, not %q", got, want)
	}
}

// status waits for the child's end and says how it ended.
func (c *child) status() error {
	c.t.Helper()
	wait(c.t, "the child process ends", c.ended)
	return c.err
}

// succeed waits for the child to end without an error.
func (c *child) succeed() {
	c.t.Helper()
	if err := c.status(); err != nil {
		c.t.Fatalf("the child process: %v", err)
	}
}

func (c *child) signal(s unix.Signal) {
	c.t.Helper()
	if err := c.cmd.Process.Signal(s); err != nil {
		c.t.Fatal(err)
	}
}

// stopped waits until the child is, by a signal.
func (c *child) stopped() {
	c.t.Helper()
	if _, err := unix.Wait4(c.cmd.Process.Pid, nil, unix.WUNTRACED, nil); err != nil {
		c.t.Fatal(err)
	}
}

// The rest of this file is for the child process.

var childIn = sync.OnceValue(func() *bufio.Scanner { return bufio.NewScanner(os.Stdin) })

func childArg(arg any) {
	must(json.Unmarshal([]byte(os.Getenv("FDPASS_TEST_ARG")), arg))
}

// childLink makes a Passer of the descriptor 3 that the parent left, or of a connection to path.
func childLink(cfg *Config, path string) *Passer {
	var c *net.UnixConn
	var err error
	if path == "" {
		c, err = fileConn(os.NewFile(3, "link"))
	} else {
		network := cfg.Network
		c, err = net.DialUnix(network, nil, &net.UnixAddr{Name: path, Net: network})
	}
	must(err)
	p, err := New(c, cfg)
	must(err)
	return p
}

func say(format string, args ...any) { fmt.Printf(format+"\n", args...) }

// hear returns the next line of the parent, "" after the last.
func hear() string {
	childIn().Scan()
	return childIn().Text()
}

func must(err error) { require(err == nil, "%v", err) }

// require ends the child process unless ok.
func require(ok bool, format string, args ...any) {
	if ok {
		return
	}
	_, file, line, _ := runtime.Caller(1)
	if strings.HasSuffix(file, "helpers_test.go") {
		_, file, line, _ = runtime.Caller(2)
	}
	fmt.Fprintf(os.Stderr, "child process, %s:%d: %s\n", filepath.Base(file), line, fmt.Sprintf(format, args...))
	os.Exit(1)
}

// isEnd tells whether err is an orderly end.
func isEnd(err error) bool { return errors.Is(err, io.EOF) }

// childSpec is the argument of most roles.
type childSpec struct {
	Link  linkConfig
	Path  string // dial this; "": descriptor 3
	N     int
	Extra string
}

// childEnd is the argument of a role, and the end of a link that it speaks of.
func childEnd() (spec childSpec, p *Passer) {
	childArg(&spec)
	return spec, childLink(spec.Link.config(), spec.Path)
}

// linkTo starts role at the other end of a link of the given kind, over a socketpair or a socket in the filesystem.
func linkTo(t testing.TB, role string, cfg *Config, spec childSpec, filesystem bool) (*Passer, *child) {
	t.Helper()
	if !filesystem {
		p, f, err := Pair(cfg)
		if err != nil {
			t.Fatal(err)
		}
		c := startChild(t, role, f, spec)
		closeAfter(t, p)
		return p, c
	}
	spec.Path = filepath.Join(t.TempDir(), "socket")
	ln, err := net.ListenUnix(cfg.Network, &net.UnixAddr{Name: spec.Path, Net: cfg.Network})
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	c := startChild(t, role, nil, spec)
	ln.SetDeadline(time.Now().Add(patience))
	conn, err := ln.AcceptUnix()
	if err != nil {
		t.Fatal(err)
	}
	p, err := New(conn, cfg)
	if err != nil {
		t.Fatal(err)
	}
	closeAfter(t, p)
	return p, c
}

// closeAfter closes p after the test, and what it has not delivered.
func closeAfter(t testing.TB, p *Passer) {
	t.Cleanup(func() {
		soon(t, "Close returns", func() { p.Close() })
		closeUndelivered(p)
	})
}

// everywhere runs test for each kind of link over a socketpair and over a socket in the filesystem.
func everywhere(t *testing.T, links []linkConfig, test func(t *testing.T, l linkConfig, filesystem bool)) {
	for _, l := range links {
		for _, filesystem := range []bool{false, true} {
			name := l.String() + ", socketpair"
			if filesystem {
				name = l.String() + ", filesystem"
			}
			t.Run(name, func(t *testing.T) {
				noLeaks(t)
				test(t, l, filesystem)
			})
		}
	}
}

// bothWaysToRead runs test for each kind of link, with the receiver there reading for itself and through the pump.
func bothWaysToRead(t *testing.T, links []linkConfig, test func(t *testing.T, l, there linkConfig)) {
	for _, l := range links {
		for _, dir := range []Direction{Both, RecvOnly} {
			there := l
			there.Direction = dir
			t.Run(there.String(), func(t *testing.T) {
				noLeaks(t)
				test(t, l, there)
			})
		}
	}
}

// tcpClients makes n connections to addr, one after the other, to be closed after the test.
func tcpClients(t testing.TB, addr string, n int) (clients []net.Conn) {
	t.Helper()
	for range n {
		c, err := net.DialTimeout("tcp", addr, patience)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { c.Close() })
		clients = append(clients, c)
	}
	return clients
}

// dupFD returns a duplicate of f.
func dupFD(f *os.File) (int, error) { return unix.FcntlInt(f.Fd(), unix.F_DUPFD_CLOEXEC, 0) }

// lingering makes n descriptors of which each takes longer to close than any test waits for anything: TCP sockets with
// SO_LINGER, and what they have sent is read by nobody. Relent ends that.
func lingering(t testing.TB, n int) (fds []int, relent func()) {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	var others []net.Conn
	for range n {
		c, err := net.Dial("tcp", ln.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		other, err := ln.Accept()
		if err != nil {
			t.Fatal(err)
		}
		others = append(others, other)
		fd := connDetach(t, c)
		fds = append(fds, fd)
		for b := make([]byte, 1<<16); err == nil; { // until both buffers are full
			_, err = unix.Write(fd, b)
		}
		hours := &unix.Linger{Onoff: 1, Linger: 7200}
		if err := unix.SetsockoptLinger(fd, unix.SOL_SOCKET, unix.SO_LINGER, hours); err != nil {
			t.Fatal(err)
		}
	}
	return fds, func() {
		for _, c := range others {
			c.(*net.TCPConn).SetLinger(0) // the close is a reset, which ends the lingering
			c.Close()
		}
	}
}

// closeAll closes what comes over p, until it ends.
func closeAll(p *Passer) {
	for {
		d, err := p.Recv()
		if err != nil {
			return
		}
		CloseFDs([]int{d.FD})
	}
}
