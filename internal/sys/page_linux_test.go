//go:build linux && !fdpass_portable

package sys

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"testing"
	"time"

	"example.com/fdpass/internal/page"

	"golang.org/x/sys/unix"
)

// memfd makes memory of a size with seals, to be closed after the test.
func memfd(t testing.TB, flags, size, seals int) int {
	t.Helper()
	fd, err := unix.MemfdCreate("test", unix.MFD_CLOEXEC|unix.MFD_ALLOW_SEALING|flags)
	if err != nil {
		t.Skipf("memfd_create: %v", err)
	}
	t.Cleanup(func() { unix.Close(fd) })
	if err := unix.Ftruncate(fd, int64(size)); err != nil {
		t.Skipf("%d bytes of it: %v", size, err)
	}
	if seals != 0 {
		if _, err := unix.FcntlInt(uintptr(fd), unix.F_ADD_SEALS, seals); err != nil {
			t.Skipf("seals %#x: %v", seals, err)
		}
	}
	return fd
}

// again opens what fd is once more.
func again(t testing.TB, fd, flags int) int {
	t.Helper()
	fd, err := unix.Open(fmt.Sprintf("/proc/self/fd/%d", fd), flags|unix.O_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { unix.Close(fd) })
	return fd
}

func TestMapPageTakesOnlyWhatCannotShrink(t *testing.T) {
	const sealed = unix.F_SEAL_SHRINK | unix.F_SEAL_GROW | unix.F_SEAL_SEAL
	for _, c := range []struct {
		name string
		fd   func(t *testing.T) int
		want bool
	}{
		{"sealed memory", func(t *testing.T) int { return memfd(t, 0, page.Size, sealed) }, true},
		{"memory that can grow", func(t *testing.T) int { return memfd(t, 0, page.Size, unix.F_SEAL_SHRINK) }, true},
		{"memory that is not sealed", func(t *testing.T) int { return memfd(t, 0, page.Size, 0) }, false},
		{"memory that can shrink", func(t *testing.T) int { return memfd(t, 0, page.Size, unix.F_SEAL_GROW|unix.F_SEAL_SEAL) }, false},
		{"no memory at all", func(t *testing.T) int { return memfd(t, 0, 0, sealed) }, false},
		{"half a page", func(t *testing.T) int { return memfd(t, 0, page.Size/2, sealed) }, false},
		{"a byte less", func(t *testing.T) int { return memfd(t, 0, page.Size-1, sealed) }, false},
		{"two pages", func(t *testing.T) int { return memfd(t, 0, 2*page.Size, sealed) }, false},
		{"memory sealed against writing", func(t *testing.T) int { return memfd(t, 0, page.Size, sealed|unix.F_SEAL_WRITE) }, false},
		{"memory sealed against writing from now on", func(t *testing.T) int {
			return memfd(t, 0, page.Size, sealed|unix.F_SEAL_FUTURE_WRITE)
		}, false},
		{"memory opened for reading", func(t *testing.T) int { return again(t, memfd(t, 0, page.Size, sealed), unix.O_RDONLY) }, false},
		{"memory opened for writing", func(t *testing.T) int { return again(t, memfd(t, 0, page.Size, sealed), unix.O_WRONLY) }, false},
		{"memory opened as a path", func(t *testing.T) int { return again(t, memfd(t, 0, page.Size, sealed), unix.O_PATH) }, false},
		{"a huge page", func(t *testing.T) int {
			return memfd(t, unix.MFD_HUGETLB, 2<<20, sealed)
		}, false},
		{"a file", func(t *testing.T) int { return fileOf(t, t.TempDir()) }, false},
		{"a file in memory", func(t *testing.T) int {
			if _, err := os.Stat("/dev/shm"); err != nil {
				t.Skip(err)
			}
			dir, err := os.MkdirTemp("/dev/shm", "fastpass")
			if err != nil {
				t.Skip(err)
			}
			t.Cleanup(func() { os.RemoveAll(dir) })
			return fileOf(t, dir)
		}, false},
		{"a device", func(t *testing.T) int {
			fd := null(t)
			t.Cleanup(func() { unix.Close(fd) })
			return fd
		}, false},
		{"a socket", func(t *testing.T) int { return pair(t, unix.SOCK_STREAM)[0] }, false},
		{"a directory", func(t *testing.T) int {
			fd, err := unix.Open(t.TempDir(), unix.O_RDONLY|unix.O_CLOEXEC, 0)
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { unix.Close(fd) })
			return fd
		}, false},
		{"a number that is not open", func(*testing.T) int { return -1 }, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			fd := c.fd(t)
			p := System.MapPage(fd)
			if got := p != nil; got != c.want {
				t.Fatalf("MapPage takes it: %t", got)
			}
			if p != nil {
				p.Grant(1)
				if _, limit, used := p.Read(); limit != 1 || !used {
					t.Errorf("a limit of %d, in use %t", limit, used)
				}
			}
		})
	}
}

// fileOf makes a file in dir that is as long as a page.
func fileOf(t testing.TB, dir string) int {
	t.Helper()
	f, err := os.Create(filepath.Join(dir, "file"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	if err := f.Truncate(page.Size); err != nil {
		t.Fatal(err)
	}
	return int(f.Fd())
}

// newPage is NewPage, with the descriptor to be closed after the test.
func newPage(t testing.TB) (*page.Page, int) {
	t.Helper()
	p, fd := System.NewPage()
	if p == nil {
		t.Fatal("there is no page")
	}
	t.Cleanup(func() { unix.Close(fd) })
	return p, fd
}

// Nothing that whoever has the descriptor does takes the memory away from under the one who has made it.
func TestNobodyCanResizeAPage(t *testing.T) {
	p, fd := newPage(t)
	if flags, err := unix.FcntlInt(uintptr(fd), unix.F_GETFD, 0); err != nil || flags&unix.FD_CLOEXEC == 0 {
		t.Errorf("the descriptor has flags %#x, %v: it is not close-on-exec", flags, err)
	}
	for _, size := range []int64{0, 1, page.Size - 1, page.Size + 1, 2 * page.Size} {
		if err := unix.Ftruncate(fd, size); err != unix.EPERM {
			t.Errorf("making it %d bytes long: %v", size, err)
		}
	}
	for _, seal := range []int{unix.F_SEAL_WRITE, unix.F_SEAL_FUTURE_WRITE} {
		if _, err := unix.FcntlInt(uintptr(fd), unix.F_ADD_SEALS, seal); err != unix.EPERM {
			t.Errorf("adding seal %#x: %v", seal, err)
		}
	}
	p.Ask(7)
	if err := unix.Fallocate(fd, unix.FALLOC_FL_PUNCH_HOLE|unix.FALLOC_FL_KEEP_SIZE, 0, page.Size); err != nil {
		t.Skipf("punching a hole: %v", err)
	}
	if p.Asked(1 << 62) { // it reads as nothing, and is there
		t.Error("what was in the hole is still there")
	}
	p.Fence()
	if got := p.Take(0, 1); got != page.Fenced {
		t.Errorf("Take is %d", got)
	}
}

func TestWithoutADescriptorThereIsNoPage(t *testing.T) {
	for name, hinder := range map[string]struct {
		resource int
		to       uint64
	}{
		"the table is full":       {unix.RLIMIT_NOFILE, 0},
		"files must have no size": {unix.RLIMIT_FSIZE, 0},
	} {
		t.Run(name, func(t *testing.T) {
			var before unix.Rlimit
			if err := unix.Getrlimit(hinder.resource, &before); err != nil {
				t.Fatal(err)
			}
			now := unix.Rlimit{Cur: hinder.to, Max: before.Max}
			if err := unix.Setrlimit(hinder.resource, &now); err != nil {
				t.Fatal(err)
			}
			p, fd := System.NewPage()
			if err := unix.Setrlimit(hinder.resource, &before); err != nil {
				t.Fatal(err)
			}
			if p != nil || fd != -1 {
				t.Errorf("a page, with descriptor %d", fd)
			}
		})
	}
}

// mappings counts those of pages in this process.
func mappings(t testing.TB) int {
	t.Helper()
	b, err := os.ReadFile("/proc/self/maps")
	if err != nil {
		t.Fatal(err)
	}
	return bytes.Count(b, []byte("memfd:fastpass"))
}

func TestAPageIsMappedAsLongAsItCanBeReached(t *testing.T) {
	until := func(what string, want int) {
		t.Helper()
		for end := time.Now().Add(10 * time.Second); ; time.Sleep(time.Millisecond) {
			runtime.GC() // and then the cleanups run, in their own time
			n := mappings(t)
			if n == want {
				return
			}
			if time.Now().After(end) {
				t.Fatalf("%d mappings %s, want %d", n, what, want)
			}
		}
	}
	until("of other tests", 0)
	func() {
		var made, taken []*page.Page
		for range 20 {
			p, fd := System.NewPage()
			q := System.MapPage(fd)
			unix.Close(fd) // which neither needs any more
			if p == nil || q == nil {
				t.Fatal("there is no page")
			}
			made, taken = append(made, p), append(taken, q)
		}
		runtime.GC()
		if n := mappings(t); n != 40 {
			t.Errorf("%d mappings, want 40", n)
		}
		for i := range made {
			taken[i].Grant(uint64(i))
			if _, limit, used := made[i].Read(); limit != uint64(i) || !used {
				t.Errorf("page %d says %d, in use %t", i, limit, used)
			}
		}
		runtime.KeepAlive(made)
		clear(made)
		until("without those that were made", 20)
		taken[3].Take(0, 7)
		runtime.KeepAlive(taken)
	}()
	until("at the end", 0)
}

// pageRole is set in a process that this test binary starts: it maps its descriptor 3 and acknowledges there.
const pageRole = "FDPASS_TEST_PAGE"

func TestAPageIsSharedBetweenProcesses(t *testing.T) {
	if os.Getenv(pageRole) != "" {
		r := System.MapPage(3)
		if r == nil {
			fmt.Println("no page")
			os.Exit(1)
		}
		r.Grant(1000)
		result := r.Take(0, 500)
		fmt.Println("taken:", result == page.Taken, "asked:", r.Asked(500))
		io.ReadAll(os.Stdin) // until the other one has fenced
		fmt.Println("fenced:", r.Take(500, 501) == page.Fenced)
		os.Exit(0)
	}
	p, fd := newPage(t)
	p.Ask(500)
	copied, err := unix.FcntlInt(uintptr(fd), unix.F_DUPFD_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	file := os.NewFile(uintptr(copied), "page")
	defer file.Close()
	path, args := os.Args[0], []string{"-test.run=^TestAPageIsSharedBetweenProcesses$"}
	if emulator := os.Getenv("FDPASS_TEST_EMULATOR"); emulator != "" {
		path, args = emulator, append([]string{path}, args...)
	}
	cmd := exec.Command(path, args...)
	cmd.Env = append(os.Environ(), pageRole+"=1")
	cmd.ExtraFiles = []*os.File{file}
	cmd.Stderr = os.Stderr
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
	says := bufio.NewReader(out)
	if got, _ := says.ReadString('\n'); got != "taken: true asked: true\n" {
		t.Errorf("the other process says %q", got)
	}
	if acked, limit, used := p.Read(); acked != 500 || limit != 1000 || !used {
		t.Errorf("it has acknowledged %d with a limit of %d, in use %t", acked, limit, used)
	}
	p.Fence()
	in.Close()
	rest, _ := io.ReadAll(says)
	if string(rest) != "fenced: true\n" {
		t.Errorf("behind the fence it says %q", rest)
	}
	if err := cmd.Wait(); err != nil {
		t.Error(err)
	}
	var word [8]byte
	if _, err := unix.Pread(fd, word[:], 0); err != nil || binary.NativeEndian.Uint64(word[:]) != 1<<63|500 {
		t.Errorf("the memory begins with % x, %v", word, err)
	}
}
