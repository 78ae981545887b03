//go:build unix

package fastpass

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"example.com/fdpass/ring"
)

// Pool spreads descriptors over workers, and gives what a worker has not acknowledged when it dies, leaves or stalls to
// the others, in order and before anything newer. All its methods may be called from any number of
// goroutines.
type Pool struct {
	cfg              PoolConfig
	inTurn           bool        // the policy is RoundRobin
	freed            ring.Event  // places of the backlog: for Dispatch while that is full
	ready            func() bool // dispatchReady, bound once
	write            deadline
	ackPoller        *ackPoller
	waiting          atomic.Int32  // the length of backlog
	wake             chan struct{} // has run look at the backlog
	closed           atomic.Bool   // Shutdown was called
	wrong            atomic.Pointer[policyError]
	accepted, pauses atomic.Uint64  // of Serve
	closing          chan struct{}  // closed when Shutdown is called
	idle             chan struct{}  // closed when everything is delivered after that
	stopped          chan struct{}  // closed when run is to end
	watched          sync.WaitGroup // the watch goroutines
	serving          sync.WaitGroup // calls of Serve

	mu       sync.Mutex
	backlog  queue // taken, and not placed with a worker; the pool closes nothing of it
	members  []*member
	choice   []Worker  // those that have room
	chosen   []*member // the same ones
	touched  []*member // those to be flushed
	scratch  [64]Desc  // entries of the backlog on their way out
	joined   uint64    // how many workers ever joined
	placed   uint64    // descriptors given to workers
	turns    uint64    // the number for Policy.Pick: like placed, but a piece that goes to one worker together counts once
	back     uint64    // taken back from workers
	refused  uint64    // by the kernel, of links that have ended
	whole    bool      // closed, and nothing comes into the backlog from outside any more
	told     bool      // idle is closed
	ended    bool      // nothing is placed any more
	shut     bool      // nor waits: it is leftover
	leftover leftover
}

// member is a worker in a pool.
type member struct {
	p       *Passer
	pool    *Pool
	id      uint64
	passed  uint64
	touched bool // it is in Pool.touched
	// For the stall check: the signs that were there when it last gave a new one, how many checks ago that was, what outbox.releases was in the
	// last one, and whether the flusher has been in the same release ever since: then nothing more is placed with it.
	signs    signs
	still    int
	releases uint64
	held     bool

	starting atomic.Bool // start may run
	startMu  sync.Mutex
	start    *time.Timer // runs lateStart
	overdue  bool        // lateStart has run once
}

// NewPool makes a pool without workers. Shutdown ends it. It does not block. The error is a value in cfg that is out of
// range; a nil cfg means defaults.
func NewPool(cfg *PoolConfig) (*Pool, error) {
	p, err := assemblePool(cfg)
	if err != nil {
		return nil, err
	}
	go p.run()
	return p, nil
}

// assemblePool makes a pool whose own goroutine does not run yet.
func assemblePool(cfg *PoolConfig) (*Pool, error) {
	p := &Pool{
		wake: make(chan struct{}, 1), closing: make(chan struct{}), idle: make(chan struct{}), stopped: make(chan struct{}),
		ackPoller: newAckPoller(),
	}
	var err error
	if p.cfg, err = cfg.withDefaults(); err != nil {
		return nil, err
	}
	p.inTurn = p.cfg.Policy == RoundRobin
	p.ready = p.dispatchReady
	return p, nil
}

// Add makes w a worker of the pool, until its link ends, and does not block. The pool owns w from then on, and closes
// it in Shutdown. To have the worker leave, call w.Shutdown, or let the worker close its end. Descriptors, first what
// waits in the pool, go to w as soon as it has said HELLO: a process that is still starting holds nothing up.
//
// On error w stays the caller's: net.ErrClosed after Shutdown, or w only receives, or its peer only sends, or takes
// smaller payloads than the pool; or it has been added before, here or to another pool, which has it still.
func (p *Pool) Add(w *Passer) error {
	m, err := p.join(w)
	if err != nil {
		return err
	}
	go p.watch(m)
	return nil
}

// join makes w a member, whom watch lets go.
func (p *Pool) join(w *Passer) (*member, error) {
	switch {
	case !w.cfg.sends():
		return nil, errReceiveOnly
	case w.peerSendOnly.Load():
		return nil, errPeerSendOnly
	case w.cfg.MaxPayload < p.cfg.MaxPayload:
		return nil, fmt.Errorf("fastpass: the worker takes payloads of %d bytes (Config.MaxPayload), the pool of %d (PoolConfig.MaxPayload)",
			w.cfg.MaxPayload, p.cfg.MaxPayload)
	}
	p.mu.Lock()
	if p.closed.Load() {
		p.mu.Unlock()
		return nil, net.ErrClosed
	}
	m := &member{p: w, pool: p, id: p.joined + 1}
	nudge := m.nudge
	if !w.out.onFreed.CompareAndSwap(nil, &nudge) {
		p.mu.Unlock()
		return nil, errInPool
	}
	p.joined++
	p.members = append(p.members, m)
	p.watched.Add(1)
	p.mu.Unlock()
	w.out.polls.pool.Store(p.ackPoller)
	if w.peerSendOnly.Load() { // since then; or else the flusher sees that it is in a pool
		w.fail(errPeerSendOnly)
	}
	m.awaitHello()
	p.poke()
	return m, nil
}

// awaitHello has lateStart called if the worker does not say HELLO in time.
func (m *member) awaitHello() {
	m.startMu.Lock()
	m.start = time.AfterFunc(m.pool.cfg.StartTimeout, m.lateStart)
	m.startMu.Unlock()
	m.starting.Store(true) // from now on nudge stops it
	if m.p.out.established.Load() {
		m.stopStart()
	}
}

// lateStart ends the link of a worker that has not said HELLO. If this process has been stopped meanwhile, it may not have had the
// time to read it: so that is looked at twice.
func (m *member) lateStart() {
	m.startMu.Lock()
	defer m.startMu.Unlock()
	switch {
	case m.p.out.established.Load() || m.p.ending.Load() != nil:
	case !m.overdue:
		m.overdue = true
		m.start.Reset(startGrace)
	default:
		m.p.fail(&startError{m.pool.cfg.StartTimeout})
	}
}

// stopStart stops the timer, once the worker has said HELLO or is gone.
func (m *member) stopStart() {
	m.starting.Store(false)
	m.startMu.Lock()
	defer m.startMu.Unlock()
	m.start.Stop()
}

const startGrace = 250 * time.Millisecond

// nudge is called when the worker has room again, or for the first time.
func (m *member) nudge() {
	if m.starting.Load() && m.p.out.established.Load() {
		m.stopStart()
	}
	if p := m.pool; p.waiting.Load() > 0 || p.closed.Load() {
		p.poke()
	}
}

var errInPool = errors.New("fastpass: the link is a worker of a pool already")

// Dispatch hands ds to workers, in order. It blocks while no worker and no place in the backlog is free, until the
// deadline. The first n belong to the pool now, whatever the error, which is a *BatchError if n < len(ds).
//
// A descriptor that the kernel refuses to pass later is the caller's again: PoolStats.Refused counts it, and
// Config.OnRefused of the worker's link tells which one it is.
//
// Errors: net.ErrClosed, os.ErrDeadlineExceeded, a *DescError of what can be seen at once, or that PoolConfig.Policy
// picked a worker that there is not: that ends the pool's work, and Undelivered returns what waits, after Shutdown.
func (p *Pool) Dispatch(ds []Desc) (n int, err error) {
	for i := range ds {
		if ds[i].client != 0 { // the slice has held another one
			ds[i].client = 0
		}
	}
	p.identify(ds)
	for n < len(ds) {
		var k int
		if k, err = p.tryDispatch(ds[n:]); err != nil {
			n += k
			break
		}
		if n += k; k == 0 {
			if p.write.passed() {
				err = os.ErrDeadlineExceeded
				break
			}
			p.freed.Wait(p.ready)
		}
	}
	if err != nil {
		return n, &BatchError{n, err}
	}
	return n, nil
}

// identify finds out what Hash goes by, if that is the policy, of those of which it is not known. The caller does not hold mu: it may take long.
func (p *Pool) identify(ds []Desc) {
	if p.cfg.Policy != Hash {
		return
	}
	for i := range ds {
		if d := &ds[i]; d.Tag == 0 && isNumber(d.FD) {
			identify(d)
		}
	}
}

// SetDeadline sets the deadline of Dispatch, also of calls that wait already; a zero time means none. Once Shutdown was
// called it returns net.ErrClosed.
func (p *Pool) SetDeadline(t time.Time) error {
	if p.closed.Load() {
		return net.ErrClosed
	}
	p.write.reset(t, p.freed.Notify)
	return nil
}

// adopt takes what Serve had accepted when the pool was closed: it is nobody else's. The backlog may get longer than it should.
func (p *Pool) adopt(ds []Desc) {
	p.mu.Lock()
	for i := range ds {
		p.backlog.push(&ds[i])
	}
	if p.drain(); p.shut {
		p.giveBack()
	}
	p.flushUnlock()
	p.poke() // a worker that got room before drain has counted them has told nudge, which saw nothing waiting
}

// dispatchReady reports whether Dispatch need not wait (any longer).
func (p *Pool) dispatchReady() bool {
	return p.backlogReady() || p.write.passed()
}

// backlogReady reports whether the backlog has a free place, or never will have.
func (p *Pool) backlogReady() bool {
	return int(p.waiting.Load()) < p.cfg.Backlog || p.closedError() != nil
}

// closedError says why the pool takes nothing any more; nil if it does.
func (p *Pool) closedError() error {
	if p.closed.Load() {
		return net.ErrClosed
	}
	if wrong := p.wrong.Load(); wrong != nil {
		return wrong
	}
	return nil
}

// tryDispatch is Dispatch for the first of ds, as many as there is room for. It does not wait.
func (p *Pool) tryDispatch(ds []Desc) (n int, err error) {
	p.mu.Lock()
	defer p.flushUnlock()
	if err := p.closedError(); err != nil {
		return 0, err
	}
	ds = ds[:min(len(ds), maxPiece)]
	good := 0
	for good < len(ds) && err == nil {
		if err = checkDesc(&ds[good], p.cfg.MaxPayload); err == nil {
			good++
		}
	}
	if good == 0 {
		return 0, err
	}
	if p.backlog.len() == 0 {
		if n, err = p.place(ds[:good]); err != nil {
			return n, err
		}
	}
	for n < good && p.backlog.len() < p.cfg.Backlog {
		p.backlog.push(&ds[n])
		n++
	}
	if before := p.waiting.Swap(int32(p.backlog.len())); before == 0 && p.backlog.len() > 0 {
		p.poke() // a worker that got room before this Swap has told nudge, which saw nothing waiting
	}
	return n, nil
}

// maxPiece is how many descriptors Dispatch looks at with the pool locked.
const maxPiece = 4096

// place pushes the first of ds to workers, until none has room. The caller holds mu.
func (p *Pool) place(ds []Desc) (n int, err error) {
	p.gather()
	piece := p.piece(len(ds))
	for n < len(ds) && len(p.choice) > 0 {
		i := p.cfg.Policy.Pick(&ds[n], p.turns, p.choice)
		if i < 0 || i >= len(p.choice) {
			p.wrong.Store(&policyError{i, len(p.choice)})
			return n, p.wrong.Load()
		}
		w, m := &p.choice[i], p.chosen[i]
		_, k, _ := m.p.out.push(ds[n:min(len(ds), n+piece-n%piece)])
		if k == 0 {
			p.choice = append(p.choice[:i], p.choice[i+1:]...) // full
			p.chosen = append(p.chosen[:i], p.chosen[i+1:]...)
			continue
		}
		p.touch(m)
		w.InFlight, w.idle = w.InFlight+k, false
		w.Passed += uint64(k)
		m.passed += uint64(k)
		p.placed += uint64(k)
		n += k
		if n%piece == 0 || n == len(ds) {
			p.turns++
		}
	}
	return n, nil
}

// touch has flushUnlock flush m.
func (p *Pool) touch(m *member) {
	if !m.touched {
		m.touched = true
		p.touched = append(p.touched, m)
	}
}

// startError says that a worker has not said HELLO in time.
type startError struct{ after time.Duration }

func (e *startError) Error() string {
	return fmt.Sprintf("fastpass: the worker has not said HELLO for %v (PoolConfig.StartTimeout): does it call Inherit or Dial, with Protocol Framed?", e.after)
}

func (e *startError) Unwrap() error { return ErrStalled }

// policyError says that a Policy picked a worker that there is not. The pool places nothing any more then.
type policyError struct{ picked, of int }

func (e *policyError) Error() string {
	return fmt.Sprintf("fastpass: PoolConfig.Policy picked worker %d of %d", e.picked, e.of)
}

// piece is how many of n descriptors that came at once go to a worker together. More than one only where Pick takes turns, and so
// has the same answer for all of them.
func (p *Pool) piece(n int) int {
	if !p.inTurn {
		return 1
	}
	return max(1, n/max(1, len(p.choice)))
}

// gather lists the workers that have room, without those that are still starting.
func (p *Pool) gather() {
	p.choice, p.chosen = p.choice[:0], p.chosen[:0]
	tell := true
	for _, m := range p.members {
		o := &m.p.out
		n := o.window.Len()
		if o.established.Load() && n < o.window.Cap() && o.closedError() == nil && !m.held {
			w := m.worker(n)
			if !p.inTurn { // RoundRobin does not look, and what the workers write is in their processors' caches
				w.InFlight = max(0, n-o.unread())
				if tell {
					w.Open, tell = o.page.Open()
				}
			}
			p.choice = append(p.choice, w)
			p.chosen = append(p.chosen, m)
		}
	}
	for i := range p.choice {
		w := &p.choice[i]
		if !tell { // who does not would seem to have nothing to do
			w.Open = 0
		}
		w.idle = tell && !p.inTurn && w.load() == 0
	}
}

// worker is what a Policy may know of m, n of whose descriptors are in the window, but for how many connections are open.
func (m *member) worker(n int) Worker {
	return Worker{ID: m.id, Ready: m.p.out.established.Load(), InFlight: n, Passed: m.passed, Passer: m.p}
}

// drain places what waits in the backlog, oldest first. The caller holds mu.
func (p *Pool) drain() {
	ds := p.scratch[:]
	for p.backlog.len() > 0 && !p.ended && p.wrong.Load() == nil {
		k := min(len(ds), p.backlog.len())
		for i := range k {
			ds[i] = p.backlog.at(i).view() // push copies payloads
		}
		n, err := p.place(ds[:k])
		clear(ds[:k])
		p.backlog.drop(n)
		if n == 0 || err != nil {
			break
		}
	}
	p.waiting.Store(int32(p.backlog.len()))
	p.freed.Notify()
}

// flushUnlock unlocks mu, and has the workers that were given something send it.
func (p *Pool) flushUnlock() {
	var few [64]*member
	touched := append(few[:0], p.touched...)
	for _, m := range p.touched {
		m.touched = false
	}
	clear(p.touched)
	p.touched = p.touched[:0]
	p.mu.Unlock()
	for _, m := range touched {
		m.p.out.flushForPool()
	}
}

// poke has the pool's own goroutine look at the backlog.
func (p *Pool) poke() {
	select {
	case p.wake <- struct{}{}:
	default:
	}
}

// run is the pool's own goroutine: it places what waits in the backlog, and looks after workers that stall.
func (p *Pool) run() {
	between := max(p.cfg.StallTimeout/checksPerStall, time.Millisecond)
	t := time.NewTimer(between) // a ticker's may be closer together than that
	defer t.Stop()
	if p.cfg.StallTimeout == 0 {
		t.Stop()
	}
	for {
		select {
		case <-p.wake:
			p.drainAndTell()
		case <-t.C:
			p.checkStalled()
			t.Reset(between)
		case <-p.stopped:
			return
		}
	}
}

// drainAndTell places what can be placed, and tells Shutdown when everything is delivered.
func (p *Pool) drainAndTell() {
	p.mu.Lock()
	p.drain()
	if !p.told && p.whole && p.delivered() {
		p.told = true
		close(p.idle)
	}
	p.flushUnlock()
}

// checksPerStall is how often the pool checks its workers in a StallTimeout.
const checksPerStall = 4

// signs are what says that a worker has not stalled, whenever one of them changes.
type signs struct {
	delivered uint64
	pulses    uint64 // it has no room
	untaken   int    // bytes in its socket (Bare)
	shortages uint64 // nothing can be sent to it, for a want of the kernel that is not its doing: it has taken all that was sent
}

func (o *outbox) signs() signs {
	s := signs{delivered: o.delivered(), pulses: o.page.Pulses()}
	untaken := -1
	o.p.conn.Control(func(fd uintptr) { untaken = o.p.kernel.Untaken(int(fd)) })
	taken := untaken == 0
	if o.p.framed() {
		taken = untaken <= 0 && o.stats.sent.Load()-o.stats.resent.Load() == s.delivered
	} else {
		s.untaken = untaken
	}
	if taken {
		s.shortages = o.stats.shortages.Load()
	}
	return s
}

// checkStalled ends the links of workers that have acknowledged nothing for too long. What they had is redelivered when
// their links have ended. That is for more than so many checks: by the clock every worker would seem to have stalled after a time in
// which this process itself stood still.
func (p *Pool) checkStalled() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, m := range p.members {
		o := &m.p.out
		releases := o.releases.Load()
		held := releases%2 == 1 && releases == m.releases
		if m.held && !held {
			p.poke() // something may wait for it
		}
		m.held, m.releases = held, releases
		if signs := o.signs(); signs != m.signs || o.drained() {
			m.signs, m.still = signs, 0
			continue
		}
		o.p.kernel.Go(o.flushBeside) // acknowledgements that nobody has looked at, or what Push has queued
		if m.held {
			continue // what it has acknowledged cannot be seen
		}
		if m.still++; m.still > checksPerStall {
			m.p.fail(ErrStalled)
		}
	}
}

// watch waits for the end of a worker's link, and takes back what it has not delivered.
func (p *Pool) watch(m *member) {
	<-m.p.Done()
	m.stopStart()
	err := m.p.Err()
	all := m.p.leftover.take()
	// Of what was not the pool's before, some may be too large for it.
	ds := make([]Desc, 0, len(all))
	for _, d := range all {
		if checkPayload(&d, p.cfg.MaxPayload) == nil {
			ds = append(ds, d)
		} else {
			p.leftover.add([]Desc{d})
		}
	}
	p.identify(ds)
	p.mu.Lock()
	p.members = slices.DeleteFunc(p.members, func(other *member) bool { return other == m })
	clear(p.choice[:cap(p.choice)]) // they would keep its Passer's memory
	clear(p.chosen[:cap(p.chosen)])
	p.back += uint64(len(ds))
	p.refused += m.p.out.refusals.total.Load()
	p.backlog.prepend(ds)
	p.drain()
	p.flushUnlock()
	p.poke()
	p.watched.Done()
	if p.cfg.OnLeave != nil {
		p.cfg.OnLeave(m.p, err, len(ds))
	}
}

// Shutdown ends the pool: Serve and Dispatch return net.ErrClosed, what is on its way is delivered, with what Serve has
// accepted, and the workers' links are shut down. It blocks until then, or until ctx ends. No worker can join any more:
// if none is left and descriptors wait, only ctx ends it.
//
// Errors: that of ctx, or that the Policy has failed; the links are closed all the same, and Undelivered returns what
// was not delivered (and what a Serve has accepted that cannot be woken, once that returns). Shutting down twice
// returns net.ErrClosed.
func (p *Pool) Shutdown(ctx context.Context) error {
	p.mu.Lock()
	if p.closed.Swap(true) {
		p.mu.Unlock()
		return net.ErrClosed
	}
	close(p.closing)
	p.mu.Unlock()
	p.write.stop()
	p.freed.Notify()
	err := p.settle(ctx)
	p.mu.Lock()
	p.ended = true
	var closers sync.WaitGroup
	for _, m := range p.members {
		closers.Go(func() { m.p.Close() }) // side by side: each may take a while
	}
	p.mu.Unlock()
	closers.Wait()
	p.watched.Wait()
	close(p.stopped)
	p.mu.Lock()
	defer p.mu.Unlock()
	p.shut = true
	p.giveBack()
	return err
}

// settle waits until the calls of Serve have returned and all is delivered, or until ctx ends.
func (p *Pool) settle(ctx context.Context) error {
	served := make(chan struct{})
	go func() {
		p.serving.Wait()
		close(served)
	}()
	select {
	case <-served:
	case <-ctx.Done():
		select { // if it is not stuck it hands over at once what it has accepted
		case <-served:
		case <-time.After(serveCheck):
		}
		return ctx.Err()
	}
	p.mu.Lock()
	p.whole = true
	for _, m := range p.members {
		p.touch(m) // Push may have queued something
	}
	p.flushUnlock()
	p.poke()
	select {
	case <-p.idle:
	case <-ctx.Done():
		return ctx.Err()
	}
	if wrong := p.wrong.Load(); wrong != nil {
		return wrong
	}
	return nil
}

// giveBack makes what is in the backlog undelivered. The caller holds mu.
func (p *Pool) giveBack() {
	ds := make([]Desc, p.backlog.len())
	for i := range ds {
		ds[i] = p.backlog.at(i).desc()
	}
	p.leftover.add(ds)
	p.backlog.drop(len(ds))
	p.waiting.Store(0)
}

// delivered reports whether nothing is waiting or on its way. The caller holds mu.
func (p *Pool) delivered() bool {
	for _, m := range p.members {
		if !m.p.out.drained() {
			return false
		}
	}
	return p.backlog.len() == 0 || p.wrong.Load() != nil
}

// Undelivered returns, after Shutdown, the descriptors that no worker has, in order; they are the caller's now, and the
// pool never closes them. Each is returned once; before Shutdown the result is nil. Tag, Payload (a copy) and Keep are
// as they were given to the pool; Shared is also true for what was taken back from a worker that may still have a copy
// in its socket's queue. It does not block.
//
// What was sent past the pool over a link of its own, and came back from there with a payload longer than
// PoolConfig.MaxPayload, no other worker can take: that is returned at any time.
func (p *Pool) Undelivered() []Desc { return p.leftover.handOut() }

// Workers returns what is known of each worker, in the order in which they joined, also of those that have no room or
// are still starting. Open is 0 for a worker that does not tell.
func (p *Pool) Workers() []Worker {
	p.mu.Lock()
	defer p.mu.Unlock()
	all := make([]Worker, len(p.members))
	for i, m := range p.members {
		o := &m.p.out
		all[i] = m.worker(o.pending())
		all[i].InFlight = max(0, all[i].InFlight-o.unread())
		all[i].Open, _ = o.page.Open()
	}
	return all
}

// Stats returns the pool's counts so far.
func (p *Pool) Stats() PoolStats {
	p.mu.Lock()
	defer p.mu.Unlock()
	ready, refused := 0, p.refused
	for _, m := range p.members {
		if m.p.out.established.Load() {
			ready++
		}
		refused += m.p.out.refusals.total.Load()
	}
	return PoolStats{
		Workers: len(p.members), Ready: ready, Waiting: p.backlog.len(), Placed: p.placed, Redelivered: p.back, Refused: refused,
		Accepted: p.accepted.Load(), Pauses: p.pauses.Load(),
	}
}
