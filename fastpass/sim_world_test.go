//go:build linux && sim

package fastpass

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"sync"
	"syscall"
	"testing/synctest"
	"time"

	"example.com/fdpass/internal/simkernel"
	"example.com/fdpass/internal/sys"

	"golang.org/x/sys/unix"
)

// sim is one run of the simulation: a front process that hands descriptors to worker processes, all on a simulated
// kernel, driven by one goroutine that draws every step from a seed. Time is that of a synctest bubble.
//
// The real code runs, with these exceptions: the driver calls the pump's step when the socket would wake it, and what
// the pool's goroutines do when they would be woken; a call of Recv that would park returns a deadline error instead.
type sim struct {
	seed    uint64
	rng     *rand.Rand
	k       *simkernel.Kernel
	opt     simOptions
	wrap    func(e *simEnd, k sys.Kernel) sys.Kernel // mutations; may be nil
	front   *simProc
	workers []*simProc
	links   []*simLink
	descs   []*simDesc // by the ID of their file
	pool    *Pool      // nil: the front sends over the links themselves
	back    []Desc     // then: what came back from links that have ended
	cancel  func()     // ends the wait of the pool's Shutdown
	idle    bool       // the pool has been told that all is delivered
	orderly bool       // the run is in its last part: all end in order

	calm  bool // nothing goes wrong any more
	kills int  // how many more processes may die
	mu    sync.Mutex
	steps []string
	bad   string // what the oracle did not like, first
}

// simOptions are what a seed decides first.
type simOptions struct {
	Config
	kind       int
	worker     Direction
	pool       bool
	payloads   bool
	bad        bool // descriptors that are not open
	faults     int  // per mille of calls
	buffer     int
	privileged bool
	steps      int
	workers    int
}

// simProc is a process, with what its application has.
type simProc struct {
	*simkernel.Process
	name  string
	app   []int // descriptors that the application may close
	ends  []*simEnd
	fuse  int // calls until it is killed; 0: none
	after bool
}

// simLink is a link: end a is the front's, b the worker's.
type simLink struct {
	id   int
	a, b *simEnd
}

// simEnd is one end of a link.
type simEnd struct {
	s       *sim
	link    *simLink
	name    string
	proc    *simProc
	p       *Passer
	conn    *simkernel.Conn
	peer    *simEnd
	rng     *rand.Rand // decides the faults of this end's calls
	member  *member    // in the pool, until leave
	pumping bool
	waits   bool  // Recv waits until the socket takes an acknowledgement
	over    bool  // Recv has returned an error for good
	closed  bool  // Close or Shutdown was called
	taken   bool  // Undelivered was
	acked   []int // what OnSent said, in order
	got     []int // what the application got, in order
	checked int   // how many of got were held against what was sent
	hash    uint64
}

// simDesc is a descriptor that somebody sends.
type simDesc struct {
	id      int
	fd      int // in the sending process
	from    *simProc
	keep    bool
	sent    bool // a kept one: OnSent has been called
	taken   bool // the library took it
	got     *simEnd
	back    bool // the sender's application has it again, for good
	payload string
}

const (
	simLimit = 600     // descriptors, when all is well
	notOpen  = 1 << 20 // the numbers from here on are not open
)

func newSim(seed uint64) *sim {
	s := &sim{seed: seed, rng: rand.New(rand.NewPCG(seed, 0)), k: new(simkernel.Kernel)}
	r := s.rng
	o := &s.opt
	pick := func(n ...int) int { return n[r.IntN(len(n))] }
	o.kind = pick(unix.SOCK_SEQPACKET, unix.SOCK_STREAM)
	o.Window = pick(4, 8, 16, 32, 64)
	o.Batch = pick(1, 2, 3, 5, 8, 16)
	o.Messages = pick(1, 2, 4)
	o.MaxPayload = 64
	switch r.IntN(4) {
	case 0:
		o.Direction, o.worker = SendOnly, RecvOnly
	case 1:
		o.Direction, o.worker = SendOnly, Both
	case 2:
		o.Direction, o.worker = Both, RecvOnly
	}
	if r.IntN(4) == 0 {
		o.Protocol = Bare
	}
	o.pool, o.payloads, o.bad = r.IntN(2) == 0, r.IntN(2) == 0, r.IntN(3) == 0
	// A pool has several links wait for the same moment, and who comes first then when they share a limit is not the
	// driver's to say.
	o.privileged = r.IntN(3) > 0 || o.pool
	o.faults = pick(0, 10, 50, 150)
	o.buffer = pick(2304, 4608, 9000, simkernel.DefaultSendBuffer)
	o.steps = 50 + r.IntN(200)
	o.workers = 1 + r.IntN(3)
	s.kills = r.IntN(4)
	s.k.SendBuffer = o.buffer
	s.k.Fault = s.fault
	s.k.Trace = func(c simkernel.Call, n int, errno syscall.Errno) {
		if e, ok := label(c); ok {
			s.mu.Lock()
			e.hash = (e.hash^uint64(c.Op)<<40^uint64(n)<<16^uint64(errno))*1099511628211 + 1
			s.mu.Unlock()
		}
	}
	s.front = s.process("front")
	s.front.Exempt = o.privileged
	return s
}

func label(c simkernel.Call) (*simEnd, bool) {
	if c.Conn == nil {
		return nil, false
	}
	e, ok := c.Conn.Label.(*simEnd)
	return e, ok
}

// begin starts the pool and the first workers. It runs in the bubble, as everything from here on.
func (s *sim) begin() {
	s.note("%s kind %d, %v to %v, window %d, batch %d, messages %d, pool %v, payloads %v, bad %v, faults %d, buffer %d, privileged %v",
		s.opt.Protocol, s.opt.kind, s.opt.Direction, s.opt.worker, s.opt.Window, s.opt.Batch, s.opt.Messages, s.opt.pool,
		s.opt.payloads, s.opt.bad, s.opt.faults, s.opt.buffer, s.opt.privileged)
	if s.opt.pool {
		s.pool = newSimPool(&PoolConfig{Backlog: 32, MaxPayload: 64, StallTimeout: 20 * time.Millisecond})
	}
	for range s.opt.workers {
		s.addWorker()
	}
}

// newSimPool is NewPool without the pool's own goroutine: turn does its work.
func newSimPool(cfg *PoolConfig) *Pool {
	p := &Pool{
		wake: make(chan struct{}, 1), closing: make(chan struct{}), idle: make(chan struct{}), stopped: make(chan struct{}),
	}
	var err error
	if p.cfg, err = cfg.withDefaults(); err != nil {
		panic(err)
	}
	p.ready = p.hasRoom
	p.write.over.Store(true) // Dispatch must not wait
	return p
}

// turn is what Pool.run does when it is woken; it reports whether it was.
func (s *sim) turn() bool {
	if s.pool == nil {
		return false
	}
	p := s.pool
	select {
	case <-p.wake:
	default:
		return false
	}
	p.mu.Lock()
	p.drain()
	if !s.idle && p.closed.Load() && p.delivered() {
		close(p.idle)
		s.idle = true
	}
	p.flushUnlock()
	return true
}

func (s *sim) note(format string, args ...any) {
	s.steps = append(s.steps, fmt.Sprintf(format, args...))
}

// violation notes the first thing that is wrong.
func (s *sim) violation(format string, args ...any) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.bad == "" {
		s.bad = fmt.Sprintf(format, args...)
	}
}

func (s *sim) process(name string) *simProc {
	return &simProc{Process: s.k.NewProcess(name, simLimit), name: name}
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

// ends are the ends whose process the driver may run.
func (s *sim) ends() (es []*simEnd) {
	for _, l := range s.links {
		for _, e := range []*simEnd{l.a, l.b} {
			if !e.proc.Dead() && !e.proc.Stopped() {
				es = append(es, e)
			}
		}
	}
	return es
}

func (s *sim) addWorker() {
	w := s.process(fmt.Sprintf("w%d", len(s.workers)))
	s.workers = append(s.workers, w)
	s.addLink(w)
}

// addLink makes a link between the front and w.
func (s *sim) addLink(w *simProc) {
	if s.front.Dead() {
		return
	}
	calm := s.calm
	s.calm = true
	defer func() { s.calm = calm }()
	afd, bfd, errno := s.k.Socketpair(s.opt.kind, s.front.Process, w.Process)
	if errno != 0 {
		s.note("no link to %s: %v", w.name, errno)
		return
	}
	l := &simLink{id: len(s.links)}
	s.links = append(s.links, l)
	l.a = s.end(l, "a", s.front, afd, s.opt.Direction)
	l.b = s.end(l, "b", w, bfd, s.opt.worker)
	l.a.peer, l.b.peer = l.b, l.a
	if s.pool != nil {
		s.join(l.a)
	}
}

// join is Pool.Add without the goroutine that waits for the end of the link: leave does its work.
func (s *sim) join(e *simEnd) {
	p := s.pool
	p.mu.Lock()
	p.joined++
	e.member = &member{p: e.p, id: p.joined, since: time.Now()}
	p.members = append(p.members, e.member)
	p.watched.Add(1)
	p.mu.Unlock()
	roomy := p.nudge
	e.p.out.roomy.Store(&roomy)
	p.poke()
}

// leave has the pool take back what links that have ended did not deliver.
func (s *sim) leave() {
	for _, l := range s.links {
		if m := l.a.member; m != nil && l.a.ended() {
			l.a.member = nil
			s.pool.watch(m)
			s.settle()
		}
	}
}

func (s *sim) end(l *simLink, side string, proc *simProc, fd int, d Direction) *simEnd {
	e := &simEnd{s: s, link: l, name: fmt.Sprintf("%d%s", l.id, side), proc: proc}
	e.rng = rand.New(rand.NewPCG(s.seed, uint64(2*l.id+1)<<8+uint64(side[0])))
	e.conn = proc.NewConn(fd)
	e.conn.Label = e
	cfg := s.opt.Config
	cfg.Direction, cfg.OnSent, cfg.OnRefused = d, e.onSent, e.onRefused
	full, err := cfg.withDefaults(proc.Limit())
	if err != nil {
		panic(err)
	}
	var k sys.Kernel = proc.Process
	if s.wrap != nil {
		k = s.wrap(e, k)
	}
	e.p = assemble(k, e.conn, e.conn, fd, s.opt.kind == unix.SOCK_STREAM, full)
	e.p.in.room.least = s.rng.IntN(2) // the tables are small
	e.conn.Idle = func() { e.p.in.read.over.Store(true) }
	if err := e.p.start(); err != nil {
		panic(err)
	}
	e.pumping = e.p.cfg.sends()
	proc.ends = append(proc.ends, e)
	return e
}

// fault decides what goes wrong with a call.
func (s *sim) fault(c simkernel.Call) (f simkernel.Fault) {
	e, ok := label(c)
	if !ok || s.calm {
		return f
	}
	if p := e.proc; p.fuse > 0 {
		if p.fuse--; p.fuse == 0 {
			f.Before, f.After = !p.after, p.after
			return f
		}
	}
	if e.rng.IntN(1000) >= s.opt.faults {
		return f
	}
	errnos := []syscall.Errno{syscall.ENOBUFS, syscall.ENOMEM, syscall.EAGAIN, syscall.ETOOMANYREFS}
	switch x := e.rng.IntN(6); c.Op {
	case simkernel.Send:
		switch {
		case x < 3:
			f.Errno = errnos[e.rng.IntN(4)]
		case x == 3:
			f.Cut = 1
		default:
			f.Bytes = 1 + e.rng.IntN(40)
		}
	case simkernel.Recv:
		if x < 3 && !(c.Consume && !simHard.consume) {
			f.Errno = errnos[e.rng.IntN(2)]
		}
		if x > 1 && (f.Errno == 0 || simHard.latch) {
			f.Cut = 1
		}
	case simkernel.Write:
		if x < 3 {
			if f.Errno = errnos[e.rng.IntN(3)]; !simHard.write {
				f.Errno = syscall.EAGAIN
			}
		} else if simHard.cut {
			f.Bytes = 1 + e.rng.IntN(30)
		}
	}
	return f
}

// simHard are faults that links do not survive yet: each is off until what it shows is mended, and can be tried with
// -sim.hard.
var simHard = struct {
	consume bool // the call that drops a message which was peeked at fails
	latch   bool // recvmmsg latches an error, which the next call finds, be it an acknowledgement
	cut     bool // a stream takes a part of ACK or BYE (Linux, whose buffers count whole messages, never does)
	write   bool // ACK and BYE fail with ENOBUFS or ENOMEM
}{}

// settle lets the goroutines of links run until all of them wait.
func (s *sim) settle() { synctest.Wait() }

// Sending.

// make opens up to n descriptors to be sent by p.
func (s *sim) make(p *simProc, n int) (ds []Desc) {
	for range n {
		fd, f, errno := p.Open()
		if errno != 0 {
			break
		}
		d := &simDesc{id: f.ID, fd: fd, from: p, keep: s.rng.IntN(10) == 0}
		if s.opt.payloads && s.rng.IntN(3) == 0 {
			d.payload = fmt.Sprintf("%0*d", 1+s.rng.IntN(64), f.ID)
		}
		for len(s.descs) <= f.ID {
			s.descs = append(s.descs, nil)
		}
		s.descs[f.ID] = d
		ds = append(ds, Desc{FD: fd, Tag: uint64(f.ID), Keep: d.keep, Payload: []byte(d.payload)})
		if s.opt.bad && s.rng.IntN(8) == 0 {
			ds = append(ds, Desc{FD: notOpen + s.rng.IntN(100), Tag: notOpen})
		}
	}
	return ds
}

// took notes that the library took the first n of ds, and closes the others.
func (s *sim) took(p *simProc, ds []Desc, n int) {
	for i, d := range ds {
		switch {
		case d.FD >= notOpen:
		case i < n:
			s.descs[d.Tag].taken = true
		default:
			p.CloseRange(d.FD, d.FD)
			s.descs[d.Tag].back, s.descs[d.Tag].keep = true, false
		}
	}
}

func (s *sim) dispatch(n int) {
	ds := s.make(s.front, n)
	k, err := s.pool.Dispatch(ds)
	s.note("dispatch %d: %d %v", len(ds), k, err)
	s.took(s.front, ds, k)
}

// send sends over one link.
func (s *sim) send(e *simEnd, n int) {
	var ds []Desc
	again := e.proc == s.front && len(s.back) > 0
	if again {
		ds = s.back[:min(n, len(s.back))]
	} else {
		ds = s.make(e.proc, n)
	}
	k, err, how := 0, error(nil), "send"
	switch {
	case s.rng.IntN(3) == 0 && !s.calm:
		how = "push"
		for err == nil && k < len(ds) {
			if err = e.p.Push(ds[k]); err == nil {
				k++
			}
		}
	default:
		k, err = e.p.out.send(ds, false)
	}
	s.note("%s %s %d: %d %v", e.name, how, len(ds), k, err)
	if again {
		s.back = s.back[k:]
		return
	}
	s.took(e.proc, ds, k)
}

func (e *simEnd) onSent(d Desc) {
	if e.proc.Dead() {
		return
	}
	if d.FD >= notOpen {
		e.s.violation("%s says that %d, which is not open, was sent", e.name, d.FD)
		return
	}
	e.acked = append(e.acked, int(d.Tag))
	if d := e.s.descs[d.Tag]; d.keep {
		d.sent = true
	}
}

func (e *simEnd) onRefused(d Desc, err error) {
	if d.FD < notOpen && !e.proc.Dead() {
		e.s.violation("%s refuses the good descriptor %v: %v", e.name, d, err)
	}
}

// collect takes back what ended links have not delivered.
func (s *sim) collect() {
	if !s.front.Dead() {
		s.leave()
	}
	for _, l := range s.links {
		for _, e := range []*simEnd{l.a, l.b} {
			if e.proc.Dead() || e.proc.Stopped() || e.taken || e == l.a && s.pool != nil {
				continue
			}
			select {
			case <-e.p.Done():
			default:
				continue
			}
			e.taken = true
			ds := e.p.Undelivered()
			if len(ds) > 0 {
				s.note("%s undelivered: %d", e.name, len(ds))
			}
			for _, d := range ds {
				if d.FD >= notOpen {
					continue
				}
				if got := s.descs[d.Tag].got; got != nil {
					s.violation("descriptor %d is doubled: %s has it, and it is in Undelivered of %s", d.Tag, got.name, e.name)
				}
				if e == l.a {
					s.back = append(s.back, d)
				} else {
					s.descs[d.Tag].back, s.descs[d.Tag].keep = true, false
					e.proc.app = append(e.proc.app, d.FD)
				}
			}
		}
	}
}

// Receiving.

// canPump reports whether the pump would be awake.
func (e *simEnd) canPump() bool {
	if !e.pumping || e.p.cfg.Protocol == Bare && e.p.in.queued.Load() >= unaskedCredit && e.p.ending.Load() == nil {
		return false
	}
	return e.conn.Ready()
}

func (s *sim) pump(e *simEnd) {
	e.pumping = e.p.in.pumpSome()
	s.note("%s pump", e.name)
}

// canRecv reports whether a caller of Recv that waits would be awake.
func (e *simEnd) canRecv() bool {
	in := &e.p.in
	switch {
	case e.over || e.closed || !e.p.cfg.receives():
		return false
	case e.waits:
		return e.conn.FD() < 0 || !e.conn.Open() || e.p.kernel.Writable(e.conn.FD())
	case in.direct.Load():
		return e.conn.Ready() || in.queue.len() > 0 && !in.cut.Load() || in.over.Load()
	}
	return in.mayTake()
}

func (s *sim) recv(e *simEnd, n int) {
	ds := make([]Desc, n)
	e.waits = false
	e.p.in.read.over.Store(!e.p.in.direct.Load())
	n, err := e.recvBatch(ds)
	e.p.in.read.over.Store(false)
	s.note("%s recv %d: %d %v", e.name, len(ds), n, err)
	if q := e.p.in.queue; n == 0 && q.len() > 0 && errors.Is(err, os.ErrDeadlineExceeded) && !e.p.in.cut.Load() {
		e.waits = true
	}
	if e.proc.Dead() && e.p.in.orphan {
		n = 0 // what it did after its death did not happen
	}
	for _, d := range ds[:n] {
		if d.FD < 0 && s.opt.Protocol == Bare && s.opt.kind == unix.SOCK_STREAM {
			continue // the rest of a payload that the socket took in part
		}
		s.receive(e, d)
	}
	if err == nil || errors.Is(err, os.ErrDeadlineExceeded) || errors.Is(err, syscall.EMFILE) { // the limit will rise again
		return
	}
	e.over = true
	if e.proc.Dead() {
		return
	}
	switch peer := e.peer.proc; {
	case errors.Is(err, io.EOF), errors.Is(err, net.ErrClosed) && e.p.closed.Load(), errors.Is(err, ErrStalled) && e == e.link.a:
	case errors.Is(err, ErrPeerGone) && (peer.Dead() || s.opt.Protocol == Bare): // nobody says goodbye there
	default:
		s.violation("Recv of %s returns %v", e.name, err)
	}
}

// recvBatch is RecvBatch that returns ErrDeadlineExceeded where it would wait for the socket to take an acknowledgement.
func (e *simEnd) recvBatch(ds []Desc) (n int, err error) {
	defer func() {
		if r := recover(); r != nil {
			if _, ok := r.(simkernel.ErrWouldBlock); !ok {
				panic(r)
			}
			n, err, e.waits = 0, os.ErrDeadlineExceeded, true
		}
	}()
	return e.p.RecvBatch(ds)
}

// receive notes that the application of e got d.
func (s *sim) receive(e *simEnd, d Desc) {
	id := int(d.Tag)
	if f := e.proc.File(d.FD); f != nil {
		if s.opt.Protocol == Framed && f.ID != id {
			s.violation("%s got file %d with the tag of %d", e.name, f.ID, id)
			return
		}
		id = f.ID
		e.proc.app = append(e.proc.app, d.FD)
	} else if !e.proc.Dead() {
		s.violation("%s got descriptor %d (tag %d), which is not open", e.name, d.FD, id)
		return
	} else if s.opt.Protocol == Bare {
		return // nobody will know
	}
	if id >= len(s.descs) || s.descs[id] == nil {
		s.violation("%s got file %d, which nobody sent", e.name, id)
		return
	}
	w := s.descs[id]
	if w.got != nil || w.back {
		s.violation("descriptor %d is doubled: %s got it, and somebody had it", id, e.name)
		return
	}
	w.got = e
	e.got = append(e.got, id)
	if string(d.Payload) != w.payload && s.opt.Protocol == Framed {
		s.violation("descriptor %d came to %s with payload %q, not %q", id, e.name, d.Payload, w.payload)
	}
}

// closeSome has an application close what it has got.
func (s *sim) closeSome(p *simProc, n int) {
	for ; n > 0 && len(p.app) > 0; n-- {
		i := s.rng.IntN(len(p.app))
		fd := p.app[i]
		p.app[i] = p.app[len(p.app)-1]
		p.app = p.app[:len(p.app)-1]
		p.CloseRange(fd, fd)
	}
	for _, d := range s.descs {
		if d != nil && d.keep && d.sent && d.from == p {
			d.keep = false
			p.CloseRange(d.fd, d.fd)
		}
	}
}

// closeEnd closes or shuts down an end.
func (s *sim) closeEnd(e *simEnd, orderly bool) {
	if e.closed {
		return
	}
	e.closed = true
	s.note("%s close, orderly %v", e.name, orderly)
	go func() {
		if orderly {
			ctx, cancel := context.WithTimeout(context.Background(), 30*time.Millisecond)
			defer cancel()
			e.p.Shutdown(ctx)
		} else {
			e.p.Close()
		}
	}()
	s.settle()
}
