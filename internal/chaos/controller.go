//go:build linux

package main

import (
	"fmt"
	"net"
	"os"
	"os/signal"
	"slices"
	"sync"
	"syscall"
	"time"

	"example.com/fdpass/internal/screen"
)

// controller starts front and workers, makes the faults, and keeps the books. Its fields belong to the main goroutine,
// which runs one event after the other; other goroutines post what is to be done. Only books and processes are used by
// all.
type controller struct {
	*options
	*screen.Screen
	program   string
	dir       string
	control   *net.UnixListener
	ln        *net.TCPListener
	socket    *os.File // of ln, for fronts
	books     *books
	load      *load
	events    chan func()
	interrupt chan os.Signal
	tick      *time.Ticker
	begun     time.Time
	stopped   bool // by the user

	front    *child
	workers  []*child   // those that are not gone
	born     int        // workers so far
	fronts   int        // likewise
	struck   int        // faults so far
	lives    [][]string // what happened to each worker; 0: to the fronts
	hiring   time.Time  // not before this
	next     time.Time  // fault
	later    []task     // to be done at their time
	injected map[string]int
	back     uint64 // redelivered
	failures []string

	processes processes
}

// processes finds a worker by its process, as the front knows those that have dialled.
type processes struct {
	mu   sync.Mutex
	byID map[int]int
}

func (p *processes) worker(n note) int {
	if n.PID == 0 {
		return n.Worker
	}
	p.mu.Lock() // held while such a process is started
	defer p.mu.Unlock()
	return p.byID[n.PID]
}

// task is something to be done later.
type task struct {
	at time.Time
	do func()
}

func newController(o *options, s *screen.Screen) (*controller, error) {
	c := &controller{
		options: o, Screen: s, books: newBooks(), events: make(chan func(), 256),
		injected: map[string]int{}, lives: make([][]string, 1), interrupt: make(chan os.Signal, 1),
		processes: processes{byID: map[int]int{}},
	}
	var err error
	if c.program, err = os.Executable(); err != nil {
		return nil, err
	}
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	c.ln = ln.(*net.TCPListener)
	if c.socket, err = c.ln.File(); err != nil {
		return nil, err
	}
	if c.dir, err = os.MkdirTemp("", "chaos"); err != nil {
		return nil, err
	}
	c.control, err = net.ListenUnix("unix", &net.UnixAddr{Name: controlPath(c.dir), Net: "unix"})
	c.load = newLoad(o, c.ln.Addr().String(), c.books)
	return c, err
}

func (c *controller) post(event func()) { c.events <- event }

// step does what is due, or waits a little for it.
func (c *controller) step() {
	select {
	case event := <-c.events:
		event()
	case <-c.tick.C:
		c.due(time.Now())
		c.fill()
		c.overdue()
		c.books.settle(time.Now().Add(-grace))
		if !c.begun.IsZero() && c.Due() {
			c.show()
		}
	case s := <-c.interrupt:
		signal.Reset() // once more ends this process at once, which ends the others
		c.Event("%v: ending", s)
		c.stopped = true
	}
}

// until goes on until something is so, or too much time has passed.
func (c *controller) until(limit time.Duration, so func() bool) bool {
	for end := time.Now().Add(limit); !so(); c.step() {
		if time.Now().After(end) {
			return false
		}
	}
	return true
}

// due does the tasks whose time has come.
func (c *controller) due(now time.Time) {
	tasks := c.later
	c.later = nil
	for _, t := range tasks {
		if t.at.After(now) {
			c.later = append(c.later, t)
		} else {
			t.do()
		}
	}
}

func (c *controller) after(d time.Duration, do func()) {
	c.later = append(c.later, task{time.Now().Add(d), do})
}

func (c *controller) fail(format string, args ...any) {
	c.failures = append(c.failures, fmt.Sprintf("%s %s", clock(time.Now()), fmt.Sprintf(format, args...)))
	c.Event("FAILED: %s", c.failures[len(c.failures)-1])
}

const (
	startTime = 20 * time.Second // to start all processes
	endTime   = 30 * time.Second // for all to end
)

// run is the whole of it.
func (c *controller) run() {
	defer os.RemoveAll(c.dir)
	defer c.control.Close()
	signal.Notify(c.interrupt, syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP)
	c.tick = time.NewTicker(10 * time.Millisecond)
	defer c.tick.Stop()
	go c.listen()
	c.Event("seed %d, %v at 127.0.0.1:%d, %d connections/s, %d faults/min, %d workers",
		c.seed, c.duration, c.port(), c.rate, c.faults, c.options.workers)
	c.startFront()
	if !c.until(startTime, func() bool { return c.count((*child).able) == c.options.workers }) {
		c.fail("not all workers have come after %v", startTime)
	}
	c.begun = time.Now()
	go c.load.run()
	for c.next = c.begun; c.left() > 0; c.act() {
		c.step()
	}
	for len(c.later) > 0 { // what was done is undone
		c.due(time.Now().Add(time.Hour))
	}
	close(c.load.quit)
	if !c.until(patience+grace, c.loadOver) {
		c.fail("clients are left")
	}
	c.lookAround()
	c.end()
	c.Clear()
}

// left is how much longer connections are opened.
func (c *controller) left() time.Duration {
	const most = 10 // more failures tell nothing more
	if c.stopped || len(c.failures) > most || c.front == nil {
		return 0
	}
	return time.Until(c.begun.Add(c.duration))
}

func (c *controller) port() int { return c.ln.Addr().(*net.TCPAddr).Port }

func (c *controller) loadOver() bool {
	select {
	case <-c.load.over:
		return true
	default:
		return false
	}
}

// lookAround is done when all clients have gone: now nobody may have a connection any more.
func (c *controller) lookAround() {
	var open []string
	c.until(10*time.Second, func() bool {
		open = connectionsAt(c.port())
		return len(open) == 0
	})
	if len(open) > 0 {
		c.books.found(leaked, len(open), "connections are open though all clients have gone", fmt.Sprint(open))
	}
}

// end has everybody leave in order, and waits for the last word of each.
func (c *controller) end() {
	c.hiring = time.Now().Add(time.Hour)
	if c.front != nil {
		c.front.leave(c)
	}
	c.until(endTime, func() bool { return c.front == nil })
	for _, w := range c.workers {
		w.leave(c)
	}
	if !c.until(endTime, func() bool { return c.front == nil && len(c.workers) == 0 }) {
		for _, w := range append(slices.Clone(c.workers), c.front) {
			if w != nil {
				c.fail("%v does not end: %v", w, c.lives[w.ID])
				w.signal(syscall.SIGKILL)
			}
		}
	}
	c.ln.Close()
	c.socket.Close()
	c.control.Close()
	var bound []string
	if !c.until(2*time.Second, func() bool { bound = unixSocketsIn(c.dir); return len(bound) == 0 }) {
		c.books.found(leaked, len(bound), "Unix sockets are left", fmt.Sprint(bound))
	}
	if left := connectionsAt(c.port()); len(left) > 0 {
		c.books.found(leaked, len(left), "connections are left when all processes have ended", fmt.Sprint(left))
	}
	c.books.settle(time.Now().Add(time.Hour))
	if _, open := c.books.counts(); open > 0 {
		c.fail("%d clients have never ended", open)
	}
}

func (c *controller) show() {
	n, open := c.books.counts()
	c.Progress(fmt.Sprintf("%v left, %d passed, %d open, %d redelivered, %d broken, %d workers, faults: %s; lost %d doubled %d leaked %d",
		max(c.left(), 0).Round(time.Second), n[passed], open, c.back, n[broken], len(c.workers), c.faultCounts(),
		n[lost], n[doubled], n[leaked]))
}
