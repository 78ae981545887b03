//go:build linux

package main

import (
	"bufio"
	"fmt"
	"os"
	"strings"
	"time"

	"example.com/fdpass/fastpass"
	"example.com/fdpass/internal/leak"

	"golang.org/x/sys/unix"
)

// takeStock notes what a process has before the library gives it more. It first makes the library open what it keeps
// for good. Not noted are the descriptors that will be handed over to the library.
func takeStock(except ...int) (leak.Snapshot, error) {
	p, f, err := fastpass.Pair(nil)
	if err != nil {
		return leak.Snapshot{}, err
	}
	f.Close()
	p.Close()
	before := leak.Take()
	before.Forget(except...)
	return before, nil
}

// leaks returns how much more there is than before, and what: descriptors, and goroutines of the library. What was let
// go may take a moment to go, but not until a collection.
func leaks(before leak.Snapshot) (n int, what string) {
	var limit unix.Rlimit
	if unix.Getrlimit(unix.RLIMIT_NOFILE, &limit) == nil {
		limit.Cur = limit.Max
		unix.Setrlimit(unix.RLIMIT_NOFILE, &limit) // whatever was done to it: looking takes a descriptor
	}
	for deadline := time.Now().Add(5 * time.Second); ; time.Sleep(10 * time.Millisecond) {
		if left := before.List(); len(left) == 0 || time.Now().After(deadline) {
			return len(left), strings.Join(left, ", ")
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
