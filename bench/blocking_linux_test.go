package bench

import (
	"os"
	"runtime"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// What a C program does, without the runtime in between: one thread, blocking sendmsg and recvmsg, close.

func benchmarkBlockingRoundTrip(b *testing.B) {
	pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_SEQPACKET|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		b.Fatal(err)
	}
	file := os.NewFile(uintptr(pair[1]), "link")
	other, err := startPeer("blocking echo", setup{}, file)
	file.Close()
	if err != nil {
		b.Fatal(err)
	}
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	fd, link := aDescriptor(b), newBlockingLink(pair[0])
	took := make([]time.Duration, b.N)
	b.ResetTimer()
	for i := range took {
		start := time.Now()
		if fd, err = link.echoed(fd); err != nil {
			b.Fatal(err)
		}
		took[i] = time.Since(start)
	}
	b.StopTimer()
	unix.Close(fd)
	unix.Close(pair[0])
	if err := other.stop(); err != nil {
		b.Fatal(err)
	}
	reportPercentiles(b, took)
}

// beBlockingEcho sends back what it receives, until the other end is closed.
func beBlockingEcho() error {
	runtime.LockOSThread()
	const fd = 3
	if err := unix.SetNonblock(fd, false); err != nil {
		return err
	}
	link := newBlockingLink(fd)
	for {
		got, err := link.recv()
		if got < 0 || err != nil {
			return err
		}
		if err := link.send(got); err != nil {
			return err
		}
	}
}
