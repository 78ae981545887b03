// Package perf counts system calls with perf, which slows them down by little, where strace stops a process for each: a
// process that has less to do than its peer then has the most.
package perf

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"sync"
)

const all, monitor = "raw_syscalls:sys_enter", "syscalls:sys_enter_nanosleep"

// Options have perf count the calls of a process and of those that it starts, and write the counts to log.
func Options(log string) []string {
	return []string{"stat", "-x", ",", "-e", all + "," + monitor, "-o", log, "--"}
}

// Works reports whether perf is here and may count system calls.
var Works = sync.OnceValue(func() bool {
	log, err := os.CreateTemp("", "fdpass-perf-")
	if err != nil {
		return false
	}
	defer os.Remove(log.Name())
	defer log.Close()
	if exec.Command("perf", append(Options(log.Name()), "true")...).Run() != nil {
		return false
	}
	_, err = Read(log.Name())
	return err == nil
})

// Read returns how many calls were counted, without nanosleep: that is the Go runtime's monitor. It is an error if
// there are none.
func Read(log string) (calls int, err error) {
	text, err := os.ReadFile(log)
	if err != nil {
		return 0, err
	}
	for line := range strings.Lines(string(text)) {
		f := strings.Split(line, ",") // count, unit, event
		if len(f) < 3 || f[2] != all && f[2] != monitor {
			continue
		}
		n, err := strconv.Atoi(f[0])
		if err != nil {
			return 0, fmt.Errorf("perf says of %s: %s", f[2], f[0])
		}
		if f[2] == monitor {
			n = -n
		}
		calls += n
	}
	if calls <= 0 {
		return 0, errors.New("perf counted nothing")
	}
	return calls, nil
}
