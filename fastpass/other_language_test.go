//go:build linux

package fastpass

import (
	"errors"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"sync"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

// The worker in Python that README shows serves what comes, several connections in a message, and ends with the front.
func TestAWorkerInPython(t *testing.T) {
	if err := exec.Command("python3", "-c", "import socket; socket.recv_fds").Run(); err != nil {
		t.Skipf("no Python with socket.recv_fds (3.9): %v", err)
	}
	for _, network := range []string{"unix", "unixpacket"} {
		t.Run(network, func(t *testing.T) {
			noLeaks(t)
			pool := newPool(t, nil)
			var workers []*exec.Cmd
			for range 2 {
				cmd := exec.Command("python3", "testdata/worker.py")
				cmd.Stderr = os.Stderr
				worker, err := Spawn(cmd, &Config{Protocol: Bare, Network: network, Direction: SendOnly})
				if err != nil {
					t.Fatal(err)
				}
				workers = append(workers, cmd)
				if err := pool.Add(worker); err != nil {
					t.Fatal(err)
				}
			}
			ln, err := net.Listen("tcp", "127.0.0.1:0")
			if err != nil {
				t.Fatal(err)
			}
			defer ln.Close()
			var clients sync.WaitGroup
			for range 8 {
				clients.Go(func() {
					for range 25 {
						if answer, err := ask(ln.Addr().String()); err != nil || answer != "hello from Python\n" {
							t.Errorf("answered %q, %v", answer, err)
							return
						}
						goAway(ln.Addr().String())
					}
				})
			}
			served := make(chan error, 1)
			go func() { served <- pool.Serve(ln) }()
			soon(t, "all are answered", clients.Wait)
			if err := pool.Shutdown(t.Context()); err != nil {
				t.Error(err)
			}
			soon(t, "the workers end", func() {
				for _, cmd := range workers {
					if err := cmd.Wait(); err != nil {
						t.Error(err)
					}
				}
			})
			if err := <-served; !errors.Is(err, net.ErrClosed) {
				t.Errorf("Serve: %v", err)
			}
		})
	}
}

// goAway connects, and resets the connection.
func goAway(addr string) {
	if c, err := net.Dial("tcp", addr); err == nil {
		c.(*net.TCPConn).SetLinger(0)
		c.Close()
	}
}

// ask asks for a page over a connection of its own.
func ask(addr string) (string, error) {
	c := http.Client{Transport: &http.Transport{DisableKeepAlives: true}, Timeout: patience}
	answer, err := c.Get("http://" + addr + "/")
	if err != nil {
		return "", err
	}
	defer answer.Body.Close()
	b, err := io.ReadAll(answer.Body)
	return string(b), err
}

// A program that knows nothing of this library reads from its end of a Bare link as from any socket. A Framed link is
// for this library.
func TestTheOtherEndOfAPairIsInTheModeThatItsOwnerExpects(t *testing.T) {
	noLeaks(t)
	for _, protocol := range []Protocol{Framed, Bare} {
		p, f, err := Pair(&Config{Protocol: protocol})
		if err != nil {
			t.Fatal(err)
		}
		raw, err := f.SyscallConn()
		if err != nil {
			t.Fatal(err)
		}
		flags := 0
		raw.Control(func(fd uintptr) { flags, err = unix.FcntlInt(fd, syscall.F_GETFL, 0) })
		if blocking := flags&syscall.O_NONBLOCK == 0; err != nil || blocking != (protocol == Bare) {
			t.Errorf("%v: blocking mode %v, %v", protocol, blocking, err)
		}
		f.Close()
		p.Close()
	}
}

// A Bare peer's first byte says that it is none of a Framed link; no frame has to be complete for that.
func TestABarePeerOfAFramedLinkIsToldApart(t *testing.T) {
	for _, network := range []string{"unix", "unixpacket"} {
		t.Run(network, func(t *testing.T) {
			noLeaks(t)
			a, b := socketpair(t, network)
			p := passerOf(t, a, &Config{Network: network, Direction: RecvOnly})
			q := passerOf(t, b, &Config{Network: network, Protocol: Bare, Direction: SendOnly})
			setPassRights(t, q, 1)
			if err := q.Send(Desc{FD: 0, Keep: true}); err != nil {
				t.Fatal(err)
			}
			soon(t, "the link ends", func() {
				if d, err := p.Recv(); !errors.Is(err, ErrProtocol) {
					t.Errorf("Recv: %v, %v, want %v", d, err, ErrProtocol)
				}
			})
		})
	}
}

func TestAWorkerJoinsOnce(t *testing.T) {
	noLeaks(t)
	pool, other := newPool(t, nil), newPool(t, nil)
	_, there := newWorker(t, pool, nil)
	for _, p := range []*Pool{pool, other} {
		if err := p.Add(there); err == nil {
			t.Error("it was added again")
		}
	}
	if n := pool.Stats().Workers; n != 1 {
		t.Errorf("%d workers", n)
	}
}
