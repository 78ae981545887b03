//go:build linux

package main

import (
	"fmt"
	"strings"
	"sync"
	"time"

	"example.com/fdpass/internal/loopback"
)

// Who owns a connection, and the verdict
//
// A client's address names its connection (package loopback). Three witnesses speak of each:
//
//   - the client: how often it was answered, and by which worker, or what went wrong;
//   - the front: which worker acknowledged it (Config.OnSent). From then on it is that worker's own. The front is never
//     killed, and reads a worker's link to its end before it gives anything to others;
//   - the workers: each notes what its application was given, before it reads a byte of it. What it has noted
//     outlives a SIGKILL, as it lies in a socket of the controller's by then.
//
// Between the acknowledgement and the note a worker may be killed: the connection was its own, and nobody else may have
// it. This cannot concern more connections than one call of the library brings.

// holder is a worker that had a connection, or says that it had.
type holder struct {
	worker int
	at     time.Time
}

// story is what is known of one connection.
type story struct {
	opened  time.Time
	acked   []holder // the front: acknowledged by
	taken   []holder // the workers: given to the application of
	answers []int    // the client: answered by
	trouble string   // the client: what went wrong; "": nothing
	hung    bool     // and that was that nothing happened for a long time
	ended   time.Time
	remarks []string
}

// outcome is how it ended for a client.
type outcome struct {
	answers []int // the workers that answered, as they say
	trouble string
	hung    bool
}

// finding is what became of a connection.
type finding int

const (
	passed  finding = iota
	broken          // with the worker whose own it was
	lost            //
	doubled         //
	leaked          // something keeps it open
)

func (f finding) String() string {
	return [...]string{"passed", "broken", "lost", "doubled", "leaked"}[f]
}

// judge gives the verdict, once all witnesses have spoken. death says when a worker was killed; zero: it was not.
func (s *story) judge(death func(worker int) time.Time) (finding, string) {
	switch {
	case len(s.taken) > 1:
		return doubled, "given to applications more than once"
	case len(s.answers) > 1:
		return doubled, "answered more than once"
	case len(s.acked) > 1:
		return doubled, "acknowledged more than once"
	case len(s.taken) == 1 && len(s.acked) == 0:
		return doubled, "given to an application that has not acknowledged it"
	case len(s.taken) == 1 && s.taken[0].worker != s.acked[0].worker:
		return doubled, "given to another application than that of the worker that acknowledged it"
	case len(s.answers) == 1 && (len(s.taken) == 0 || s.answers[0] != s.taken[0].worker):
		return doubled, "answered by a worker that has not noted it"
	case s.trouble == "":
		return passed, ""
	case len(s.acked) == 0:
		return lost, "no worker has acknowledged it: " + s.trouble
	}
	died := death(s.acked[0].worker)
	switch {
	case s.hung && (len(s.answers) == 1 || !died.IsZero()):
		return leaked, "nobody has it, and yet it stays open: " + s.trouble
	case died.IsZero():
		return lost, "its worker was not killed: " + s.trouble
	case s.ended.Before(died):
		return lost, "its worker was killed, but only later: " + s.trouble
	}
	return broken, ""
}

// mostTaken is how many connections a call of a worker's can bring at most: RecvBatch, or the listener's own.
const mostTaken = 32

// grace is how long after the client's word the other witnesses may speak. It is long: processes are stopped.
const grace = 15 * time.Second

// books hold the stories. Connections without fault are forgotten at once, but for their names.
type books struct {
	mu      sync.Mutex
	open    map[uint64]*story
	judged  names
	deaths  map[int]time.Time
	given   map[int]int // how many connections each worker's application was given
	unnoted map[int]int // by killed workers: broken ones that the application had not noted
	count   [leaked + 1]uint64
	cases   []verdict
}

// verdict is on a connection, or something else, for which chaos fails.
type verdict struct {
	finding finding
	why     string
	story   string
	workers []int
}

func newBooks() *books {
	return &books{open: map[uint64]*story{}, judged: names{}, deaths: map[int]time.Time{}, given: map[int]int{}, unnoted: map[int]int{}}
}

// names is a set of connections, small even after hours.
type names map[uint32]*[1 << 16 / 64]uint64

func (n names) add(c uint64) {
	ports := n[uint32(c>>16)]
	if ports == nil {
		ports = new([1 << 16 / 64]uint64)
		n[uint32(c>>16)] = ports
	}
	ports[uint16(c)/64] |= 1 << (c % 64)
}

func (n names) has(c uint64) bool {
	ports := n[uint32(c>>16)]
	return ports != nil && ports[uint16(c)/64]&(1<<(c%64)) != 0
}

// opening is called before a client connects.
func (b *books) opening(c uint64) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.open[c] = &story{opened: time.Now()}
}

// unopened is called if the client could not use its address.
func (b *books) unopened(c uint64) {
	b.mu.Lock()
	defer b.mu.Unlock()
	delete(b.open, c)
}

// ended is the client's word.
func (b *books) ended(c uint64, o outcome) {
	b.tell(c, 0, "ended once more", func(s *story) {
		s.answers, s.trouble, s.hung, s.ended = o.answers, o.trouble, o.hung, time.Now()
	})
}

// acked is the front's word.
func (b *books) acked(c uint64, worker int, at time.Time) {
	b.tell(c, worker, fmt.Sprintf("acknowledged by worker %d", worker), func(s *story) { s.acked = append(s.acked, holder{worker, at}) })
}

// taken is a worker's word.
func (b *books) taken(c uint64, worker int, at time.Time) {
	b.tell(c, worker, fmt.Sprintf("given to the application of worker %d", worker), func(s *story) { s.taken = append(s.taken, holder{worker, at}) })
	b.mu.Lock()
	b.given[worker]++
	b.mu.Unlock()
}

func (b *books) givenTo(worker int) int {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.given[worker]
}

// remark adds to the story what may help to understand it.
func (b *books) remark(c uint64, text string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if s := b.open[c]; s != nil {
		s.remarks = append(s.remarks, fmt.Sprintf("%s %s", clock(time.Now()), text))
	}
}

// tell adds to the story of c, and closes it if all is well.
func (b *books) tell(c uint64, worker int, what string, add func(*story)) {
	b.mu.Lock()
	defer b.mu.Unlock()
	s := b.open[c]
	if s == nil {
		why := "a connection that nobody has opened was "
		if b.judged.has(c) {
			why = "after it was passed, broken or lost, it was "
		}
		b.charge(doubled, why+what, fmt.Sprintf("%v at %s", loopback.Address(c), clock(time.Now())), worker)
		return
	}
	add(s)
	if len(s.answers) == 1 && s.trouble == "" && len(s.acked) > 0 && len(s.taken) > 0 {
		b.close(c, s)
	}
}

// killing is called before a worker gets SIGKILL, alive when it turns out that it has ended by itself before.
func (b *books) killing(worker int) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.deaths[worker].IsZero() {
		b.deaths[worker] = time.Now()
	}
}

func (b *books) alive(worker int) {
	b.mu.Lock()
	defer b.mu.Unlock()
	delete(b.deaths, worker)
}

// settle judges the connections whose clients ended before.
func (b *books) settle(before time.Time) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for c, s := range b.open {
		if !s.ended.IsZero() && s.ended.Before(before) {
			b.close(c, s)
		}
	}
}

// close judges one connection.
func (b *books) close(c uint64, s *story) {
	found, why := s.judge(func(worker int) time.Time { return b.deaths[worker] })
	if found == broken && len(s.taken) == 0 {
		w := s.acked[0].worker
		if b.unnoted[w]++; b.unnoted[w] > mostTaken {
			found, why = lost, fmt.Sprintf("worker %d has acknowledged more than %d that it has not given to the application", w, mostTaken)
		}
	}
	delete(b.open, c)
	b.judged.add(c)
	if found == passed || found == broken {
		b.count[found]++
		return
	}
	b.charge(found, why, s.tell(c), s.workers()...)
}

// found adds what is no connection's story: n leaks, for one.
func (b *books) found(f finding, n int, why, details string, workers ...int) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.charge(f, why, details, workers...)
	b.count[f] += uint64(n - 1)
}

const mostCases = 1000 // kept; all are counted

func (b *books) charge(f finding, why, details string, workers ...int) {
	if b.count[f]++; len(b.cases) < mostCases {
		b.cases = append(b.cases, verdict{f, why, details, workers})
	}
}

// counts returns how many connections had which end so far, and how many have none yet.
func (b *books) counts() (n [leaked + 1]uint64, open int) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.count, len(b.open)
}

// workers returns those that play a part.
func (s *story) workers() (ids []int) {
	seen := map[int]bool{}
	for _, h := range append(append([]holder(nil), s.acked...), s.taken...) {
		if !seen[h.worker] {
			seen[h.worker] = true
			ids = append(ids, h.worker)
		}
	}
	return ids
}

// tell tells the story of connection c.
func (s *story) tell(c uint64) string {
	var t strings.Builder
	fmt.Fprintf(&t, "%v, token %s: opened %s", loopback.Address(c), token(c)[:17], clock(s.opened))
	for _, h := range s.acked {
		fmt.Fprintf(&t, ", acknowledged by worker %d %s", h.worker, clock(h.at))
	}
	for _, h := range s.taken {
		fmt.Fprintf(&t, ", given to the application of worker %d %s", h.worker, clock(h.at))
	}
	for _, w := range s.answers {
		fmt.Fprintf(&t, ", answered by worker %d", w)
	}
	fmt.Fprintf(&t, ", ended %s", clock(s.ended))
	for _, r := range s.remarks {
		fmt.Fprintf(&t, "; %s", r)
	}
	return t.String()
}

func clock(t time.Time) string { return t.Format("15:04:05.000000") }
