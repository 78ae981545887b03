//go:build linux

package main

import (
	"bufio"
	"bytes"
	"errors"
	"os"
	"os/exec"
	"regexp"
	"strings"
	"syscall"
	"testing"

	"example.com/fdpass/internal/leak"
)

// chaosEnv makes the test binary chaos, whichever of its processes.
const chaosEnv = "FDPASS_CHAOS_TEST"

func TestMain(m *testing.M) {
	if os.Getenv(chaosEnv) != "" {
		main()
	}
	os.Exit(leak.Run(m))
}

func command(args ...string) *exec.Cmd {
	cmd := exec.Command(os.Args[0], args...)
	cmd.Env = append(os.Environ(), chaosEnv+"=1")
	return cmd
}

// status returns an exit status, -1 after a signal.
func status(t *testing.T, err error) int {
	t.Helper()
	var exit *exec.ExitError
	switch {
	case err == nil:
		return 0
	case errors.As(err, &exit):
		return exit.ExitCode()
	}
	t.Fatal(err)
	return 0
}

// run runs chaos to its end. All its processes have its standard error, so none of them is left then.
func run(t *testing.T, args ...string) (stdout, stderr string, code int) {
	t.Helper()
	var out, errs bytes.Buffer
	cmd := command(args...)
	cmd.Stdout, cmd.Stderr = &out, &errs
	code = status(t, cmd.Run())
	return out.String(), errs.String(), code
}

func lastLine(s string) string {
	s = strings.TrimSuffix(s, "\n")
	return s[strings.LastIndexByte(s, '\n')+1:]
}

func long(t *testing.T) {
	if testing.Short() {
		t.Skip("-short: no processes are broken")
	}
	t.Parallel()
}

func TestNothingIsLostDoubledOrLeaked(t *testing.T) {
	long(t)
	stdout, stderr, code := run(t, "-duration", "8s", "-rate", "400", "-faults", "300", "-seed", "3")
	if code != 0 || lastLine(stdout) != "lost 0 doubled 0 leaked 0" {
		t.Fatalf("exit status %d\n%s%s", code, stdout, stderr)
	}
	for _, row := range []string{"passed", "redelivered", "fault: kill", "fault: stop", "fault: squeeze"} {
		if !regexp.MustCompile(row + ` +[1-9]`).MatchString(stdout) {
			t.Errorf("no %s in\n%s", row, stdout)
		}
	}
}

func TestWhatAWorkerDoesWrongIsFound(t *testing.T) {
	for sabotage, found := range map[string]string{
		"drop":   `^lost [1-9]\d* doubled 0 leaked 0$`,
		"double": `^lost 0 doubled [1-9]\d* leaked 0$`,
		"leak":   `^lost 0 doubled 0 leaked [1-9]\d*$`,
	} {
		t.Run(sabotage, func(t *testing.T) {
			long(t)
			stdout, stderr, code := run(t, "-duration", "1s", "-rate", "400", "-faults", "0", "-sabotage", sabotage)
			if code != exitFound || !regexp.MustCompile(found).MatchString(lastLine(stdout)) {
				t.Errorf("exit status %d\n%s%s", code, stdout, stderr)
			}
			if !strings.Contains(stdout, "worker 1") {
				t.Errorf("the story of worker 1 is not told:\n%s", stdout)
			}
		})
	}
}

// start starts chaos for a long time and returns when connections have passed.
func start(t *testing.T) (*exec.Cmd, *bytes.Buffer, *bufio.Scanner) {
	t.Helper()
	cmd := command("-duration", "1h", "-rate", "200", "-verbose")
	// A controller that is killed leaves its directory. (That of t.TempDir has too long a name for sockets.)
	dir, err := os.MkdirTemp("", "chaos-test")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	cmd.Env = append(cmd.Env, "TMPDIR="+dir)
	var out bytes.Buffer
	cmd.Stdout = &out
	pipe, err := cmd.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { cmd.Process.Kill() })
	lines := bufio.NewScanner(pipe)
	for lines.Scan() {
		if strings.Contains(lines.Text(), "is stopped for") {
			return cmd, &out, lines
		}
	}
	t.Fatal("no worker was ever stopped")
	return nil, nil, nil
}

func TestAnInterruptEndsAllInOrder(t *testing.T) {
	long(t)
	cmd, out, lines := start(t)
	cmd.Process.Signal(os.Interrupt)
	for lines.Scan() { // to the end: then no process is left
	}
	if code := status(t, cmd.Wait()); code != 0 || lastLine(out.String()) != "lost 0 doubled 0 leaked 0" {
		t.Errorf("exit status %d\n%s", code, out)
	}
}

func TestNoProcessIsLeftWhenTheControllerIsKilled(t *testing.T) {
	long(t)
	cmd, _, lines := start(t)
	cmd.Process.Signal(syscall.SIGKILL)
	for lines.Scan() { // to the end: then no process is left
	}
	if code := status(t, cmd.Wait()); code != -1 {
		t.Errorf("exit status %d", code)
	}
}

func TestWhatCannotBeDoneIsRefusedInOneLine(t *testing.T) {
	for _, arg := range []string{
		"--duration=0s", "--duration=soon", "--seed=-1", "--rate=0", "--rate=2001", "--workers=0", "--workers=33",
		"--clients=0", "--clients=4001", "--faults=-1", "--faults=1201", "--stall=1ms", "--stall=1h", "--sabotage=all", "--other", "word",
	} {
		stdout, stderr, code := run(t, arg)
		if code != exitUsage || stdout != "" || strings.Count(stderr, "\n") != 1 {
			t.Errorf("%s: exit status %d, output %q, error %q", arg, code, stdout, stderr)
		}
	}
}

func TestHelpNamesAllOptionsAndFaults(t *testing.T) {
	stdout, stderr, code := run(t, "--help")
	if code != 0 || stderr != "" {
		t.Errorf("exit status %d, error %q", code, stderr)
	}
	for _, name := range []string{"duration", "seed", "rate", "workers", "clients", "faults", "stall", "verbose", "help"} {
		if !strings.Contains(stdout, "--"+name) {
			t.Errorf("nothing on --%s", name)
		}
	}
	for _, f := range faults {
		if !strings.Contains(stdout, "\n  "+f.name+" ") {
			t.Errorf("nothing on %s", f.name)
		}
	}
}
