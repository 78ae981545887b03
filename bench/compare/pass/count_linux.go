package pass

import (
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"

	"example.com/fdpass/bench/compare/strace"
	"example.com/fdpass/bench/compare/suite"
)

// A tracer changes a command so that its system calls are counted, or leaves it as it is.
type tracer func(*exec.Cmd) *exec.Cmd

func untraced(cmd *exec.Cmd) *exec.Cmd { return cmd }

// countCalls returns how many system calls a descriptor takes. It passes twice: the difference is without what the processes
// need to start and to end.
func countCalls(w work, pass func(n int, t tracer) error) (suite.Sample, error) {
	const messages, descriptors = 8000, 16 << 10 // what strace takes seconds for
	many := w.whole(min(messages*w.Batch, descriptors))
	few := w.whole(many / 4)
	a, err := callsOf(few, pass)
	if err != nil {
		return nil, err
	}
	b, err := callsOf(many, pass)
	if err != nil {
		return nil, err
	}
	return suite.Sample{"calls": float64(b-a) / float64(many-few)}, nil
}

// callsOf counts the system calls of all processes that pass starts.
func callsOf(n int, pass func(n int, t tracer) error) (calls int, err error) {
	dir, err := os.MkdirTemp("", "fdpass-strace-")
	if err != nil {
		return 0, err
	}
	defer os.RemoveAll(dir)
	var logs []string
	err = pass(n, func(cmd *exec.Cmd) *exec.Cmd {
		log := filepath.Join(dir, strconv.Itoa(len(logs)))
		logs = append(logs, log)
		cmd.Args = slices.Concat([]string{"strace"}, strace.Options(log), []string{cmd.Path}, cmd.Args[1:])
		if cmd.Path, err = exec.LookPath("strace"); err != nil {
			cmd.Err = err
		}
		return cmd
	})
	for _, log := range logs {
		n, readErr := strace.Read(log)
		if err == nil {
			err = readErr
		}
		calls += n
	}
	return calls, err
}
