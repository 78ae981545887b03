//go:build linux && !fdpass_portable

package fastpass

import (
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"example.com/fdpass/internal/sys"

	"golang.org/x/sys/unix"
)

// unflushed opens a file of which each close of each descriptor takes as long as its filesystem likes (FUSE_FLUSH),
// also while others remain. Any user can mount one. Relent ends that.
func unflushed(t *testing.T) (fd int, relent func()) {
	t.Helper()
	dev, err := unix.Open("/dev/fuse", unix.O_RDWR|unix.O_CLOEXEC, 0)
	if err != nil {
		t.Skip("no FUSE: ", err)
	}
	path := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(path, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	opts := fmt.Sprintf("fd=%d,rootmode=100644,user_id=%d,group_id=%d", dev, os.Geteuid(), os.Getegid())
	if err := unix.Mount("fastpass-test", path, "fuse", unix.MS_NOSUID|unix.MS_NODEV, opts); err != nil {
		unix.Close(dev)
		t.Skip("cannot mount: ", err)
	}
	go func() {
		b := make([]byte, 1<<20)
		for {
			n, err := unix.Read(dev, b)
			if err != nil || n < 40 {
				return
			}
			var body []byte
			errno := int32(0)
			switch binary.NativeEndian.Uint32(b[4:]) {
			case 26: // FUSE_INIT
				body = make([]byte, 64)
				binary.NativeEndian.PutUint32(body[0:], 7)
				binary.NativeEndian.PutUint32(body[4:], 31)
				binary.NativeEndian.PutUint32(body[20:], 4096)
			case 3: // FUSE_GETATTR
				body = make([]byte, 16+88)
				binary.NativeEndian.PutUint64(body[16:], 1)
				binary.NativeEndian.PutUint32(body[16+60:], unix.S_IFREG|0o644)
				binary.NativeEndian.PutUint32(body[16+64:], 1)
			case 14: // FUSE_OPEN
				body = make([]byte, 16)
			case 25, 2, 42: // FUSE_FLUSH: no answer, FORGET: none is due
				continue
			case 18: // FUSE_RELEASE
			default:
				errno = -int32(unix.ENOSYS)
			}
			out := make([]byte, 16, 16+len(body))
			binary.NativeEndian.PutUint32(out, uint32(16+len(body)))
			binary.NativeEndian.PutUint32(out[4:], uint32(errno))
			copy(out[8:16], b[8:16])
			unix.Write(dev, append(out, body...))
		}
	}()
	fd, err = unix.Open(path, unix.O_RDONLY|unix.O_CLOEXEC, 0)
	relent = sync.OnceFunc(func() {
		unix.Unmount(path, unix.MNT_FORCE|unix.MNT_DETACH)
		unix.Close(dev)
		unix.Close(fd)
	})
	t.Cleanup(relent)
	if err != nil {
		t.Fatal(err)
	}
	return fd, relent
}

// sendUnflushed sends fd and nine others over f into a table that has room for five, which held fills.
func sendUnflushed(t *testing.T, f *os.File, fd int) (others, held []int) {
	t.Helper()
	r := newRaw(t, f)
	t.Cleanup(r.close)
	for range 9 {
		others = append(others, null(t))
	}
	held = hog(5)
	if err := r.sendmsg([]byte("x"), unix.UnixRights(append([]int{fd}, others...)...)); err != nil {
		t.Fatal(err)
	}
	return others, held
}

// Into a full table a peer sends a file whose every close takes as long as it likes: its own link may stand still, but
// Recv holds to its deadline, and Close returns.
func TestAFileThatIsSlowToFlushIntoAFullTable(t *testing.T) {
	for _, dir := range []Direction{RecvOnly, Both} {
		t.Run(dir.String(), func(t *testing.T) {
			fd, relent := unflushed(t)
			a, b := socketpair(t, "unixpacket")
			p := onKernel(t, sys.System, a, &Config{Protocol: Bare, Network: "unixpacket", Direction: dir})
			others, held := sendUnflushed(t, b, fd)
			p.SetReadDeadline(time.Now().Add(100 * time.Millisecond))
			received := make(chan error, 1)
			go func() {
				d, err := p.Recv()
				_ = d
				received <- err
			}()
			select {
			case err := <-received:
				if !errors.Is(err, os.ErrDeadlineExceeded) {
					t.Errorf("Recv: %v", err)
				}
			case <-time.After(3 * time.Second):
				t.Error("Recv does not hold to its deadline")
			}
			closed := make(chan struct{})
			go func() { p.Close(); close(closed) }()
			select {
			case <-closed:
			case <-time.After(4 * time.Second):
				t.Error("Close does not return")
			}
			CloseFDs(held)
			relent()
			<-closed
			CloseFDs(others)
		})
	}
}

// While the pump waits for the duplicates of such a file, Recv holds to its deadline nevertheless.
func TestThePumpOfAFileThatIsSlowToFlushKeepsNoDeadlineUp(t *testing.T) {
	fd, relent := unflushed(t)
	a, b := socketpair(t, "unixpacket")
	p := onKernel(t, sys.System, a, &Config{Protocol: Bare, Network: "unixpacket"})
	others, held := sendUnflushed(t, b, fd)
	until(t, "the duplicates are being closed", func() bool { return p.in.peeks.pending.Load() > 0 })
	start := time.Now()
	p.SetReadDeadline(start.Add(50 * time.Millisecond))
	if _, err := p.Recv(); time.Since(start) > closeTime/2 || !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("Recv: %v after %v", err, time.Since(start))
	}
	CloseFDs(held)
	relent()
	CloseFDs(others)
}
