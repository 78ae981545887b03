//go:build linux

package main

import (
	"bufio"
	"fmt"
	"os"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"time"

	"example.com/fdpass/fastpass"

	"golang.org/x/sys/unix"
)

// belongings are what a process has at a moment.
type belongings struct {
	descriptors map[string]string // by number: what they are
	goroutines  int
}

// takeStock counts what a process has before the library gives it more. It first makes the library open what it keeps for
// good. Not counted are the descriptors that will be handed over to the library.
func takeStock(except ...int) (belongings, error) {
	p, f, err := fastpass.Pair(nil)
	if err != nil {
		return belongings{}, err
	}
	f.Close()
	p.Close()
	b := belongings{descriptors: openDescriptors(), goroutines: runtime.NumGoroutine()}
	for _, fd := range except {
		delete(b.descriptors, strconv.Itoa(fd))
	}
	return b, nil
}

// openDescriptors lists the descriptors of this process.
func openDescriptors() map[string]string {
	all := map[string]string{}
	entries, _ := os.ReadDir("/proc/self/fd")
	for _, e := range entries {
		if what, err := os.Readlink("/proc/self/fd/" + e.Name()); err == nil { // ReadDir's own is closed
			all[e.Name()] = what
		}
	}
	return all
}

// leaks returns how much more there is than before, and what. What was let go may take a moment to go.
func (before belongings) leaks() (n int, what string) {
	var limit unix.Rlimit
	if unix.Getrlimit(unix.RLIMIT_NOFILE, &limit) == nil {
		limit.Cur = limit.Max
		unix.Setrlimit(unix.RLIMIT_NOFILE, &limit) // whatever was done to it: looking takes a descriptor
	}
	for deadline := time.Now().Add(5 * time.Second); ; time.Sleep(10 * time.Millisecond) {
		var found []string
		for fd, now := range openDescriptors() {
			if before.descriptors[fd] != now {
				found = append(found, fmt.Sprintf("descriptor %s: %s", fd, now))
			}
		}
		n = len(found)
		if more := runtime.NumGoroutine() - before.goroutines; more > 0 {
			n += more
			stacks := make([]byte, 8<<10)
			found = append(found, fmt.Sprintf("%d goroutines of:\n%s", more, stacks[:runtime.Stack(stacks, true)]))
		}
		if n == 0 || time.Now().After(deadline) {
			slices.Sort(found)
			return n, strings.Join(found, ", ")
		}
	}
}

// countDescriptors counts the open descriptors of another process: st_size of /proc/PID/fd tells since Linux 6.2.
func countDescriptors(pid int) (int, error) {
	var st unix.Stat_t
	if err := unix.Stat(fmt.Sprintf("/proc/%d/fd", pid), &st); err != nil {
		return 0, err
	}
	return int(st.Size), nil
}

// connectionsAt lists the accepted ends of the connections to a port that are not over, from /proc/net/tcp.
func connectionsAt(port int) (open []string) {
	const timeWait, listening = "06", "0A"
	suffix := fmt.Sprintf(":%04X", port)
	eachLine("/proc/net/tcp", func(l string) {
		f := strings.Fields(l)
		if len(f) > 3 && strings.HasSuffix(f[1], suffix) && f[3] != timeWait && f[3] != listening {
			open = append(open, fmt.Sprintf("from %s in state %s", f[2], f[3]))
		}
	})
	return open
}

// unixSocketsIn lists the Unix sockets bound to names in a directory.
func unixSocketsIn(dir string) (bound []string) {
	eachLine("/proc/net/unix", func(l string) {
		if _, path, ok := strings.Cut(l, dir+"/"); ok {
			bound = append(bound, path)
		}
	})
	return bound
}

func eachLine(file string, do func(string)) {
	f, err := os.Open(file)
	if err != nil {
		return
	}
	defer f.Close()
	for s := bufio.NewScanner(f); s.Scan(); {
		do(s.Text())
	}
}
