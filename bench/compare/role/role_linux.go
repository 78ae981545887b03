// Package role lets the comparison start itself again as another process: the sender or the receiver of a contender, a
// worker, a load. Call Main first thing in main and in TestMain, then Command starts the same binary in a role.
package role

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"syscall"
)

// variable names the role in the environment, so that it works for test binaries, whose arguments are the testing
// package's.
const variable = "FDPASS_COMPARE_ROLE"

var roles = map[string]func(args []string) error{}

// Register makes a role known; call it from an init function or a package variable, under a name that begins with the
// suite's.
func Register(name string, run func(args []string) error) {
	if roles[name] != nil {
		panic("role: " + name + " is registered twice")
	}
	roles[name] = run
}

// Main plays the role that this process was started for and exits, or returns if it was not started for one.
func Main() {
	name, ok := os.LookupEnv(variable)
	if !ok {
		return
	}
	os.Unsetenv(variable)
	run := roles[name]
	if run == nil {
		fmt.Fprintf(os.Stderr, "%s: no such role\n", name)
		os.Exit(2)
	}
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintf(os.Stderr, "%s: %v\n", name, err)
		os.Exit(1)
	}
	os.Exit(0)
}

// Command returns the command that starts this binary in a role; it dies with this process.
func Command(ctx context.Context, name string, args ...string) *exec.Cmd {
	self, err := os.Executable() // not /proc/self/exe, which would be strace's where that starts us
	if err != nil {
		self = os.Args[0]
	}
	return CommandOf(ctx, self, name, args...)
}

// CommandOf is Command for another build of this program.
func CommandOf(ctx context.Context, binary, name string, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, binary, args...)
	cmd.Env = append(os.Environ(), variable+"="+name)
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	return cmd
}
