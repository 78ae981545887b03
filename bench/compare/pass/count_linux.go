package pass

import (
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"

	"example.com/fdpass/bench/compare/perf"
	"example.com/fdpass/bench/compare/strace"
	"example.com/fdpass/bench/compare/suite"
)

// systemCalls is the metric that is counted here.
const systemCalls = "calls"

// A tracer changes a command so that its system calls are counted, or leaves it as it is.
type tracer func(*exec.Cmd) *exec.Cmd

func untraced(cmd *exec.Cmd) *exec.Cmd { return cmd }

// countCalls returns how many system calls a descriptor takes. It passes twice: the difference is without what the
// processes need to start and to end. perf counts, or strace where there is none or it may not: what is slowed down
// that much merges less.
func countCalls(w work, pass func(n int, t tracer) error) (suite.Sample, error) {
	messages, descriptors := 8000, 16<<10 // what strace takes seconds for
	if counter() == "perf" {
		messages, descriptors = 40_000, 320<<10
	}
	many := w.whole(min(messages*w.Batch, descriptors))
	few := w.whole(w.Batch) // how much merges varies from run to run, and would with more
	a, err := callsOf(few, pass)
	if err != nil {
		return nil, err
	}
	b, err := callsOf(many, pass)
	if err != nil {
		return nil, err
	}
	return suite.Sample{systemCalls: float64(b-a) / float64(many-few)}, nil
}

// counter is the program that counts system calls.
func counter() string {
	if perf.Works() {
		return "perf"
	}
	return "strace"
}

// callsOf counts the system calls of all processes that pass starts.
func callsOf(n int, pass func(n int, t tracer) error) (calls int, err error) {
	name, options, read := counter(), strace.Options, strace.Read
	if name == "perf" {
		options, read = perf.Options, perf.Read
	}
	dir, err := os.MkdirTemp("", "fdpass-calls-")
	if err != nil {
		return 0, err
	}
	defer os.RemoveAll(dir)
	var logs []string
	err = pass(n, func(cmd *exec.Cmd) *exec.Cmd {
		log := filepath.Join(dir, strconv.Itoa(len(logs)))
		logs = append(logs, log)
		cmd.Args = slices.Concat([]string{name}, options(log), []string{cmd.Path}, cmd.Args[1:])
		if cmd.Path, err = exec.LookPath(name); err != nil {
			cmd.Err = err
		}
		return cmd
	})
	for _, log := range logs {
		n, readErr := read(log)
		if err == nil {
			err = readErr
		}
		calls += n
	}
	return calls, err
}
