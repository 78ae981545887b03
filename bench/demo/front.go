//go:build unix

package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"os/signal"
	"runtime"
	"strconv"
	"syscall"
	"time"

	"example.com/fdpass/fastpass"
	"example.com/fdpass/internal/policy"
	"example.com/fdpass/internal/screen"
)

// How the front tells lost from broken
//
// The load process never uses a client address (IP and port) twice in a run, so the address names the connection. The
// front puts it into the connection's tag. The library calls OnSent with the tag once a worker has acknowledged the
// connection, which is the moment from which the connection is that worker's, and the worker's link is read to its end
// before it counts as ended. So when a client reports its address for want of an answer, the front knows which worker,
// if any, had taken the connection. It need not ask a worker, least of all a dead one.

// front accepts connections and passes them to workers. Its fields belong to the main goroutine, which runs one event
// after the other; other goroutines wait for something and post what is to be done about it.
type front struct {
	*options
	*screen.Screen
	ln      *net.TCPListener
	pool    *fastpass.Pool
	program string
	events  chan func()
	err     error // why it failed

	workers []*worker // all that there ever were
	vacant  []int     // numbers of those that left, and have no successor yet
	script  []step    // what is still to come

	begun    time.Time // when the first worker could take connections and the load began
	ended    time.Time // zero: not yet
	passed   uint64    // as of the last progress line, for the rate
	looked   time.Time
	load     *exec.Cmd
	quiet    io.Closer // ends the load
	totals   *totals
	failures []failure
	missing  int  // of them, without an answer
	shut     bool // the pool is
	steady   steady
}

// newFront does what can fail because of the options or the system, and starts no process.
func newFront(o *options, s *screen.Screen) (*front, error) {
	f := &front{options: o, Screen: s, events: make(chan func(), 64)}
	var err error
	if f.program, err = os.Executable(); err != nil {
		return nil, err
	}
	address, picks := o.listen, policy.ByName(o.policy)
	if address == "" {
		// Only here is it known that clients have addresses of their own; and nobody else pays for the tag.
		address, picks = "127.0.0.1:0", policy.Tagging{Policy: picks}
	}
	ln, err := net.Listen("tcp", address)
	if err != nil {
		return nil, err
	}
	f.ln = ln.(*net.TCPListener)
	f.pool, err = fastpass.NewPool(&fastpass.PoolConfig{
		Policy: picks, StallTimeout: o.stallTimeout(),
		OnLeave: func(link *fastpass.Passer, err error, back int) { f.post(func() { f.left(link, err, back) }) },
	})
	f.plan()
	return f, err
}

func (f *front) post(event func()) { f.events <- event }

// run works until all processes that it has started have ended.
func (f *front) run() error {
	interrupt := make(chan os.Signal, 1)
	signal.Notify(interrupt, syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP)
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	if f.listen != "" {
		f.Event("serving on http://%v/ until Ctrl-C", f.ln.Addr())
	}
	for f.fill(); f.ended.IsZero() || f.running(); {
		select {
		case event := <-f.events:
			event()
		case <-tick.C:
			f.tick()
		case s := <-interrupt:
			signal.Reset() // once more ends this process at once, which ends the others
			f.Event("%v: ending", s)
			f.quit()
		}
	}
	f.Clear()
	return f.err
}

// tick does what is due.
func (f *front) tick() {
	if !f.ended.IsZero() {
		return
	}
	f.fill()
	if f.begun.IsZero() {
		if f.alive() == f.options.workers {
			f.begin()
		}
		return
	}
	f.act()
	f.relent()
	if f.load != nil && time.Since(f.begun) > time.Duration(f.seconds)*time.Second {
		f.quiet.Close() // the load ends, and then all
	}
	if f.Due() {
		f.show()
	}
}

// fill starts workers for those that are missing. That it waits for the next tick keeps workers that cannot live from
// being started in a tight loop.
func (f *front) fill() {
	for n := f.standing(); n < f.options.workers && f.ended.IsZero(); n++ {
		w := &worker{number: len(f.workers) + 1}
		if err := f.start(w); err != nil {
			f.fail(err)
			return
		}
		f.workers = append(f.workers, w)
		if len(f.vacant) > 0 {
			w.replaces, f.vacant = f.vacant[0], f.vacant[1:]
			f.Event("worker %d (process %d) starts in place of worker %d", w.number, w.cmd.Process.Pid, w.replaces)
		}
	}
}

// begin opens the doors: all workers are there.
func (f *front) begin() {
	f.begun, f.looked = time.Now(), time.Now()
	f.Screen.Start = f.begun
	go func() {
		if err := f.pool.Serve(f.ln); !errors.Is(err, net.ErrClosed) {
			f.post(func() { f.fail(err) })
		}
	}()
	if f.listen != "" {
		f.steady.start(f)
		return
	}
	if err := f.startLoad(); err != nil {
		f.fail(err)
	}
}

// startLoad starts the load process. It ends when its standard input does.
func (f *front) startLoad() error {
	cmd := exec.Command(f.program, f.ln.Addr().String(), strconv.Itoa(f.clients), strconv.Itoa(f.seconds))
	cmd.Env = append(os.Environ(), roleEnv+"=load")
	cmd.Stderr = os.Stderr
	tie(cmd)
	in, err := cmd.StdinPipe()
	if err != nil {
		return err
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		return err
	}
	if err := cmd.Start(); err != nil {
		return err
	}
	f.load, f.quiet = cmd, in
	go func() {
		for d := json.NewDecoder(out); ; {
			var m message
			if d.Decode(&m) != nil {
				break
			}
			f.post(func() { f.hear(m) })
		}
		err := cmd.Wait()
		f.post(func() { f.loadEnded(err) })
	}()
	return nil
}

func (f *front) hear(m message) {
	if m.Failure != nil {
		f.failures = append(f.failures, *m.Failure)
		if !m.Failure.Retried {
			f.missing++
		}
	}
	if m.Totals != nil {
		f.totals = m.Totals
	}
}

func (f *front) loadEnded(err error) {
	f.load = nil
	if f.totals == nil {
		f.fail(fmt.Errorf("the load process ended before its time: %v", err))
	}
	f.end()
}

// quit ends everything in order: the load first, so that no client is turned away.
func (f *front) quit() {
	if f.load != nil {
		f.quiet.Close()
		return
	}
	f.end()
}

func (f *front) fail(err error) {
	f.err = firstError(f.err, err)
	f.quit()
}

// end closes the doors. What was accepted is still delivered and answered; then the workers find their links ended, and
// end.
func (f *front) end() {
	if !f.ended.IsZero() {
		return
	}
	if f.ended = time.Now(); f.begun.IsZero() {
		f.begun = f.ended
	}
	if f.listen != "" {
		f.steady.stop(f)
	}
	f.ln.Close()
	for _, w := range f.workers {
		w.signal(syscall.SIGCONT)
		if !w.ready {
			w.link.Close() // it is not in the pool
		}
	}
	go func() {
		ctx, cancel := context.WithTimeout(context.Background(), grace)
		defer cancel()
		f.pool.Shutdown(ctx)
		f.post(func() { f.shut = true })
		time.AfterFunc(grace, func() { f.post(f.kill) })
	}()
}

// kill ends what has not ended by itself.
func (f *front) kill() {
	for _, w := range f.workers {
		if !w.gone {
			f.Event("worker %d does not end", w.number)
			w.signal(syscall.SIGKILL)
		}
	}
}

// running reports whether a process that was started has not ended, or has not been heard to.
func (f *front) running() bool {
	for _, w := range f.workers {
		if !w.gone || w.ready && !w.left {
			return true
		}
	}
	return f.load != nil || !f.shut
}

// standing counts the workers that are there or about to be.
func (f *front) standing() (n int) {
	for _, w := range f.workers {
		if !w.left && !w.gone {
			n++
		}
	}
	return n
}

// alive counts the workers that take connections.
func (f *front) alive() (n int) {
	for _, w := range f.workers {
		if w.ready && !w.left && !w.gone {
			n++
		}
	}
	return n
}

// delivered counts the connections that workers have taken.
func (f *front) delivered() (n uint64) {
	for _, w := range f.workers {
		n += w.link.Stats().Delivered
	}
	return n
}

func (f *front) show() {
	n, now := f.delivered(), time.Now()
	rate := float64(n-f.passed) / now.Sub(f.looked).Seconds()
	f.passed, f.looked = n, now
	f.Progress(fmt.Sprintf("%6.0f connections/s, %d passed to %d workers, %d redelivered, %d without an answer",
		rate, n, f.alive(), f.pool.Stats().Redelivered, f.missing))
}

// steady counts what the whole front process allocates on the heap while nothing but passing goes on. Accepting and
// passing is all that it does; what it prints is counted as well.
type steady struct {
	at                    time.Time
	mallocs, passed       uint64
	seconds               float64
	heap                  runtime.MemStats
	malloced, connections uint64
}

func (s *steady) start(f *front) {
	s.at, s.passed = time.Now(), f.delivered()
	runtime.ReadMemStats(&s.heap)
	s.mallocs = s.heap.Mallocs
}

func (s *steady) stop(f *front) {
	if s.at.IsZero() {
		return
	}
	runtime.ReadMemStats(&s.heap)
	s.malloced = s.heap.Mallocs - s.mallocs
	s.connections = f.delivered() - s.passed
	s.seconds = time.Since(s.at).Seconds()
}
