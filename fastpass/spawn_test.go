//go:build linux

package fastpass

import (
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

func init() {
	roles["spawn-echo"] = func() {
		var spec childSpec
		childArg(&spec)
		p, err := Inherit(spec.Link.config())
		must(err)
		require(os.Getenv(inheritEnv) == "", "%s is still set", inheritEnv)
		_, err = Inherit(nil)
		require(err != nil && strings.Contains(err.Error(), "not started by Spawn"), "second Inherit: %v", err)
		requireCloseOnExec(p, 3)
		echo(p, spec.N)
	}
	roles["spawn-extra"] = func() {
		fd := os.Getenv(inheritEnv)
		b := make([]byte, 5)
		_, err := os.NewFile(3, "extra").ReadAt(b, 0)
		must(err)
		_, err = Inherit(nil)
		must(err)
		say("%s %s %q %q", fd, b, os.Getenv("FDPASS_TEST_OF_THE_PARENT"), os.Getenv("PWD"))
	}
	roles["spawn-dies"] = func() {
		_, err := Inherit(nil)
		must(err)
	}
}

// echo sends n descriptors back in the order in which they came, and waits for the orderly end.
func echo(p *Passer, n int) {
	ds, err := recvN(p, n, 7)
	must(err)
	for _, d := range ds {
		must(p.Send(Desc{FD: d.FD, Tag: d.Tag + 1000}))
	}
	_, err = p.Recv()
	require(isEnd(err), "after the last: %v", err)
	must(p.Close())
}

// requireCloseOnExec ends the child process if its own children would get fd, or the socket of p.
func requireCloseOnExec(p *Passer, fd int) {
	raw, err := p.SyscallConn()
	must(err)
	must(raw.Control(func(own uintptr) {
		for _, fd := range []uintptr{own, uintptr(fd)} {
			flags, err := unix.FcntlInt(fd, unix.F_GETFD, 0)
			require(err == unix.EBADF || flags&unix.FD_CLOEXEC != 0, "descriptor %d would be inherited", fd)
		}
	}))
}

// passBothWays has the echo at the other end of p return n descriptors.
func passBothWays(t *testing.T, p *Passer, n int) {
	t.Helper()
	numbers := newNumbered(t)
	for _, d := range numbers.descs(t, 0, n) {
		if err := p.Send(d); err != nil {
			t.Fatal(err)
		}
	}
	ds, err := recvN(p, n, 16)
	if err != nil {
		t.Fatal(err)
	}
	defer CloseFDs(fdsOf(ds))
	for i, d := range ds {
		if got := numberOf(d.FD); got != i {
			t.Fatalf("descriptor %d comes back as the %d.", got, i)
		}
		if p.cfg.Protocol == Framed && d.Tag != uint64(i)+1000 {
			t.Fatalf("descriptor %d comes back with tag %d", i, d.Tag)
		}
	}
	if err := p.Close(); err != nil {
		t.Fatal(err)
	}
}

func TestSpawnAndInheritPassDescriptorsBothWays(t *testing.T) {
	for _, l := range everyLink {
		t.Run(l.String(), func(t *testing.T) {
			noLeaks(t)
			const n = 100
			cmd := childCommand(t, "spawn-echo", childSpec{Link: l, N: n})
			p, err := Spawn(cmd, l.config())
			if err != nil {
				t.Fatal(err)
			}
			closeAfter(t, p)
			if got := p.Peer().PID; got != os.Getpid() {
				t.Errorf("Peer: process %d, not %d, which made the pair", got, os.Getpid())
			}
			passBothWays(t, p, n)
			if err := cmd.Wait(); err != nil {
				t.Fatal(err)
			}
		})
	}
}

func TestSpawnKeepsExtraFilesAndTheEnvironment(t *testing.T) {
	noLeaks(t)
	dir, err := filepath.EvalSymlinks(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	extra, err := os.Create(filepath.Join(dir, "extra"))
	if err != nil {
		t.Fatal(err)
	}
	defer extra.Close()
	extra.WriteString("extra")
	for _, nilEnv := range []bool{true, false} {
		t.Run(fmt.Sprintf("Env nil %t", nilEnv), func(t *testing.T) {
			t.Setenv(inheritEnv, "99") // this process might itself be a child
			t.Setenv("FDPASS_TEST_ROLE", "spawn-extra")
			t.Setenv("FDPASS_TEST_OF_THE_PARENT", "of the parent")
			var out strings.Builder
			files := make([]*os.File, 1, 2)
			files[0] = extra
			cmd := itself()
			cmd.ExtraFiles, cmd.Dir, cmd.Stdout, cmd.Stderr = files, dir, &out, os.Stderr
			want := fmt.Sprintf("4 extra %q %q\n", "of the parent", dir)
			if !nilEnv {
				cmd.Env = []string{"FDPASS_TEST_ROLE=spawn-extra", "PWD=mine"}
				want = fmt.Sprintf("4 extra %q %q\n", "", "mine")
			}
			p, err := Spawn(cmd, nil)
			if err != nil {
				t.Fatal(err)
			}
			closeAfter(t, p)
			if err := cmd.Wait(); err != nil {
				t.Fatal(err)
			}
			if out.String() != want {
				t.Errorf("the child sees %q, not %q", &out, want)
			}
			if files[:2][1] != nil {
				t.Error("Spawn wrote into the caller's array behind ExtraFiles")
			}
			if got := os.Getenv(inheritEnv); got != "99" {
				t.Errorf("Spawn changed this process's environment: %q", got)
			}
		})
	}
}

func TestSpawnThatFailsLeavesTheCommandAsItWasAndNothingOpen(t *testing.T) {
	noLeaks(t)
	missing := filepath.Join(t.TempDir(), "missing")
	for _, test := range []struct {
		name string
		cmd  *exec.Cmd
		cfg  *Config
		want func(error) bool
	}{
		{"no such program", exec.Command(missing), nil, func(err error) bool { return errors.Is(err, fs.ErrNotExist) }},
		{"bad configuration", exec.Command(missing), &Config{Window: 3}, func(err error) bool {
			return strings.Contains(err.Error(), "Config.Window is 3")
		}},
	} {
		t.Run(test.name, func(t *testing.T) {
			test.cmd.ExtraFiles, test.cmd.Env = []*os.File{os.Stdin}, []string{"A=B"}
			p, err := Spawn(test.cmd, test.cfg)
			if p != nil || err == nil || !test.want(err) {
				t.Errorf("Spawn: %v, %v", p, err)
			}
			if got := fmt.Sprint(test.cmd.ExtraFiles, test.cmd.Env); got != fmt.Sprint([]*os.File{os.Stdin}, []string{"A=B"}) {
				t.Errorf("afterwards ExtraFiles and Env are %s", got)
			}
		})
	}
}

func TestSpawnRefusesACommandThatRuns(t *testing.T) {
	noLeaks(t)
	cmd := childCommand(t, "spawn-dies", nil)
	p, err := Spawn(cmd, nil)
	if err != nil {
		t.Fatal(err)
	}
	closeAfter(t, p)
	if _, err := Spawn(cmd, nil); err == nil || !strings.Contains(err.Error(), "started already") {
		t.Errorf("second Spawn: %v", err)
	}
	if n := len(cmd.ExtraFiles); n != 1 {
		t.Errorf("the command has %d extra files", n)
	}
	if err := cmd.Wait(); err != nil {
		t.Fatal(err)
	}
}

func TestSpawnedChildThatExitsWithoutAWordEndsTheLink(t *testing.T) {
	noLeaks(t)
	cmd := childCommand(t, "spawn-dies", nil)
	p, err := Spawn(cmd, nil)
	if err != nil {
		t.Fatal(err)
	}
	closeAfter(t, p)
	wait(t, "the link ends", p.Done())
	if !errors.Is(p.Err(), ErrPeerGone) {
		t.Errorf("Err: %v", p.Err())
	}
	if err := cmd.Wait(); err != nil {
		t.Fatal(err)
	}
}

func TestInheritRefusesWhatSpawnDidNotLeave(t *testing.T) {
	noLeaks(t)
	socket := func(family, kind int) int {
		fd, err := unix.Socket(family, kind|unix.SOCK_CLOEXEC, 0)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { unix.Close(fd) })
		return fd
	}
	file := null(t)
	t.Cleanup(func() { unix.Close(file) })
	closed, err := unix.FcntlInt(uintptr(file), unix.F_DUPFD_CLOEXEC, 500) // a number that nothing takes meanwhile
	if err != nil {
		t.Fatal(err)
	}
	unix.Close(closed)
	tcp, datagram := socket(unix.AF_INET, unix.SOCK_STREAM), socket(unix.AF_UNIX, unix.SOCK_DGRAM)
	for _, test := range []struct {
		name, value, want string
		fd                int
	}{
		{"empty", "", "not the number", -1},
		{"a word", "three", "not the number", -1},
		{"negative", "-1", "not the number", -1},
		{"trailing space", "3 ", "not the number", -1},
		{"beyond int", "99999999999999999999", "not the number", -1},
		{"not open", strconv.Itoa(closed), "no such descriptor is open", -1},
		{"a file", strconv.Itoa(file), "not a socket", file},
		{"TCP", strconv.Itoa(tcp), "no AF_UNIX socket", tcp},
		{"datagram", strconv.Itoa(datagram), "neither of stream nor of seqpacket", datagram},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Setenv(inheritEnv, test.value)
			p, err := Inherit(nil)
			if p != nil || err == nil || !strings.Contains(err.Error(), test.want) {
				t.Errorf("Inherit: %v, %v; want an error with %q", p, err, test.want)
			}
			if _, set := os.LookupEnv(inheritEnv); set {
				t.Error("the variable is still set")
			}
			if test.fd >= 0 && !isOpen(test.fd) {
				t.Error("Inherit has closed a descriptor that is not its own")
			}
		})
	}
}

func TestInheritSucceedsOnceHoweverManyTry(t *testing.T) {
	noLeaks(t)
	p, f, err := Pair(nil)
	if err != nil {
		t.Fatal(err)
	}
	closeAfter(t, p)
	fd, err := unix.FcntlInt(f.Fd(), unix.F_DUPFD, 3)
	if err != nil {
		t.Fatal(err)
	}
	f.Close()
	t.Setenv(inheritEnv, strconv.Itoa(fd))
	const tries = 8
	links := make(chan *Passer, tries)
	for range tries {
		go func() {
			q, _ := Inherit(nil)
			links <- q
		}()
	}
	n := 0
	for range tries {
		if q := <-links; q != nil {
			n++
			closeAfter(t, q)
		}
	}
	if n != 1 {
		t.Errorf("%d of %d calls of Inherit succeeded", n, tries)
	}
}

func TestInheritThatFailsInNewClosesTheSocket(t *testing.T) {
	noLeaks(t)
	ln, err := net.ListenUnix("unix", &net.UnixAddr{Name: filepath.Join(t.TempDir(), "s"), Net: "unix"})
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	f, err := ln.File()
	if err != nil {
		t.Fatal(err)
	}
	fd, err := unix.FcntlInt(f.Fd(), unix.F_DUPFD_CLOEXEC, 3)
	if err != nil {
		t.Fatal(err)
	}
	f.Close()
	t.Setenv(inheritEnv, strconv.Itoa(fd))
	if _, err := Inherit(nil); err == nil {
		t.Error("Inherit takes a listening socket for a link")
	}
	if isOpen(fd) {
		t.Error("the descriptor is still open")
	}
}
