package pass

import (
	"fmt"
	"runtime"
	"strconv"

	"example.com/fdpass/bench/compare/process"
	"example.com/fdpass/bench/compare/role"
	"example.com/fdpass/internal/loopback"
	"example.com/fdpass/internal/sys"

	"golang.org/x/sys/unix"
)

// link and first are the descriptors that a process is started with.
const (
	link  = 3
	first = 4
)

// A sender passes descriptors over the link.
type sender interface {
	lend(fds []int) error // passes the descriptors and leaves them open here
	give(fds []int) error // passes copies of the descriptors and closes those
	flush() error         // returns when all are with the receiver, or in the socket
}

// A receiver takes descriptors from the link.
type receiver interface {
	receive() (fds []int, err error) // at least one; the slice is good until the next call
	close(fds []int) error
}

// A way is how a contender in Go passes descriptors over the link.
type way struct {
	name     string // of the role
	sender   func(w work, connections []int) (sender, error)
	receiver func(w work) (receiver, error)
	atOnce   func(w work) int    // descriptors that are handed over in one call; nil: a message's worth
	unable   func(w work) string // see program
}

func ways() []way {
	return []way{viaBare, viaFramed, viaFramedTagged, viaBareMerging, viaFramedMerging, viaUnet, viaFDChannel, viaSys, viaNet, viaNetControl}
}

func init() {
	for _, w := range ways() {
		role.Register(w.role(), w.play)
	}
}

func (w way) role() string { return "pass " + w.name }

// task is what the arguments say (see program).
type task struct {
	send    bool
	work    work
	total   int
	sockets int
}

func parseTask(args []string) (t task, err error) {
	if len(args) != 5 {
		return t, fmt.Errorf("%d arguments", len(args))
	}
	t.send, t.work.Give = args[0] == "send", args[3] == "give"
	for _, n := range []struct {
		to   *int
		text string
	}{{&t.work.Batch, args[1]}, {&t.total, args[2]}, {&t.sockets, args[4]}} {
		if *n.to, err = strconv.Atoi(n.text); err != nil {
			return t, err
		}
	}
	return t, nil
}

func (w way) play(args []string) error {
	t, err := parseTask(args)
	if err != nil {
		return err
	}
	play := w.receive
	if t.send {
		play = w.send
	}
	sys.GrowTable() // as in a process that has been at work for a while
	o, err := play(t)
	if err != nil {
		return err
	}
	return process.Report(o)
}

func (w way) send(t task) (o outcome, err error) {
	fds := make([]int, t.sockets)
	for i := range fds {
		fds[i] = first + i
	}
	s, err := w.sender(t.work, fds)
	if err != nil {
		return o, err
	}
	pass := s.lend
	if t.work.Give {
		pass = s.give
	}
	batch := t.work.Batch
	if w.atOnce != nil {
		batch = w.atOnce(t.work)
	}
	round := append(fds, fds...) // so that each batch is a slice of it
	if err := process.Ready(); err != nil {
		return o, err
	}
	before := now()
	for next := 0; o.Passed < t.total; {
		n := min(batch, t.total-o.Passed)
		if err := pass(round[next : next+n]); err != nil {
			return o, err
		}
		o.Passed += n
		next = (next + n) % t.sockets
	}
	if err := s.flush(); err != nil {
		return o, err
	}
	before.until(&o)
	return o, nil
}

func (w way) receive(t task) (o outcome, err error) {
	r, err := w.receiver(t.work)
	if err != nil {
		return o, err
	}
	if err := process.Ready(); err != nil {
		return o, err
	}
	before := now()
	for o.Passed < t.total {
		fds, err := r.receive()
		if err != nil {
			return o, err
		}
		if o.Inodes == nil {
			o.Inodes = inodes(fds[:min(len(fds), 8)])
		}
		if err := r.close(fds); err != nil {
			return o, err
		}
		o.Passed += len(fds)
	}
	before.until(&o)
	return o, nil
}

func inodes(fds []int) (all []uint64) {
	for _, fd := range fds {
		var st unix.Stat_t
		_ = unix.Fstat(fd, &st) // inode 0 is nobody's
		all = append(all, st.Ino)
	}
	return all
}

// moment is what a process has used so far.
type moment struct {
	time, cpu int64
	mallocs   uint64
}

func now() moment {
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return moment{clock(), role.CPUTime().Nanoseconds(), m.Mallocs}
}

// until completes the outcome of what began at m. Reading the statistics stops the world, so the clocks come first.
func (m moment) until(o *outcome) {
	o.Start, o.End, o.CPU = m.time, clock(), role.CPUTime().Nanoseconds()-m.cpu
	var stats runtime.MemStats
	runtime.ReadMemStats(&stats)
	mallocs := stats.Mallocs - m.mallocs
	o.Mallocs = &mallocs
}

func clock() int64 {
	var t unix.Timespec
	_ = unix.ClockGettime(unix.CLOCK_MONOTONIC, &t)
	return t.Nano()
}

// copies fills to with copies of the descriptors.
func copies(to, fds []int) ([]int, error) {
	to = to[:0]
	for _, fd := range fds {
		copied, err := loopback.Copy(fd)
		if err != nil {
			return to, err
		}
		to = append(to, copied)
	}
	return to, nil
}

func closeEach(fds []int) error {
	for _, fd := range fds {
		if err := unix.Close(fd); err != nil {
			return err
		}
	}
	return nil
}
