//go:build linux && !fdpass_portable

package sys

import (
	"testing"

	"golang.org/x/sys/unix"
)

// A table that is full at the first probe is no reason to go on without what makes probes cheap.
func TestProcIsFoundOnceThereIsRoom(t *testing.T) {
	fd := proc()
	if fd < 0 {
		t.Skip("/proc/self/fd does not tell how many descriptors are open")
	}
	procFD.known.Store(false)
	defer procFD.known.Store(true)
	var before unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &before); err != nil {
		t.Fatal(err)
	}
	full := before
	full.Cur = 0
	if err := unix.Setrlimit(unix.RLIMIT_NOFILE, &full); err != nil {
		t.Fatal(err)
	}
	got := proc()
	if err := unix.Setrlimit(unix.RLIMIT_NOFILE, &before); err != nil {
		t.Fatal(err)
	}
	if got >= 0 {
		t.Errorf("with a full table: %d", got)
	}
	if got = proc(); got < 0 {
		t.Error("with room: -1")
	} else {
		closeFD(fd)
	}
}
