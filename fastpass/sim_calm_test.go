//go:build linux

package fastpass

import (
	"context"
	"fmt"
	"time"
)

// goOn does one thing that would happen without anybody's doing, and reports whether there was one.
func (s *sim) goOn() bool {
	if s.turn() {
		return true
	}
	es := s.ends()
	off := s.rng.IntN(len(es) + 1)
	for i := range es {
		if s.endGoesOn(es[(i+off)%len(es)]) {
			return true
		}
	}
	return false
}

func (s *sim) endGoesOn(e *simEnd) bool {
	switch {
	case e.conn.Waiting():
		s.wake(e)
	case e.parked && e.conn.Ready():
		s.recv(e, 1+s.rng.IntN(20))
	case e.canPump():
		s.pump(e)
	case e.canRecv():
		s.recv(e, 1+s.rng.IntN(20))
	case !e.closed && (e.over || !e.p.cfg.receives() && e.ended()):
		s.closeEnd(e) // the application has seen the end
	case e.leaveReady():
		s.closeEnd(e)
	case s.mayResend(e):
		s.send(e, 4)
	case len(e.proc.app) > 0:
		s.closeSome(e.proc, len(e.proc.app))
	default:
		return false
	}
	return true
}

// mayResend reports whether e takes what has come back from other links.
func (s *sim) mayResend(e *simEnd) bool {
	o := &e.p.out
	return e.proc == s.front && e.peer != nil && len(s.back) > 0 && o.closedError() == nil && o.window.Len() < o.window.Cap()
}

// settleDown lets everything go on until done reports true, or nothing more happens for a long while.
func (s *sim) settleDown(what string, done func() bool) {
	quiet := 0
	for i := 0; s.bad == "" && !done(); i++ {
		if s.goOn() {
			quiet = 0
		} else {
			s.sleep(70 * time.Millisecond)
			quiet++
		}
		s.after()
		if s.bad == "" && !done() && (quiet > 30 || i > 20000) {
			s.violation("%s: nothing more happens, %s", what, s.unsettled())
		}
	}
}

// heal ends the faults, and waits until everything has arrived.
func (s *sim) heal() {
	s.note("all faults end")
	s.calm = true
	s.settleDown("taking back", s.takenBack)
	for _, p := range s.processes() {
		p.SetLimit(simLimit)
		p.Continue()
		if !p.Dead() {
			s.closeSome(p, len(p.app))
		}
	}
	s.after()
	if s.front.Dead() {
		if s.odd != nil {
			s.odd.proc.Kill()
		}
		return
	}
	for _, e := range s.ends() {
		if e.p.out.closedError() == nil {
			e.p.Flush() // what was only pushed
		}
	}
	if s.odd != nil {
		s.odd.goAway()
	}
	s.addWorker()
	s.settleDown("delivery", s.delivered)
}

// takenBack reports whether no link is about to end at the front: a worker that is stopped cannot keep it from that.
func (s *sim) takenBack() bool {
	for _, l := range s.links {
		if s.Protocol == Framed && l.a.runs() && l.a.p.ending.Load() != nil && !l.a.ended() {
			return false
		}
	}
	return true
}

// delivered reports whether nothing is on its way.
func (s *sim) delivered() bool {
	if len(s.back) > 0 || s.pool != nil && s.pool.backlog.len() > 0 {
		return false
	}
	for _, e := range s.ends() {
		if !e.ended() && (e.p.out.window.Len() > 0 || e.peer == nil) || e.missing() > 0 {
			return false
		}
	}
	return true
}

// missing is how many descriptors that e has sent its peer's application has not got, though both ends live: with Bare,
// too, nothing may be lost then.
func (e *simEnd) missing() int {
	r := e.peer
	if r == nil || !r.runs() || e.closed || r.closed || r.over || e.ended() || r.ended() {
		return 0
	}
	return len(e.acked) - len(r.got)
}

// finish ends everything in order.
func (s *sim) finish() {
	s.orderly = true
	s.note("the end")
	if s.front.Dead() {
		// The workers see the end of their links.
	} else if s.pool != nil {
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		s.cancel = cancel
		s.down = make(chan error, 1)
		s.k.Strict = true // Shutdown closes one link after the other as the driver ends them
		go func() {
			defer cancel()
			s.down <- s.pool.Shutdown(ctx)
		}()
	} else {
		for _, l := range s.links {
			s.shutDown(l.a)
		}
	}
	s.settle()
	s.settleDown("the end", s.allClosed)
	if s.bad == "" {
		s.checkEnd()
	}
}

// allClosed reports whether all links have ended in order.
func (s *sim) allClosed() bool {
	select {
	case err := <-s.down:
		if err != nil {
			s.violation("Shutdown of the pool: %v", err)
		}
	default:
	}
	for _, e := range s.ends() {
		e.closed = e.closed || e.p.closed.Load() // by the pool
		if !e.closed || !e.ended() || e.conn.Open() {
			return false
		}
	}
	return true
}

// unsettled describes what has not arrived.
func (s *sim) unsettled() string {
	text := fmt.Sprintf("front has %d", len(s.back))
	if s.pool != nil {
		text = fmt.Sprintf("the pool has %d", s.pool.backlog.len())
	}
	for _, e := range s.ends() {
		o, in := &e.p.out, &e.p.in
		if done := e.ended() && e.closed && !e.conn.Open(); done || !s.orderly && o.window.Len()+in.queue.len()+e.missing() == 0 {
			continue
		}
		text += fmt.Sprintf("; %s: %d missing, window %d (in flight %d, allowance %d, blocked %v, over %v), queue %d, credit %d, lost %v; socket open %v, %v",
			e.name, e.missing(), o.window.Len(), o.flow.InFlight(), o.flow.Allowance(), o.blocked.Load(), e.p.acksOver.Load(), in.queue.len(),
			in.flow.Credit(), in.flow.Lost(), e.conn.Open(), e.conn)
	}
	return text
}
