package fastpass

import (
	"errors"
	"os"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// Whoever holds a duplicate may make the socket blocking at any time: neither deadlines nor Close depend on it.
func TestConnHoldsToItsDeadlineAndClosesAlthoughAnotherProcessHasMadeItBlock(t *testing.T) {
	for _, polled := range []bool{false, true} {
		for _, write := range []bool{false, true} {
			name := map[bool]string{false: "read", true: "write"}[write] + map[bool]string{false: "", true: " polled"}[polled]
			t.Run(name, func(t *testing.T) {
				fd, peer := connSocket(t, "tcp4")
				c, err := NewConn(Desc{FD: fd})
				if err != nil {
					t.Fatal(err)
				}
				if polled {
					c.SetReadDeadline(time.Now().Add(time.Millisecond))
					c.Read(make([]byte, 1))
				}
				dup, _ := unix.FcntlInt(uintptr(fd), unix.F_DUPFD_CLOEXEC, 0)
				defer unix.Close(dup)
				unix.SetNonblock(dup, false) // as in the other process
				c.SetDeadline(time.Now().Add(20 * time.Millisecond))
				done := make(chan error, 1)
				go func() {
					var err error
					if write {
						_, err = c.Write(make([]byte, 64<<20))
					} else {
						_, err = c.Read(make([]byte, 1))
					}
					done <- err
				}()
				select {
				case err := <-done:
					if !errors.Is(err, os.ErrDeadlineExceeded) {
						t.Errorf("%v", err)
					}
				case <-time.After(2 * time.Second):
					t.Error("the deadline ends nothing")
				}
				closed := make(chan struct{})
				go func() { c.Close(); close(closed) }()
				select {
				case <-closed:
				case <-time.After(2 * time.Second):
					t.Error("Close does not return")
				}
				peer.Close()
				<-closed
			})
		}
	}
}
