//go:build linux && sim

package fastpass

import (
	"context"
	"strings"
	"time"
)

// run is the whole run; it returns what the oracle did not like, with the trace, or "".
func (s *sim) run() string {
	s.begin()
	s.after()
	for i := 0; i < s.opt.steps && s.bad == ""; i++ {
		s.step()
		s.after()
	}
	if s.bad == "" {
		s.heal()
	}
	if s.bad == "" {
		s.finish()
	}
	s.cleanUp()
	if s.bad == "" {
		return ""
	}
	return s.bad + "\ntrace:\n  " + strings.Join(s.steps, "\n  ")
}

// after ends a step: everything that it has started comes to rest, time moves on a little, so that no two timers ever
// end at the same moment, and the oracle looks.
func (s *sim) after() {
	s.settle()
	time.Sleep(time.Duration(1 + s.rng.IntN(100_000)))
	s.settle()
	s.collect()
	s.check()
}

// step is one random step.
func (s *sim) step() {
	es := s.ends()
	if len(es) == 0 || len(s.alive()) == 0 {
		s.addWorker()
		return
	}
	e := es[s.rng.IntN(len(es))]
	switch x := s.rng.IntN(100); {
	case x < 18:
		s.stepSend(e)
	case x < 22:
		if e.p.cfg.sends() {
			s.note("%s flush", e.name)
			e.p.Flush()
		}
	case x < 42:
		if e.pumping && (e.canPump() || s.rng.IntN(8) == 0) {
			s.pump(e)
		}
	case x < 62:
		if !e.over && !e.closed && e.p.cfg.receives() {
			s.recv(e, 1+s.rng.IntN(20))
		}
	case x < 68:
		s.closeSome(e.proc, 1+s.rng.IntN(20))
	case x < 76:
		if e.conn.Waiting() {
			s.note("%s wakes", e.name)
			e.conn.Wake()
		}
	case x < 80:
		if s.turn() {
			s.note("pool turn")
		}
	case x < 84:
		d := time.Duration(s.rng.IntN(30_000_000))
		s.note("sleep %v", d)
		time.Sleep(d)
	case x < 89:
		s.stepTable(e.proc)
	default:
		s.stepTrouble(e)
	}
}

func (s *sim) stepSend(e *simEnd) {
	switch {
	case e.proc != s.front && e.peer.p.cfg.receives() && e.p.out.refusal() == nil:
		s.send(e, 1+s.rng.IntN(8))
	case s.front.Dead() || s.front.Stopped():
	case s.pool != nil:
		s.dispatch(1 + s.rng.IntN(12))
	case e.proc == s.front && e.p.out.refusal() == nil:
		s.send(e, 1+s.rng.IntN(12))
	}
}

// stepTable fills or empties a table, or moves its limit.
func (s *sim) stepTable(p *simProc) {
	open := 0
	for _, f := range p.Table() {
		if f != nil {
			open++
		}
	}
	switch s.rng.IntN(4) {
	case 0:
		n := s.rng.IntN(20)
		s.note("%s opens %d", p.name, n)
		for range n {
			if fd, _, errno := p.Open(); errno == 0 {
				p.app = append(p.app, fd)
			}
		}
	case 1:
		p.SetLimit(simLimit)
		s.note("%s has limit %d again", p.name, simLimit)
	default:
		n := max(4, open+s.rng.IntN(14)-3)
		s.note("%s with %d open gets limit %d", p.name, open, n)
		p.SetLimit(n)
	}
}

// stepTrouble is a rarer and harder fault.
func (s *sim) stepTrouble(e *simEnd) {
	ws := s.alive()
	w := ws[s.rng.IntN(len(ws))]
	switch s.rng.IntN(10) {
	case 0:
		if s.kills--; s.kills >= 0 {
			s.note("%s is killed", w.name)
			w.Kill()
		}
	case 1, 2:
		if s.kills--; s.kills >= 0 {
			p := e.proc
			if p == s.front && s.rng.IntN(3) > 0 {
				p = w
			}
			p.fuse, p.after = 1+s.rng.IntN(12), s.rng.IntN(2) == 0
			s.note("%s is to be killed at call %d, after it: %v", p.name, p.fuse, p.after)
		}
	case 3:
		s.note("%s stops", w.name)
		w.Stop()
	case 4, 5:
		s.note("%s goes on", w.name)
		w.Continue()
	case 6:
		if s.opt.Protocol == Framed && !s.front.Dead() {
			s.fence(e)
		}
	case 7:
		if s.rng.IntN(3) == 0 {
			s.closeEnd(e, s.rng.IntN(2) == 0)
		}
	case 8:
		s.addWorker()
	default:
		if w.Stopped() {
			w.Continue()
		}
	}
}

// fence takes back what a worker has not acknowledged, as the pool does.
func (s *sim) fence(e *simEnd) {
	if s.pool != nil {
		s.note("check stalled")
		s.pool.checkStalled()
		return
	}
	s.note("%s stalled", e.link.a.name)
	e.link.a.p.fail(ErrStalled)
}

// Everything that can go on by itself.

// goOn does one thing that would happen without anybody's doing, and reports whether there was one.
func (s *sim) goOn() bool {
	es := s.ends()
	if s.turn() {
		return true
	}
	off := s.rng.IntN(len(es) + 1)
	for i := range es {
		e := es[(i+off)%len(es)]
		switch {
		case e.conn.Waiting():
			s.note("%s wakes", e.name)
			e.conn.Wake()
		case e.canPump():
			s.pump(e)
		case e.canRecv():
			s.recv(e, 1+s.rng.IntN(20))
		case !e.closed && (e.over || !e.p.cfg.receives() && e.ended()):
			s.closeEnd(e, false) // the application has seen the end
		case e.proc == s.front && len(s.back) > 0 && e.p.out.refusal() == nil && e.p.out.window.Len() < e.p.out.window.Cap():
			s.send(e, 4)
		case len(e.proc.app) > 0:
			s.closeSome(e.proc, len(e.proc.app))
		default:
			continue
		}
		return true
	}
	return false
}

// settleDown lets everything go on until done reports true, or nothing more happens for a long while.
func (s *sim) settleDown(what string, done func() bool) {
	quiet := 0
	for i := 0; s.bad == "" && !done(); i++ {
		if s.goOn() {
			quiet = 0
		} else {
			time.Sleep(70 * time.Millisecond)
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
	for _, p := range append([]*simProc{s.front}, s.workers...) {
		p.fuse = 0
		p.SetLimit(simLimit)
		p.Continue()
		if !p.Dead() {
			s.closeSome(p, len(p.app))
		}
	}
	s.after()
	if s.front.Dead() {
		return
	}
	for _, l := range s.links {
		if !l.a.proc.Dead() && l.a.p.out.refusal() == nil {
			l.a.p.Flush() // what was only pushed
		}
		if !l.b.proc.Dead() && l.b.p.out.refusal() == nil {
			l.b.p.Flush()
		}
	}
	s.addWorker()
	s.settleDown("delivery", s.delivered)
}

// delivered reports whether nothing is on its way.
func (s *sim) delivered() bool {
	if len(s.back) > 0 || s.pool != nil && s.pool.backlog.len() > 0 {
		return false
	}
	for _, e := range s.ends() {
		if e.ended() {
			continue
		}
		if e.p.out.window.Len() > 0 || s.opt.Protocol == Bare && e.canRecv() {
			return false
		}
	}
	return true
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

// finish ends everything in order.
func (s *sim) finish() {
	s.orderly = true
	s.note("the end")
	if s.pool != nil && !s.front.Dead() {
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		s.cancel = cancel
		go func() {
			defer cancel()
			if err := s.pool.Shutdown(ctx); err != nil {
				s.violation("Shutdown of the pool: %v", err)
			}
		}()
	}
	if s.pool == nil && !s.front.Dead() {
		for _, l := range s.links {
			s.closeEnd(l.a, true)
		}
	}
	s.settle()
	s.settleDown("the end", func() bool {
		for _, e := range s.ends() {
			e.closed = e.closed || e.p.closed.Load() // by the pool
			if !e.closed || !e.ended() || e.conn.Open() {
				return false
			}
		}
		return true
	})
	if s.bad == "" {
		s.checkEnd()
	}
}

// cleanUp lets all goroutines of the run end.
func (s *sim) cleanUp() {
	s.k.Fault = nil
	if s.cancel != nil {
		s.cancel()
	}
	for _, p := range append([]*simProc{s.front}, s.workers...) {
		p.Kill()
	}
	s.settle()
	for _, l := range s.links {
		for _, e := range []*simEnd{l.a, l.b} {
			e.conn.Close()
			go e.p.Close()
			s.settle()
			for i := 0; e.pumping && i < 10; i++ {
				e.pumping = e.p.in.pumpSome()
			}
			s.settle()
		}
	}
	s.leave()
	time.Sleep(time.Minute) // for who waits until then
	s.settle()
}
