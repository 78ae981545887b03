package cmsgpool

import (
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"testing"
	"time"
)

// TestMain fails the run if a test leaves a descriptor or a goroutine behind.
func TestMain(m *testing.M) {
	if r, w, err := os.Pipe(); err == nil { // opens the runtime's poller, which stays
		r.Close()
		w.Close()
	}
	before, goroutines := openFDs(), runtime.NumGoroutine()
	code := m.Run()
	for fd, what := range openFDs() {
		if _, ok := before[fd]; !ok {
			fmt.Fprintf(os.Stderr, "descriptor %s left over: %s\n", fd, what)
			code = 1
		}
	}
	// A goroutine that a test has waited for may still be on its last instructions.
	for end := time.Now().Add(5 * time.Second); runtime.NumGoroutine() > goroutines; runtime.Gosched() {
		if time.Now().After(end) {
			fmt.Fprintf(os.Stderr, "%d goroutines left over\n", runtime.NumGoroutine()-goroutines)
			code = 1
			break
		}
	}
	os.Exit(code)
}

// openFDs returns this process's descriptors and what they refer to, without regular
// files: the tests open none, but flags like -cpuprofile do.
func openFDs() map[string]string {
	const dir = "/proc/self/fd"
	fds := make(map[string]string)
	entries, err := os.ReadDir(dir)
	if err != nil {
		panic(err)
	}
	for _, e := range entries {
		// The descriptor that read the directory is closed by now.
		name := filepath.Join(dir, e.Name())
		if st, err := os.Stat(name); err != nil || st.Mode().IsRegular() {
			continue
		}
		if what, err := os.Readlink(name); err == nil {
			fds[e.Name()] = what
		}
	}
	return fds
}
