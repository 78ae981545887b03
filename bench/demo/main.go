//go:build unix

// Demo shows the data path at work. A front process accepts TCP connections and hands them in batches to worker
// processes, which answer them with net/http; a load process makes the requests. Meanwhile one worker is killed, one is
// stopped and one is drained. At the end a table tells what the clients got, and whether any of them was lost.
//
//	make demo
//	make demo ARGS="--listen :8080"
//
// Front, workers and load are the same program: it starts itself again, with the role in its environment.
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
	exitLost  = 1 // a connection was lost, or the demo itself failed
	exitUsage = 2 // what was asked for is not possible; nothing was started
)

// roleEnv names the variable that tells a child process what it is.
const roleEnv = "FDPASS_DEMO_ROLE"

func init() {
	// The signal that a child gets when its parent dies comes when the parent's thread ends (prctl(2)). The main
	// goroutine starts all children; so it stays on the main thread, which lives as long as the process.
	runtime.LockOSThread()
}

func main() {
	switch role := os.Getenv(roleEnv); role {
	case "worker":
		os.Exit(workerMain(os.Args[1:]))
	case "load":
		os.Exit(loadMain(os.Args[1:]))
	default:
		os.Exit(frontMain(os.Args[1:], os.Stdout, os.Stderr))
	}
}

func frontMain(args []string, stdout, stderr io.Writer) int {
	o, err := parse(args)
	if err != nil {
		fmt.Fprintf(stderr, "demo: %v (--help tells more)\n", err)
		return exitUsage
	}
	if o.help {
		fmt.Fprint(stdout, help)
		return exitOK
	}
	f, err := newFront(o, screen.New(stderr, time.Second))
	if err != nil {
		fmt.Fprintf(stderr, "demo: %v\n", err)
		return exitUsage
	}
	err = f.run()
	r := f.report()
	if o.json {
		err = firstError(err, r.writeJSON(stdout))
	} else {
		err = firstError(err, r.writeTable(stdout))
	}
	if err != nil {
		fmt.Fprintf(stderr, "demo: %v\n", err)
	}
	if err != nil || r.Lost > 0 || r.Twice > 0 {
		return exitLost
	}
	return exitOK
}

func firstError(errs ...error) error {
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}
