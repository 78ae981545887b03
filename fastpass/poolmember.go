//go:build unix

package fastpass

import (
	"errors"
	"fmt"
	"net"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

// member is a worker in a pool.
type member struct {
	p       *Passer
	pool    *Pool
	id      uint64
	passed  uint64
	touched bool // it is in Pool.touched
	// For the stall check: the signs that were there when it last gave a new one, how many checks ago that was, what
	// outbox.releases was in the last one, and whether the flusher has been in the same release ever since: then
	// nothing more is placed with it. A release that began before it joined is not counted: busy is whether somebody has
	// had the flusher's role ever since.
	signs    signs
	still    int
	releases uint64
	held     bool
	busy     bool

	starting atomic.Bool // start may run
	startMu  sync.Mutex
	start    *time.Timer // runs lateStart
	overdue  bool        // lateStart has run once
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
	if p.reached(poolClosing) {
		p.mu.Unlock()
		return nil, net.ErrClosed
	}
	m := &member{p: w, pool: p, id: p.joined + 1}
	nudge := m.nudge
	if !w.out.onFreed.CompareAndSwap(nil, &nudge) {
		p.mu.Unlock()
		return nil, errInPool
	}
	m.busy = w.out.work.Load() > 0 // behind that: what begins now is counted
	p.joined++
	p.members = append(p.members, m)
	p.watched.Add(1)
	p.mu.Unlock()
	w.out.polls.pool.Store(p.ackPoller)
	if w.peerSendOnly.Load() { // since then; or else the flusher sees that it is in a pool
		w.fail(errPeerSendOnly)
	}
	m.awaitHello()
	w.out.flushLightly() // Push may have left no room: see there
	p.poke()
	return m, nil
}

var errInPool = errors.New("fastpass: the link is a worker of a pool already")

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

const startGrace = 250 * time.Millisecond

// lateStart ends the link of a worker that has not said HELLO. If this process has been stopped meanwhile, it may not
// have had the time to read it: so that is looked at twice.
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

// startError says that a worker has not said HELLO in time.
type startError struct{ after time.Duration }

func (e *startError) Error() string {
	return fmt.Sprintf("fastpass: the worker has not said HELLO for %v (PoolConfig.StartTimeout): does it call Inherit or Dial, with Protocol Framed?", e.after)
}

func (e *startError) Unwrap() error { return ErrStalled }

// nudge is called when the worker has room again, or for the first time.
func (m *member) nudge() {
	if m.starting.Load() && m.p.out.established.Load() {
		m.stopStart()
	}
	if p := m.pool; p.waiting.Load() > 0 || p.reached(poolClosing) {
		p.poke()
	}
}

// worker is what a Policy may know of m, n of whose descriptors are in the window, but for how many connections are
// open.
func (m *member) worker(n int) Worker {
	return Worker{ID: m.id, Ready: m.p.out.established.Load(), InFlight: n, Passed: m.passed, Passer: m.p, member: m}
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
	p.back += uint64(len(ds))
	p.refused += m.p.out.refusals.total.Load()
	p.backlog.prepend(ds)
	if p.drain(); p.reached(poolShut) { // Shutdown has not waited for this one
		p.giveBack()
	}
	p.flushUnlock()
	p.poke()
	p.watched.Done()
	if p.cfg.OnLeave != nil {
		p.cfg.OnLeave(m.p, err, len(ds))
	}
}
