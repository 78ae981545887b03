//go:build linux

package fastpass

import (
	"fmt"

	"example.com/fdpass/internal/simkernel"
	"example.com/fdpass/internal/sys"

	"golang.org/x/sys/unix"
)

// simProc is a process, with what its application has.
type simProc struct {
	*simkernel.Process
	name string
	app  []int // descriptors that the application may close
	ends []*simEnd
	made map[int]*simDesc // by number, what it was to send last
}

// simLink is a link: end a is the front's, b the worker's.
type simLink struct {
	id   int
	a, b *simEnd
}

// simEnd is one end of a link.
type simEnd struct {
	s       *sim
	number  int
	name    string
	proc    *simProc
	p       *Passer
	conn    *simkernel.Conn
	link    *simLink // nil: the peer is a stranger
	peer    *simEnd  // likewise
	member  *member  // in the pool, until leave
	pumping bool
	parked  bool  // a call of Recv waits for the socket
	idle    bool  // the last one has looked at it, and found nothing
	waits   bool  // Recv waits until the socket takes an acknowledgement
	over    bool  // Recv has returned an error for good
	closed  bool  // Close or Shutdown was called
	cut     bool  // and that was before the end of the run
	leaving bool  // Shutdown waits until all is delivered
	taken   bool  // Undelivered was called
	gaveUp  int   // closed in spite of an acknowledgement sent in part: what it covers was not fetched
	acked   []int // what OnSent said, in order
	got     []int // what the application got, in order
	checked int   // how many of got were held against what was sent
}

func (s *sim) process(name string) *simProc {
	return &simProc{Process: s.k.NewProcess(name, simLimit), name: name, made: map[int]*simDesc{}}
}

// processes are all that ever were.
func (s *sim) processes() []*simProc {
	ps := append([]*simProc{s.front}, s.workers...)
	if s.odd != nil {
		ps = append(ps, s.odd.proc)
	}
	return ps
}

// alive are the workers that can run.
func (s *sim) alive() (ps []*simProc) {
	for _, w := range s.workers {
		if !w.Dead() {
			ps = append(ps, w)
		}
	}
	return ps
}

// all are the ends that ever were.
func (s *sim) all() (es []*simEnd) {
	for _, l := range s.links {
		es = append(es, l.a, l.b)
	}
	if s.odd != nil {
		es = append(es, s.odd.end)
	}
	return es
}

// ends are the ends whose process the driver may run.
func (s *sim) ends() (es []*simEnd) {
	for _, e := range s.all() {
		if e.runs() {
			es = append(es, e)
		}
	}
	return es
}

func (e *simEnd) runs() bool { return !e.proc.Dead() && !e.proc.Stopped() }

func (s *sim) addWorker() {
	w := s.process(fmt.Sprintf("w%d", len(s.workers)))
	s.workers = append(s.workers, w)
	if s.front.Dead() {
		return
	}
	defer func(calm bool) { s.calm = calm }(s.calm)
	s.calm = true // an end that cannot say HELLO is none
	afd, bfd, errno := s.k.Socketpair(s.kind, s.front.Process, w.Process)
	if errno != 0 {
		s.note("no link to %s: %v", w.name, errno)
		return
	}
	l := &simLink{id: len(s.links)}
	l.a = s.end(fmt.Sprintf("%da", l.id), s.front, afd, s.Direction)
	l.b = s.end(fmt.Sprintf("%db", l.id), w, bfd, s.worker)
	l.a.link, l.b.link, l.a.peer, l.b.peer = l, l, l.b, l.a
	s.links = append(s.links, l)
	if s.pool != nil {
		var err error
		if l.a.member, err = s.pool.join(l.a.p); err != nil {
			s.violation("%s cannot join: %v", w.name, err)
		}
	}
}

// end makes an end of a link over fd.
func (s *sim) end(name string, proc *simProc, fd int, d Direction) *simEnd {
	e := &simEnd{s: s, number: len(s.all()), name: name, proc: proc}
	e.conn = proc.NewConn(fd, e)
	cfg := s.Config
	cfg.Direction, cfg.OnSent, cfg.OnRefused = d, e.onSent, e.onRefused
	full, err := cfg.withDefaults(proc.SoftLimit())
	if err != nil {
		panic(err)
	}
	if !full.receives() && s.rng.IntN(2) == 0 { // else its kernel is older
		proc.RefuseRights(fd)
	}
	var k sys.Kernel = proc.Process
	if s.wrap != nil {
		k = s.wrap(e, k)
	}
	e.p = assemble(k, e.conn, fd, s.kind == unix.SOCK_STREAM, full)
	e.p.in.slots.cheap = s.rng.IntN(2) == 1
	e.p.in.slots.minMargin = 1  // the tables are small
	e.p.in.slots.processors = 2 // whatever this machine has
	e.conn.Idle = func() {
		e.idle = true
		e.p.in.read.expired.Store(true)
	}
	e.p.in.ready = func() bool { // nobody waits for the pump
		if !e.p.in.recvReady() {
			e.p.in.read.expired.Store(true)
		}
		return true
	}
	if err := e.p.start(); err != nil {
		panic(err)
	}
	e.pumping = e.p.cfg.sends()
	proc.ends = append(proc.ends, e)
	return e
}

// ended reports whether the link has ended at this end.
func (e *simEnd) ended() bool {
	select {
	case <-e.p.Done():
		return true
	default:
		return false
	}
}

// turn is what the pool's goroutine does when it is woken; it reports whether it was.
func (s *sim) turn() bool {
	if s.pool == nil || s.front.Dead() {
		return false
	}
	select {
	case <-s.pool.wake:
		s.note("pool turn")
		s.pool.drainAndTell()
		return true
	default:
		return false
	}
}

// leave has the pool take back what links that have ended did not deliver.
func (s *sim) leave() {
	for _, l := range s.links {
		if m := l.a.member; m != nil && l.a.ended() {
			l.a.member = nil
			back := s.pool.back
			s.pool.watch(m)
			s.counts.back += int(s.pool.back - back)
			s.settle()
		}
	}
}

// closeEnd closes an end.
func (s *sim) closeEnd(e *simEnd) {
	if e.closed {
		return
	}
	e.closed, e.leaving, e.gaveUp = true, false, e.p.in.pledged
	s.note("%s close", e.name)
	go e.p.Close()
	s.settle()
}

// shutDown begins what Shutdown does; leaveReady is when it goes on.
func (s *sim) shutDown(e *simEnd) {
	if e.closed || e.leaving {
		return
	}
	e.leaving = true
	s.note("%s shutdown", e.name)
	e.p.out.closing.Store(true)
	e.p.out.freed.Notify()
	e.p.out.flush()
}

// leaveReady reports whether a waiting Shutdown need not wait any longer.
func (e *simEnd) leaveReady() bool {
	return e.leaving && !e.closed && (e.p.out.pending() == 0 || e.p.peerSendOnly.Load() || e.p.ending.Load() != nil)
}
