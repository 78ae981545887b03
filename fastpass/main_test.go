//go:build unix

package fastpass

import (
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// roles are what a test binary does instead of testing when FDPASS_TEST_ROLE names one: that is how a test gets a
// second process. A role that returns has succeeded. Files add theirs in init functions.
var roles = map[string]func(){}

// TestMain plays the role that the parent asked for, or else runs the tests and fails the run if one has left a
// descriptor, a goroutine or a child process behind.
func TestMain(m *testing.M) {
	if name := os.Getenv("FDPASS_TEST_ROLE"); name != "" {
		role := roles[name]
		if role == nil {
			fmt.Fprintf(os.Stderr, "no role %q\n", name)
			os.Exit(2)
		}
		role()
		os.Exit(0)
	}
	warmUp()
	before := openFDs()
	code := m.Run()
	for _, leftOver := range []func() string{
		func() string { return newFDs(before) },
		leftGoroutines,
		leftChildren,
	} {
		if what := settle(leftOver); what != "" {
			fmt.Fprintf(os.Stderr, "left over after the tests:\n%s\n", what)
			code = max(code, 1)
		}
	}
	os.Exit(code)
}

// warmUp opens what the process keeps for good: the runtime's poller and the descriptor of /proc/self/fd.
func warmUp() {
	p, f, err := Pair(nil)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	f.Close()
	p.Close()
}

// settle calls leftOver until it returns "" or some seconds have passed: what was let go may take a moment to go.
func settle(leftOver func() string) (what string) {
	for end := time.Now().Add(5 * time.Second); ; time.Sleep(5 * time.Millisecond) {
		if what = leftOver(); what == "" || time.Now().After(end) {
			return what
		}
		runtime.GC() // cleanups close what nobody has fetched
	}
}

// openFDs returns what each open descriptor of this process refers to; nil where the system does not tell.
func openFDs() map[string]string {
	const dir = "/proc/self/fd"
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil
	}
	fds := make(map[string]string, len(entries))
	for _, e := range entries {
		// The descriptor that read the directory is closed by now.
		if what, err := os.Readlink(filepath.Join(dir, e.Name())); err == nil {
			fds[e.Name()] = what
		}
	}
	return fds
}

// newFDs lists the descriptors that are open now and were not before. Profiles and coverage files of the go
// command are none of ours.
func newFDs(before map[string]string) string {
	var b strings.Builder
	n := 0
	for fd, what := range openFDs() {
		if before[fd] == what || strings.Contains(what, ".prof") || strings.Contains(what, ".out") {
			continue
		}
		if n++; n <= 20 {
			fmt.Fprintf(&b, "descriptor %s: %s\n", fd, what)
		}
	}
	if n > 20 {
		fmt.Fprintf(&b, "… %d descriptors in all\n", n)
	}
	return b.String()
}

// leftGoroutines lists the goroutines of this module, except for the one that calls it.
func leftGoroutines() string {
	stacks := make([]byte, 1<<20)
	stacks = stacks[:runtime.Stack(stacks, true)]
	var left []string
	for i, g := range strings.Split(string(stacks), "\n\n") {
		if i > 0 && strings.Contains(g, "example.com/fdpass/") {
			left = append(left, g)
		}
	}
	return strings.Join(left, "\n\n")
}

// leftChildren says whether this process has children that nobody has waited for.
func leftChildren() string {
	var ws unix.WaitStatus
	if pid, err := unix.Wait4(-1, &ws, unix.WNOHANG, nil); err == nil {
		return fmt.Sprintf("a child process (%d, status %#x)", pid, int(ws))
	}
	return ""
}
