//go:build unix

package main

import (
	"syscall"
	"time"
)

// step is something that is done when a part of the time has passed. It is tried again until it returns true.
type step struct {
	at float64
	do func() bool
}

func (f *front) plan() {
	if f.listen == "" {
		f.script = []step{
			{0.10, func() bool { f.steady.start(f); return true }},
			{0.35, func() bool { f.steady.stop(f); return true }},
		}
	}
	if f.faults {
		f.script = append(f.script,
			step{0.40, func() bool { return f.strike(syscall.SIGKILL, "is killed (SIGKILL)") }},
			step{0.55, f.stop},
			step{0.75, func() bool { return f.strike(syscall.SIGTERM, "is asked to drain (SIGTERM)") }},
		)
	}
}

// act does the steps that are due.
func (f *front) act() {
	part := time.Since(f.begun).Seconds() / float64(f.seconds)
	for len(f.script) > 0 && part >= f.script[0].at && f.script[0].do() {
		f.script = f.script[1:]
	}
}

func (f *front) stop() bool { return f.strike(syscall.SIGSTOP, "is stopped (SIGSTOP)") }

// relent continues a stopped worker to which nothing is on its way: the pool has nothing to give to others then, and
// the clients whose connections it has taken would wait for ever. As long as there is a load it is tried again.
func (f *front) relent() {
	for _, w := range f.workers {
		if w.stopped.IsZero() || w.left || time.Since(w.stopped) < 4*f.stallTimeout() {
			continue
		}
		f.Event("worker %d is continued (SIGCONT), as nothing was on its way to it", w.number)
		w.signal(syscall.SIGCONT)
		w.stopped = time.Time{}
		if f.load != nil {
			w.faulty = false
			f.script = append([]step{{0, f.stop}}, f.script...)
		}
	}
}

// strike sends a signal to the worker that has served longest.
func (f *front) strike(s syscall.Signal, what string) bool {
	for _, w := range f.workers {
		if w.ready && !w.left && !w.gone && !w.faulty {
			w.faulty = true
			f.Event("worker %d (process %d) %s", w.number, w.cmd.Process.Pid, what)
			w.signal(s)
			if s == syscall.SIGSTOP {
				w.stopped = time.Now()
			}
			return true
		}
	}
	return false
}
