package front

import (
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"testing"

	"example.com/fdpass/bench/compare/role"
	"example.com/fdpass/bench/compare/strace"
	"example.com/fdpass/fastpass"

	"golang.org/x/sys/unix"
)

// What a worker does with a descriptor that has come: it makes a net.Conn of it, and closes that when it is served.
var conns = map[string]func(fd int) (net.Conn, error){
	"fastpass.NewConn": func(fd int) (net.Conn, error) { return fastpass.NewConn(fastpass.Desc{FD: fd}) },
	"net.FileConn": func(fd int) (net.Conn, error) {
		f := os.NewFile(uintptr(fd), "connection")
		c, err := net.FileConn(f)
		return c, errors.Join(err, f.Close())
	},
}

func init() {
	role.Register("front: make connections", func(args []string) error {
		n, err := strconv.Atoi(args[1])
		if err != nil {
			return err
		}
		return makeConns(conns[args[0]], n)
	})
}

func makeConns(of func(fd int) (net.Conn, error), n int) error {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	defer ln.Close()
	c, err := net.Dial("tcp", ln.Addr().String())
	if err != nil {
		return err
	}
	defer c.Close()
	raw, err := c.(*net.TCPConn).SyscallConn()
	if err != nil {
		return err
	}
	for range n {
		var fd int
		if cerr := raw.Control(func(s uintptr) { fd, err = unix.FcntlInt(s, unix.F_DUPFD_CLOEXEC, 0) }); cerr != nil || err != nil {
			return errors.Join(cerr, err)
		}
		made, err := of(fd)
		if err != nil {
			return err
		}
		if err := made.Close(); err != nil {
			return err
		}
	}
	return nil
}

// From a descriptor to a net.Conn and its end it takes 2 system calls: what it is, and close.
func TestAConnTakesFewSystemCalls(t *testing.T) {
	if _, err := exec.LookPath("strace"); err != nil {
		t.Skip("there is no strace to count with")
	}
	const few, many = 200, 1200
	calls := func(way string, n int) int {
		log := filepath.Join(t.TempDir(), "log")
		cmd := role.Command(t.Context(), "front: make connections", way, fmt.Sprint(n))
		cmd.Args = append(append([]string{"strace"}, strace.Options(log)...), cmd.Args...)
		cmd.Path, _ = exec.LookPath("strace")
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("%v: %s", err, out)
		}
		all, err := strace.Read(log)
		if err != nil {
			t.Fatal(err)
		}
		return all
	}
	took := map[string]float64{}
	for way := range conns {
		const dup = 1 // is the test's
		took[way] = float64(calls(way, many)-calls(way, few))/(many-few) - dup
		t.Logf("%s: %.2f system calls with close", way, took[way])
	}
	if n := took["fastpass.NewConn"]; n < 1.5 || n > 2.5 {
		t.Errorf("fastpass.NewConn takes %.2f system calls, want 2", n)
	}
}
