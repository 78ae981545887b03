// Package leak is the leak oracle of the tests: what is open, running or in the kernel's queues when the tests are
// over, and was not before, fails the test binary. A package's TestMain is
//
//	func TestMain(m *testing.M) { os.Exit(leak.Run(m)) }
//
// It looks at
//
//   - the descriptors of this process (where /proc/self/fd or /dev/fd lists them),
//   - the goroutines of this module,
//   - child processes that nobody has waited for (Unix),
//   - the kernel's own count of sockets, which includes those that lie in some queue and have no descriptor any more
//     (Linux, as root: the count is that of a network namespace, and the test binary gets one of its own, with a
//     loopback interface, so that other processes do not disturb it).
//
// What cannot be looked at is said once on standard error.
package leak

import (
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"time"
)

// patience is how long what was let go may take to be gone.
var patience = 10 * time.Second

// Run runs the tests of m, a *testing.M, and then each of after, which let go of what all tests shared. It returns what
// TestMain is to exit with: the tests' own status, or 1 if something is left over or one of after fails. On Linux it
// may start the binary anew, in a network namespace, before it does anything.
func Run(m interface{ Run() int }, after ...func() error) int {
	isolate()
	warmUp()
	before := Take()
	status := m.Run()
	for _, f := range after {
		if err := f(); err != nil {
			fmt.Fprintln(os.Stderr, err)
			status = max(status, 1)
		}
	}
	if left := before.Left(patience); left != "" {
		fmt.Fprintf(os.Stderr, "left over after the tests:\n%s", left)
		status = max(status, 1)
	}
	return status
}

// Snapshot is what there is at a moment.
type Snapshot struct {
	descriptors map[string]string // number to what it refers to
	goroutines  map[string]string // ID to stack
	sockets     []string
}

// Take takes a snapshot.
func Take() Snapshot {
	return Snapshot{Descriptors(), goroutines(), sockets()}
}

// Left says what there is that is not in s; "" if nothing is. What is going away is given some time for that.
func (s Snapshot) Left(patience time.Duration) string { return settle(patience, s.left) }

// LeftDescriptors is Left for descriptors alone.
func (s Snapshot) LeftDescriptors(patience time.Duration) string {
	return settle(patience, func() string { return lines(some(s.leftDescriptors())) })
}

// List lists the descriptors and goroutines that there are at this moment and are not in s: for a program that looks
// after itself.
func (s Snapshot) List() []string { return append(s.leftDescriptors(), s.leftGoroutines()...) }

// Forget takes descriptors out of s: they will be somebody else's to close.
func (s Snapshot) Forget(fds ...int) {
	for _, fd := range fds {
		delete(s.descriptors, strconv.Itoa(fd))
	}
}

func settle(patience time.Duration, left func() string) string {
	for end := time.Now().Add(patience); ; time.Sleep(5 * time.Millisecond) {
		if what := left(); what == "" || time.Now().After(end) {
			return what
		}
		runtime.GC() // cleanups close what nobody has fetched
	}
}

func (s Snapshot) leftDescriptors() (left []string) {
	for fd, what := range Descriptors() {
		if s.descriptors[fd] != what {
			left = append(left, "descriptor "+fd+": "+what)
		}
	}
	slices.Sort(left)
	return left
}

// some cuts a list of descriptors that is too long to read.
func some(left []string) []string {
	if n := len(left); n > 20 {
		left = append(left[:20], fmt.Sprintf("… %d descriptors in all", n))
	}
	return left
}

func (s Snapshot) leftGoroutines() (left []string) {
	for id, stack := range goroutines() {
		if _, old := s.goroutines[id]; !old {
			left = append(left, stack)
		}
	}
	return left
}

func (s Snapshot) left() string {
	left := append(some(s.leftDescriptors()), s.leftGoroutines()...)
	if child := leftChild(); child != "" {
		left = append(left, child)
	}
	if now := sockets(); len(now) > len(s.sockets) {
		left = append(left, fmt.Sprintf("%d sockets in the kernel, %d before:", len(now), len(s.sockets)))
		left = append(left, now...)
	}
	return lines(left)
}

func lines(left []string) string {
	if len(left) == 0 {
		return ""
	}
	return strings.Join(left, "\n") + "\n"
}

// warmUp opens what the process keeps for good: the runtime's poller.
func warmUp() {
	if r, w, err := os.Pipe(); err == nil {
		r.SetDeadline(time.Now())
		r.Close()
		w.Close()
	}
	if Descriptors() == nil {
		say("open descriptors are not checked: this system has no list of them")
	}
}

func say(format string, args ...any) { fmt.Fprintf(os.Stderr, "leak: "+format+"\n", args...) }

// Descriptors returns the numbers of the open descriptors and what they refer to; nil where the system does not tell.
// Neither the files that the go command's flags open count, nor what the library keeps for good.
func Descriptors() map[string]string {
	for _, dir := range []string{"/proc/self/fd", "/dev/fd"} {
		entries, err := os.ReadDir(dir)
		if err != nil {
			continue
		}
		fds := make(map[string]string, len(entries))
		for _, e := range entries {
			name := filepath.Join(dir, e.Name())
			// The descriptor that read the directory is closed by now.
			if _, err := os.Stat(name); err != nil {
				continue
			}
			what, _ := os.Readlink(name)
			if !kept(what) {
				fds[e.Name()] = what
			}
		}
		return fds
	}
	return nil
}

// kept reports whether what is a profile, a coverage file or a test log, or the directory that counts the open
// descriptors, of which internal/sys keeps one per process.
func kept(what string) bool {
	return strings.HasSuffix(what, ".prof") || strings.HasSuffix(what, ".out") || strings.HasSuffix(what, "testlog.txt") ||
		strings.HasPrefix(what, "/proc/") && strings.HasSuffix(what, "/fd")
}

// Goroutines returns the stacks of this module's goroutines, except for the one that calls it: for a test that gives up
// waiting.
func Goroutines() string {
	return strings.Join(slices.Collect(maps.Values(goroutines())), "\n\n")
}

// goroutines returns the goroutines of this module, except for the one that calls it.
func goroutines() map[string]string {
	stacks := make([]byte, 1<<20)
	stacks = stacks[:runtime.Stack(stacks, true)]
	found := make(map[string]string)
	for i, g := range strings.Split(string(stacks), "\n\n") {
		if id, _, _ := strings.Cut(g, " ["); i > 0 && strings.Contains(g, "example.com/fdpass/") {
			found[id] = g
		}
	}
	return found
}
