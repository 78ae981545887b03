//go:build unix

package fastpass

import (
	"net"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"example.com/fdpass/ring"
)

// Pool spreads descriptors over workers, and gives what a worker has not acknowledged when it dies, leaves or stalls to
// the others, in order and before anything newer. All its methods may be called from any number of goroutines.
type Pool struct {
	cfg              PoolConfig
	inTurn           bool        // the policy is RoundRobin
	freed            ring.Event  // places of the backlog: for Dispatch while that is full
	ready            func() bool // dispatchReady, bound once
	write            deadline
	ackPoller        *ackPoller
	waiting          atomic.Int32  // the length of backlog
	wake             chan struct{} // has run look at the backlog
	stage            atomic.Int32  // see poolOpen; it changes under mu
	wrong            atomic.Pointer[policyError]
	accepted, pauses atomic.Uint64  // of Serve
	closing          chan struct{}  // closed at poolClosing
	idle             chan struct{}  // closed at poolIdle
	stopped          chan struct{}  // closed when run is to end
	watched          sync.WaitGroup // the watch goroutines
	serving          sync.WaitGroup // calls of Serve

	mu       sync.Mutex
	backlog  queue // taken, and not placed with a worker; the pool closes nothing of it
	members  []*member
	choice   []Worker  // those that have room
	touched  []*member // those to be flushed
	scratch  [64]Desc  // entries of the backlog on their way out
	joined   uint64    // how many workers ever joined
	placed   uint64    // descriptors given to workers
	turns    uint64    // the number for Policy.Pick: like placed, but a piece that goes to one worker together counts once
	back     uint64    // taken back from workers
	refused  uint64    // by the kernel, of links that have ended
	leftover leftover
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

// identify finds out what Hash goes by, if that is the policy, of those of which it is not known. The caller does not
// hold mu: it may take long.
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
	if p.reached(poolClosing) {
		return net.ErrClosed
	}
	p.write.reset(t, p.freed.Notify)
	return nil
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
	if p.reached(poolClosing) {
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
