//go:build unix

package fastpass

import (
	"context"
	"net"
	"sync"
	"time"
)

// The stages of a pool, which follow one another; some are left out if the context ends.
const (
	poolOpen     int32 = iota
	poolClosing        // Shutdown was called: only calls of Serve hand over what they have accepted
	poolSettling       // they have: what is not delivered is in the backlog or with a worker
	poolIdle           // everything is delivered
	poolEnded          // nothing is placed any more
	poolShut           // nor waits: it is leftover
)

// reached reports whether p is at a stage, or past it.
func (p *Pool) reached(stage int32) bool { return p.stage.Load() >= stage }

// enter moves on to a stage. The caller holds mu.
func (p *Pool) enter(stage int32) { p.stage.Store(stage) }

// Shutdown ends the pool: Serve and Dispatch return net.ErrClosed, what is on its way is delivered, with what Serve has
// accepted, and the workers' links are shut down. It blocks until then, or until ctx ends. No worker can join any more:
// if none is left and descriptors wait, only ctx ends it.
//
// Errors: that of ctx, or that the Policy has failed; the links are closed all the same, and Undelivered returns what
// was not delivered (and what a Serve has accepted that cannot be woken, once that returns, and what is on its way to a
// worker that has made the front's copy of a connection linger, once that is closed). Shutting down twice returns
// net.ErrClosed.
func (p *Pool) Shutdown(ctx context.Context) error {
	p.mu.Lock()
	if p.reached(poolClosing) {
		p.mu.Unlock()
		return net.ErrClosed
	}
	p.enter(poolClosing)
	close(p.closing)
	p.mu.Unlock()
	p.write.end()
	p.freed.Notify()
	err := p.settle(ctx)
	p.mu.Lock()
	p.enter(poolEnded)
	var closers sync.WaitGroup
	for _, m := range p.members {
		closers.Go(func() { m.p.Close() }) // side by side: each may take a while
	}
	p.mu.Unlock()
	ended := make(chan struct{})
	go func() {
		closers.Wait()
		p.watched.Wait()
		close(ended)
	}()
	select {
	case <-ended:
	case <-ctx.Done():
		select {
		case <-ended:
		case <-time.After(closeTime): // a copy of what a worker has taken, and made to linger, is still being closed
		}
	}
	close(p.stopped)
	p.mu.Lock()
	defer p.mu.Unlock()
	p.enter(poolShut)
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
	p.enter(poolSettling)
	p.mu.Unlock()
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

// drainAndTell places what can be placed, and tells Shutdown when everything is delivered.
func (p *Pool) drainAndTell() {
	p.mu.Lock()
	p.drain()
	if p.stage.Load() == poolSettling {
		if p.delivered() {
			p.enter(poolIdle)
			close(p.idle)
		} else {
			for _, m := range p.members {
				m.p.out.awaited.Store(true)
				p.touch(m) // Push may have queued something
			}
		}
	}
	p.flushUnlock()
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

// adopt takes what Serve had accepted when the pool was closed: it is nobody else's. The backlog may get longer than it
// should.
func (p *Pool) adopt(ds []Desc) {
	p.mu.Lock()
	for i := range ds {
		p.backlog.push(&ds[i])
	}
	if p.drain(); p.reached(poolShut) {
		p.giveBack()
	}
	p.flushUnlock()
	p.poke() // a worker that got room before drain has counted them has told nudge, which saw nothing waiting
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

// Undelivered returns, after Shutdown, the descriptors that no worker has: those of each worker in order, in front of
// what was waiting for one. They are the caller's now, and the pool never closes them. Each is returned once; before
// Shutdown the result is nil. Tag, Payload (a copy) and Keep are as they were given to the pool; Shared is also true
// for what was taken back from a worker that may still have a copy in its socket's queue. It does not block.
//
// What was sent past the pool over a link of its own, and came back from there with a payload longer than
// PoolConfig.MaxPayload, no other worker can take: that is returned at any time.
func (p *Pool) Undelivered() []Desc { return p.leftover.handOut() }
