//go:build linux

// Chaos proves on real processes that nothing is lost: a front hands TCP connections to workers that come and go, while
// processes are killed, stopped, drained and starved of descriptors at random; and every client checks its answer.
//
//	make chaos
//	make chaos DURATION=1h SEED=7
//
// Controller, front and workers are the same program: it starts itself again, with the role in its environment. The
// controller opens the clients' connections, makes the faults and keeps the books: see books.go for the verdict.
package main

import (
	"fmt"
	"io"
	"os"
	"runtime"
	"time"

	"example.com/fdpass/internal/screen"
)

// Exit statuses.
const (
	exitOK    = 0
	exitFound = 1 // something was lost, doubled or leaked, or a process failed
	exitUsage = 2 // what was asked for is not possible; nothing was started
)

// roleEnv names the variable that tells a child process what it is.
const roleEnv = "FDPASS_CHAOS_ROLE"

func init() {
	// The signal that a child gets when its parent dies comes when the parent's thread ends (prctl(2)). The main
	// goroutine starts all children; so it stays on the main thread, which lives as long as the process.
	runtime.LockOSThread()
}

func main() {
	switch os.Getenv(roleEnv) {
	case "front":
		os.Exit(frontMain(os.Args[1]))
	case "worker":
		os.Exit(workerMain(os.Args[1]))
	default:
		os.Exit(controllerMain(os.Args[1:], os.Stdout, os.Stderr))
	}
}

func controllerMain(args []string, stdout, stderr io.Writer) int {
	o, err := parse(args)
	if err != nil {
		fmt.Fprintf(stderr, "chaos: %v (--help tells more)\n", err)
		return exitUsage
	}
	if o.help {
		fmt.Fprint(stdout, help)
		return exitOK
	}
	c, err := newController(o, screen.New(stderr, 5*time.Second))
	if err != nil {
		fmt.Fprintf(stderr, "chaos: %v\n", err)
		return exitUsage
	}
	c.run()
	r := c.report()
	r.write(stdout)
	if r.failed() {
		return exitFound
	}
	return exitOK
}
