//go:build unix

package sys

import (
	"context"
	"net"
	"os"
	"path/filepath"
	"syscall"
	"testing"
)

// What waits to be accepted is counted for TCP on Linux, and otherwise seen.
func TestWaitingCountsWhatIsToBeAccepted(t *testing.T) {
	plain := new(net.ListenConfig)
	plain.SetMultipathTCP(false)
	multipath := new(net.ListenConfig)
	multipath.SetMultipathTCP(true) // where the kernel has it
	for name, c := range map[string]struct {
		config        *net.ListenConfig
		network, addr string
	}{
		"tcp4":  {plain, "tcp4", "127.0.0.1:0"},
		"tcp6":  {plain, "tcp6", "[::1]:0"},
		"mptcp": {multipath, "tcp4", "127.0.0.1:0"},
		"unix":  {plain, "unix", filepath.Join(t.TempDir(), "s")},
	} {
		t.Run(name, func(t *testing.T) {
			ln, err := c.config.Listen(context.Background(), c.network, c.addr)
			if err != nil && name == "tcp6" {
				t.Skip(err)
			} else if err != nil {
				t.Fatal(err)
			}
			defer ln.Close()
			raw, err := ln.(syscall.Conn).SyscallConn()
			if err != nil {
				t.Fatal(err)
			}
			expect := func(want int) {
				t.Helper()
				raw.Control(func(s uintptr) {
					n, exactly := Waiting(int(s))
					if exactly && n != want || !exactly && n != min(want, 1) {
						t.Errorf("%d wait, exactly: %v; want %d", n, exactly, want)
					}
					if counted := Implementation == "sendmmsg/recvmmsg" && c.network != "unix" && want > 0; exactly != counted && os.Getenv("FDPASS_TEST_EMULATOR") == "" {
						t.Errorf("exactly: %v, want %v", exactly, counted)
					}
				})
			}
			expect(0)
			for i := range 5 {
				client, err := net.Dial(c.network, ln.Addr().String())
				if err != nil {
					t.Fatal(err)
				}
				defer client.Close()
				expect(i + 1)
			}
			for i := range 5 {
				raw.Control(func(s uintptr) {
					fd, errno := Accept(int(s), false)
					if errno != 0 {
						t.Fatal(errno)
					}
					closeFD(fd)
				})
				expect(4 - i)
			}
		})
	}
	if n, exactly := Waiting(1 << 20); n != 1 || exactly { // accept tells
		t.Errorf("of a number that is not open: %d, %v", n, exactly)
	}
}
