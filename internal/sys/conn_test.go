//go:build linux

package sys

import (
	"errors"
	"net"
	"os"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// connPair returns one end of a socket pair as a connection, with the number of its socket, and the number of the other
// end.
func connPair(t *testing.T) (c *net.UnixConn, socket, peer int) {
	t.Helper()
	fds, err := Socketpair(unix.SOCK_SEQPACKET)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { unix.Close(fds[1]) })
	f := os.NewFile(uintptr(fds[0]), "socket")
	defer f.Close()
	conn, err := net.FileConn(f)
	if err != nil {
		t.Fatal(err)
	}
	c = conn.(*net.UnixConn)
	t.Cleanup(func() { c.Close() })
	raw, err := c.SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	raw.Control(func(fd uintptr) { socket = int(fd) })
	return c, socket, fds[1]
}

// ownPair returns one end of a socket pair as the Conn of a link, with its number, the connection that it was taken
// from, and the number of the other end.
func ownPair(t *testing.T, idle bool) (own Conn, socket int, c *net.UnixConn, peer int) {
	t.Helper()
	c, _, peer = connPair(t)
	raw, err := c.SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	own, socket = Own(c, raw, idle)
	t.Cleanup(func() { own.Close() })
	return own, socket, c, peer
}

var conns = map[string]bool{"busy": false, "idle": true}

func TestWhoStillHasTheConnectionCanDoNothingToTheSocket(t *testing.T) {
	for name, idle := range conns {
		t.Run(name, func(t *testing.T) {
			own, socket, c, peer := ownPair(t, idle)
			if _, err := c.Write([]byte{1}); !errors.Is(err, net.ErrClosed) {
				t.Errorf("Write on the connection: %v", err)
			}
			if err := c.Close(); !errors.Is(err, net.ErrClosed) {
				t.Errorf("Close of the connection: %v", err)
			}
			if !own.Acquire() {
				t.Fatal("the socket is closed")
			}
			defer own.Release()
			if err := unix.Send(socket, []byte{7}, 0); err != nil {
				t.Fatal(err)
			}
			b := make([]byte, 8)
			if n, _, err := unix.Recvfrom(peer, b, unix.MSG_DONTWAIT); n != 1 || b[0] != 7 {
				t.Errorf("the peer reads %d bytes, %v: %v", n, b, err)
			}
		})
	}
}

func TestASocketIsClosedOnceAndNotWhileItIsUsed(t *testing.T) {
	for name, idle := range conns {
		t.Run(name, func(t *testing.T) {
			own, socket, _, peer := ownPair(t, idle)
			var users sync.WaitGroup
			for range 8 {
				users.Go(func() {
					for own.Acquire() {
						if !isOpen(socket) {
							t.Error("it is closed while it is used")
						}
						own.Release()
					}
				})
			}
			waiting, closing := make(chan error), make(chan error)
			for _, wait := range []func(func(uintptr) bool) error{own.Read, own.Write} {
				go func() { waiting <- wait(func(uintptr) bool { return false }) }()
			}
			own.Control(func(uintptr) {
				go func() { closing <- own.Close() }()
				users.Wait() // nobody begins any more
				for range 2 {
					if err := <-waiting; !errors.Is(err, net.ErrClosed) {
						t.Errorf("who waits is told %v when the socket is closed", err)
					}
				}
				select {
				case err := <-closing:
					t.Errorf("Close returns %v within Control", err)
				default:
				}
				if !isOpen(socket) {
					t.Error("it was closed within Control")
				}
			})
			if err := <-closing; err != nil {
				t.Errorf("Close: %v", err)
			}
			if err := own.Close(); !errors.Is(err, net.ErrClosed) {
				t.Errorf("the second Close returns %v", err)
			}
			for name, wait := range map[string]func(func(uintptr) bool) error{"Read": own.Read, "Write": own.Write} {
				if err := wait(func(uintptr) bool { return true }); err == nil {
					t.Errorf("%s works after Close", name)
				}
			}
			if err := own.Control(func(uintptr) {}); !errors.Is(err, net.ErrClosed) || own.Acquire() {
				t.Errorf("it can be used after Close; Control returns %v", err)
			}
			// The peer sees the end: nothing keeps the socket open.
			if n, _, err := unix.Recvfrom(peer, make([]byte, 8), 0); n != 0 || err != nil {
				t.Errorf("the peer reads %d bytes, %v", n, err)
			}
		})
	}
}

// Who waits for the socket may use it as well, and be the last one who does.
func TestASocketCanBeClosedWhileWhoWaitsForItUsesIt(t *testing.T) {
	for name, idle := range conns {
		t.Run(name, func(t *testing.T) {
			own, socket, _, _ := ownPair(t, idle)
			closing := make(chan error)
			err := own.Read(func(uintptr) bool {
				if !own.Acquire() {
					t.Error("it is closed")
					return true
				}
				go func() { closing <- own.Close() }()
				for own.Acquire() {
					own.Release()
					time.Sleep(time.Millisecond)
				}
				own.Release()
				return true
			})
			if err != nil {
				t.Errorf("Read: %v", err)
			}
			if err := <-closing; err != nil {
				t.Errorf("Close: %v", err)
			}
			if isOpen(socket) {
				t.Error("it is open")
			}
		})
	}
}

// A user's function may panic.
func TestAPanicInControlDoesNotKeepTheSocketOpen(t *testing.T) {
	own, socket, _, _ := ownPair(t, false)
	func() {
		defer func() { recover() }()
		own.Control(func(uintptr) { panic("the user's") })
	}()
	own.Close()
	if isOpen(socket) {
		t.Error("it is open after Close")
	}
}

func TestADeadlineEndsWaitingForASocket(t *testing.T) {
	for name, idle := range conns {
		t.Run(name, func(t *testing.T) {
			own, _, _, _ := ownPair(t, idle)
			if own.LocalAddr() == nil {
				t.Error("it has no address")
			}
			own.SetReadDeadline(time.Unix(1, 0))
			if err := own.Read(func(uintptr) bool { return false }); !errors.Is(err, os.ErrDeadlineExceeded) {
				t.Errorf("Read: %v", err)
			}
			own.SetReadDeadline(time.Time{})
			own.SetWriteDeadline(time.Unix(1, 0))
			if err := own.Write(func(uintptr) bool { return false }); !errors.Is(err, os.ErrDeadlineExceeded) {
				t.Errorf("Write: %v", err)
			}
			raw, err := own.SyscallConn()
			if err != nil {
				t.Fatal(err)
			}
			own.SetWriteDeadline(time.Time{})
			if err := raw.Write(func(uintptr) bool { return true }); err != nil {
				t.Errorf("Write through SyscallConn: %v", err)
			}
		})
	}
}
