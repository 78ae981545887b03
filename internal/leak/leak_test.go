//go:build linux

package leak

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// leaky tells TestRunFailsATestBinaryThatLeaks, in a process of its own, what to leak.
const leaky = "FDPASS_TEST_LEAK"

func TestMain(m *testing.M) {
	if os.Getenv(leaky) != "" {
		patience = 0
	}
	os.Exit(Run(m))
}

// expect fails the test unless what is left beyond before contains want.
func expect(t *testing.T, before Snapshot, want string) {
	t.Helper()
	if left := before.Left(0); !strings.Contains(left, want) {
		t.Errorf("left over is said to be %q, want %q", left, want)
	}
}

// expectNothing fails the test unless all is as before.
func expectNothing(t *testing.T, before Snapshot) {
	t.Helper()
	if left := before.Left(patience); left != "" {
		t.Errorf("left over is said to be:\n%s", left)
	}
}

func TestADescriptorThatIsLeftIsFound(t *testing.T) {
	before := Take()
	f, err := os.Open("/dev/null")
	if err != nil {
		t.Fatal(err)
	}
	expect(t, before, ": /dev/null")
	f.Close()
	expectNothing(t, before)
}

func TestANumberThatWasReusedIsFound(t *testing.T) {
	a, err := os.Open("/dev/null")
	if err != nil {
		t.Fatal(err)
	}
	before := Take()
	b, err := os.Open("/dev/zero")
	if err != nil {
		t.Fatal(err)
	}
	if err := unix.Dup3(int(b.Fd()), int(a.Fd()), unix.O_CLOEXEC); err != nil {
		t.Fatal(err)
	}
	b.Close()
	expect(t, before, ": /dev/zero")
	a.Close()
	expectNothing(t, before)
}

func TestAGoroutineThatIsLeftIsFound(t *testing.T) {
	before := Take()
	stop := make(chan struct{})
	go func() { <-stop }()
	expect(t, before, "TestAGoroutineThatIsLeftIsFound.func1")
	close(stop)
	expectNothing(t, before)
}

func TestAChildThatNobodyWaitedForIsFound(t *testing.T) {
	before := Take()
	cmd := exec.Command("sleep", "1000")
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	expect(t, before, "a child process")
	cmd.Process.Kill()
	if err := unix.Waitid(unix.P_PID, cmd.Process.Pid, nil, unix.WEXITED|unix.WNOWAIT, nil); err != nil {
		t.Fatal(err)
	}
	expect(t, before, "a child process") // it has ended, and is still to be waited for
	cmd.Wait()
	expectNothing(t, before)
}

func TestWhatLooksLikeAFileOfTheRuntimeIsFound(t *testing.T) {
	before := Take()
	f, err := os.Create(filepath.Join(t.TempDir(), "x.output"))
	if err != nil {
		t.Fatal(err)
	}
	expect(t, before, "/x.output")
	f.Close()
	fd, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	if err != nil {
		t.Fatal(err)
	}
	expect(t, before, "[eventpoll]")
	unix.Close(fd)
	expectNothing(t, before)
}

// A socket in flight: this process has no descriptor of it, nor of the queue that it lies in.
func TestASocketInAQueueIsFound(t *testing.T) {
	if os.Getenv(isolated) == "" {
		t.Skip("the kernel's count is not this process's own")
	}
	before := Take()
	carrier, passed := pair(t), pair(t)
	held := os.NewFile(uintptr(carrier[1]), "held")
	cmd := exec.Command("sleep", "1000")
	cmd.ExtraFiles = []*os.File{held}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	if err := unix.Sendmsg(carrier[0], []byte{0}, unix.UnixRights(passed[0]), nil, 0); err != nil {
		t.Fatal(err)
	}
	held.Close()
	for _, fd := range []int{carrier[0], passed[0], passed[1]} {
		unix.Close(fd)
	}
	// carrier[1] is the child's, and passed[0] lies in its queue.
	expect(t, before, "sockets in the kernel")
	if left := before.Left(0); strings.Contains(left, "socket:[") {
		t.Errorf("a socket's descriptor is left:\n%s", left)
	}
	cmd.Process.Kill()
	cmd.Wait()
	expectNothing(t, before)
}

func TestRunFailsATestBinaryThatLeaks(t *testing.T) {
	if what := os.Getenv(leaky); what != "" {
		if what == "descriptor" {
			unix.Open("/dev/null", unix.O_RDONLY|unix.O_CLOEXEC, 0)
		}
		return
	}
	for what, want := range map[string]string{"nothing": "PASS", "descriptor": "left over after the tests:\ndescriptor "} {
		cmd := exec.Command(os.Args[0], "-test.run=^TestRunFailsATestBinaryThatLeaks$")
		cmd.Env = append(os.Environ(), leaky+"="+what)
		out, err := cmd.CombinedOutput()
		if !strings.Contains(string(out), want) || (err == nil) != (what == "nothing") {
			t.Errorf("a binary that leaks %s: %v\n%s", what, err, out)
		}
	}
}

func pair(t *testing.T) [2]int {
	t.Helper()
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	return fds
}
