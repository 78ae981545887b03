//go:build linux

package main

import (
	"encoding/json"
	"fmt"
	"net"
	"os"
	"os/exec"
	"slices"
	"syscall"
	"time"

	"example.com/fdpass/internal/policy"

	"golang.org/x/sys/unix"
)

// child is a front or a worker process as the controller sees it. It is there when it says hello, and has ended when
// its line has been read to the end, so that all that it has told is known by then.
type child struct {
	workerSpec // ID 0: a front
	line       net.Conn
	pid, pidfd int
	started    time.Time
	ready      bool // it has said hello,
	joined     bool // and is in the pool
	stopped    bool
	small      bool // its descriptor table is
	leaving    bool
	killed     bool
	bye        bool
}

func (w *child) String() string {
	if w.ID == 0 {
		return fmt.Sprintf("front (process %d)", w.pid)
	}
	return fmt.Sprintf("worker %d (process %d)", w.ID, w.pid)
}

// able reports whether a worker can take connections, as far as is known.
func (w *child) able() bool { return w.ready && w.joined && !w.leaving && !w.killed && !w.stopped }

func (w *child) signal(s syscall.Signal) {
	if w.ready {
		unix.PidfdSendSignal(w.pidfd, s, nil, 0)
	}
}

func (w *child) order(o order) {
	if w.ready {
		json.NewEncoder(w.line).Encode(o) // if it fails, the child has ended
	}
}

func (w *child) leave(c *controller) {
	w.leaving = true
	c.log(w, "is told to leave")
	w.order(order{Do: orderLeave})
}

// log notes what happens to a child, for the story of what went wrong.
func (c *controller) log(w *child, format string, args ...any) {
	text := fmt.Sprintf(format, args...)
	c.lives[w.ID] = append(c.lives[w.ID], clock(time.Now())+" "+text)
	if c.verbose {
		c.Event("%v %s", w, text)
	}
}

func (c *controller) count(which func(*child) bool) (n int) {
	for _, w := range c.workers {
		if which(w) {
			n++
		}
	}
	return n
}

func (c *controller) child(id int) *child {
	if id == 0 {
		return c.front
	}
	for _, w := range c.workers {
		if w.ID == id {
			return w
		}
	}
	return nil
}

func (c *controller) startFront() {
	c.fronts++
	r := c.random(frontNumbers, c.fronts)
	spec := frontSpec{
		Dir: c.dir, Stall: c.stall, Policy: policy.Names[r.IntN(len(policy.Names))], Hasty: r.IntN(2) == 0,
		Backlog: []int{0, 8, 100}[r.IntN(3)],
	}
	cmd := roleCommand(c.program, "front", spec)
	cmd.ExtraFiles = []*os.File{c.socket}
	if err := cmd.Start(); err != nil {
		c.fail("no front: %v", err)
		return
	}
	go cmd.Wait()
	c.front = &child{pid: cmd.Process.Pid, started: time.Now()}
	c.log(c.front, "starts: %s, hasty %v, backlog %d", spec.Policy, spec.Hasty, spec.Backlog)
}

// roleCommand is program as a front or a worker, which ends with the thread that started it.
func roleCommand(program, role string, spec any) *exec.Cmd {
	arg, _ := json.Marshal(spec)
	cmd := exec.Command(program, string(arg))
	cmd.Env = append(os.Environ(), roleEnv+"="+role)
	cmd.Stderr = os.Stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	return cmd
}

// fill starts workers for those that are missing.
func (c *controller) fill() {
	if c.front == nil || !c.front.ready || time.Now().Before(c.hiring) {
		return
	}
	for c.count(func(w *child) bool { return !w.leaving && !w.killed }) < c.options.workers {
		c.hire()
	}
}

// overdue fails for children that never came.
func (c *controller) overdue() {
	for _, w := range append(slices.Clone(c.workers), c.front) {
		if w != nil && !w.ready && time.Since(w.started) > startTime {
			c.fail("%v has not come after %v", w, startTime)
			w.started = time.Now()
		}
	}
}

func (c *controller) hire() {
	c.born++
	c.lives = append(c.lives, nil)
	r := c.random(workerNumbers, c.born)
	w := &child{started: time.Now(), workerSpec: workerSpec{
		ID: c.born, Dir: c.dir, Sabotage: c.sabotage,
		Spawned:  r.IntN(2) == 0,
		Network:  []string{"unixpacket", "unix"}[r.IntN(2)],
		Both:     r.IntN(3) == 0,
		Listener: r.IntN(2) == 0,
		Batch:    []int{1, 4, mostTaken}[r.IntN(3)],
		Shutdown: r.IntN(2) == 0,
	}}
	if c.front.leaving {
		w.Spawned = false
	}
	c.workers = append(c.workers, w)
	c.log(w, "starts: %v", &w.workerSpec)
	if w.Spawned {
		c.front.order(order{Do: orderSpawn, Worker: &w.workerSpec})
		return
	}
	cmd := roleCommand(c.program, "worker", w.workerSpec)
	c.processes.mu.Lock()
	defer c.processes.mu.Unlock()
	if err := cmd.Start(); err != nil {
		c.fail("%v: %v", w, err)
		c.dismiss(w)
		return
	}
	c.processes.byID[cmd.Process.Pid] = w.ID
	go cmd.Wait()
}

// dismiss forgets a worker.
func (c *controller) dismiss(w *child) {
	c.workers = slices.DeleteFunc(c.workers, func(o *child) bool { return o == w })
}

// listen hears what the children have to say.
func (c *controller) listen() {
	for {
		line, err := c.control.AcceptUnix()
		if err != nil {
			return
		}
		go c.hear(line)
	}
}

func (c *controller) hear(line *net.UnixConn) {
	defer line.Close()
	pidfd := peerPidfd(line)
	who := -1 // it has not said
	for d := json.NewDecoder(line); ; {
		var n note
		if d.Decode(&n) != nil {
			break
		}
		if n.Kind == noteHello { // a front may have told of workers before
			who = n.Worker
			c.post(func() { c.welcome(n, line, pidfd) })
		} else {
			c.read(n)
		}
	}
	c.post(func() { c.farewell(who, pidfd) })
}

// peerPidfd returns a pidfd of the process at the other end, so that signals never go to another one.
func peerPidfd(line *net.UnixConn) (pidfd int) {
	raw, err := line.SyscallConn()
	if err != nil {
		return -1
	}
	raw.Control(func(fd uintptr) {
		if pidfd, err = unix.GetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_PEERPIDFD); err != nil {
			pidfd = -1
		}
	})
	return pidfd
}

func (c *controller) welcome(hello note, line net.Conn, pidfd int) {
	w := c.child(hello.Worker)
	if w == nil {
		c.fail("process %d says that it is worker %d, which is not known", hello.PID, hello.Worker)
		line.Close()
		return
	}
	w.line, w.pid, w.pidfd, w.ready = line, hello.PID, pidfd, true
	c.log(w, "has come")
	if w.leaving {
		w.order(order{Do: orderLeave})
	}
}

// farewell is called when a child has ended.
func (c *controller) farewell(id, pidfd int) {
	unix.Close(pidfd)
	w := c.child(id)
	if w == nil {
		return
	}
	w.ready = false
	c.log(w, "has ended")
	switch {
	case w.bye:
		c.books.alive(id)
	case !w.killed:
		c.fail("%v has ended by itself: %v", w, c.lives[id])
	}
	if id != 0 {
		c.dismiss(w)
		return
	}
	restart := w.leaving && c.hiring.Before(time.Now().Add(time.Minute))
	if c.front = nil; restart {
		c.startFront()
	}
}

// read takes in a note. What is about connections goes to the books at once.
func (c *controller) read(n note) {
	worker := c.processes.worker(n)
	switch n.Kind {
	case noteTaken:
		for _, l := range n.Labels {
			c.books.taken(l, worker, n.At)
		}
	case noteAcked:
		for _, l := range n.Labels {
			c.books.acked(l, worker, n.At)
		}
	case noteRemark:
		for _, l := range n.Labels {
			c.books.remark(l, fmt.Sprintf("%s (worker %d)", n.Text, worker))
		}
		if len(n.Labels) == 0 {
			c.post(func() { c.Event("%s", n.Text) })
		}
	case noteMixed:
		c.books.found(lost, 1, "the tag of one connection came with the descriptor of another", fmt.Sprintf("%x", n.Labels), worker)
	default:
		c.post(func() { c.note(n, worker) })
	}
}

// note takes in what is about children.
func (c *controller) note(n note, worker int) {
	w := c.child(worker)
	if n.Kind == noteLeft {
		c.back += uint64(n.Count)
	}
	if n.Kind == noteFailure {
		c.fail("worker %d (0: the front): %s: %v", worker, n.Text, c.lives[worker])
	}
	if w == nil {
		return // its end was known before
	}
	switch n.Kind {
	case noteJoined:
		w.joined = true
		c.log(w, "is in the pool")
	case noteLeft:
		w.joined = false
		c.log(w, "is out of the pool: %s, %d come back", n.Text, n.Count)
	case noteUnborn:
		c.log(w, "could not be started: %s", n.Text)
		c.dismiss(w)
	case noteBye:
		w.bye = true
		if n.Count > 0 {
			c.books.found(leaked, n.Count, fmt.Sprintf("%v has more at its end than at its start", w), n.Text, w.ID)
		}
	}
}
