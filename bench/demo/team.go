//go:build unix

package main

import (
	"bufio"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"syscall"
	"time"

	"example.com/fdpass/fastpass"
)

// worker is a worker process as the front sees it.
type worker struct {
	number   int
	replaces int // the number of the worker in whose place it came; 0: none
	cmd      *exec.Cmd
	link     *fastpass.Passer
	taken    []uint64 // the clients whose connections it has acknowledged; OnSent's until it has left

	ready   bool      // it is in the pool
	left    bool      // its link has ended,
	leftFor error     // for this reason,
	back    int       // and so many connections went back to the pool
	gone    bool      // the process has ended,
	told    bool      // and has told before
	served  uint64    // how many connections it has served
	drained bool      // its link ended in order, by its own doing
	killed  bool      // by SIGKILL, while it was needed
	stopped time.Time // when it was, as far as the pool has not noticed
	faulty  bool      // it has had its share of faults
}

// start starts a worker process. It joins the pool when it says that it is ready: until then connections are better off
// with the others, and the time that a program needs to start is no stall.
func (f *front) start(w *worker) error {
	w.cmd = exec.Command(f.program, strconv.Itoa(w.number))
	w.cmd.Env = append(os.Environ(), roleEnv+"=worker")
	w.cmd.Stderr = os.Stderr
	tie(w.cmd)
	out, err := w.cmd.StdoutPipe()
	if err != nil {
		return err
	}
	cfg := &fastpass.Config{Direction: fastpass.SendOnly}
	if f.listen == "" {
		w.taken = make([]uint64, 0, 1<<20) // so that it rarely grows: the front's allocations are counted
		cfg.OnSent = func(d fastpass.Desc) { w.taken = append(w.taken, d.Tag) }
	}
	if w.link, err = fastpass.Spawn(w.cmd, cfg); err != nil {
		return err
	}
	go func() {
		lines := bufio.NewScanner(out)
		if lines.Scan() {
			f.post(func() { f.ready(w) })
		}
		lines.Scan()
		served, err := strconv.ParseUint(lines.Text(), 10, 64)
		w.cmd.Wait()
		f.post(func() {
			w.served, w.told = served, err == nil
			f.gone(w)
		})
	}()
	return nil
}

func (f *front) ready(w *worker) {
	if !f.ended.IsZero() {
		return
	}
	w.ready = true
	if err := f.pool.Add(w.link); err != nil {
		f.fail(err)
	}
}

// left is called when a worker's link has ended.
func (f *front) left(link *fastpass.Passer, err error, back int) {
	for _, w := range f.workers {
		if w.link != link {
			continue
		}
		w.left, w.leftFor, w.back = true, err, back
		if !f.ended.IsZero() {
			return
		}
		w.drained = err == nil
		f.vacant = append(f.vacant, w.number)
		why := "has left"
		if err != nil {
			why = "is out: " + err.Error()
		}
		f.Event("worker %d %s; %d connections go to others", w.number, why, back)
		w.signal(syscall.SIGCONT) // if it was stopped: it finds its link ended, answers what it had taken, and ends
	}
}

// gone is called when a worker process has ended.
func (f *front) gone(w *worker) {
	w.gone = true
	status := w.cmd.ProcessState.Sys().(syscall.WaitStatus)
	w.killed = f.ended.IsZero() && status.Signaled() && status.Signal() == syscall.SIGKILL
	if f.ended.IsZero() {
		f.Event("worker %d has ended: %v", w.number, w.cmd.ProcessState)
	}
	if !w.ready {
		w.link.Close()
		f.vacant = append(f.vacant, w.number)
	}
}

// signal sends s to this process and no other: once it has been waited for, nothing is sent.
func (w *worker) signal(s syscall.Signal) {
	if !w.gone {
		w.cmd.Process.Signal(s)
	}
}

// fate tells what became of the worker.
func (w *worker) fate() string {
	end := w.cmd.ProcessState.String()
	switch {
	case w.killed:
		return "killed with SIGKILL"
	case errors.Is(w.leftFor, fastpass.ErrStalled):
		return "stopped, taken out, continued: " + end
	case w.leftFor != nil:
		return fmt.Sprintf("failed: %v, %v", w.leftFor, end)
	case w.drained:
		return "drained: " + end
	}
	return "served to the end: " + end
}
