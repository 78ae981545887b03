//go:build linux

package fastpass

import "time"

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
		if e.canPump() || e.pumping && !e.p.in.role.callers.Load() && s.rng.IntN(8) == 0 {
			s.pump(e)
		}
	case x < 62:
		if e.parked || !e.over && !e.closed && e.p.cfg.receives() {
			s.recv(e, 1+s.rng.IntN(20))
		}
	case x < 67:
		s.closeSome(e.proc, 1+s.rng.IntN(20))
	case x < 74:
		if e.conn.Waiting() {
			s.wake(e)
		}
	case x < 78:
		s.turn()
	case x < 82:
		d := time.Duration(s.rng.IntN(30_000_000))
		s.note("sleep %v", d)
		s.sleep(d)
	case x < 87:
		s.stepTable(e.proc)
	case x < 92:
		if s.odd != nil {
			s.odd.act()
		}
	default:
		s.stepTrouble(e)
	}
}

func (s *sim) stepSend(e *simEnd) {
	front := !s.front.Dead() && !s.front.Stopped()
	switch {
	case e.peer == nil || e.proc != s.front:
		if e.p.out.closedError() == nil && (e.peer == nil || e.peer.p.cfg.receives()) {
			s.send(e, 1+s.rng.IntN(8))
		}
	case s.pool != nil && front:
		s.dispatch(1 + s.rng.IntN(12))
	case s.pool == nil && e.p.out.closedError() == nil:
		s.send(e, 1+s.rng.IntN(12))
	}
}

// stepTable fills a table, or moves its limit.
func (s *sim) stepTable(p *simProc) {
	if s.rng.IntN(4) > 0 {
		s.stepLimit(p)
		s.sleep(certainFor) // so long a Bare end relies on it
		return
	}
	n := s.rng.IntN(20)
	s.note("%s opens %d", p.name, n)
	s.openSome(p, n)
	s.sleep(time.Duration(n) * time.Microsecond) // it takes a while, and a Bare end reckons with that
}

// stepLimit moves the limit of a table, to near what is open or back.
func (s *sim) stepLimit(p *simProc) {
	n := simLimit
	if s.rng.IntN(3) > 0 {
		open := 0
		for _, f := range p.Table() {
			if f != nil {
				open++
			}
		}
		n = max(4, open+s.rng.IntN(14)-3)
	}
	s.note("%s gets limit %d", p.name, n)
	p.SetLimit(n)
}

// stepTrouble is a rarer and harder fault.
func (s *sim) stepTrouble(e *simEnd) {
	ws := s.alive()
	w := ws[s.rng.IntN(len(ws))]
	switch s.rng.IntN(11) {
	case 0:
		if s.kills--; s.kills >= 0 {
			s.note("%s is killed", w.name)
			w.Kill()
			s.counts.deaths++
		}
	case 1, 2:
		if s.kills--; s.kills >= 0 {
			s.light(w)
		}
	case 3:
		s.note("%s stops", w.name)
		w.Stop()
	case 4, 5:
		s.note("%s goes on", w.name)
		w.Continue()
	case 6:
		s.fence(e)
	case 7:
		if s.rng.IntN(3) == 0 {
			e.cut = true
			s.closeEnd(e)
		}
	case 8:
		if s.rng.IntN(3) == 0 {
			e.cut = true
			s.shutDown(e)
		}
	case 9:
		s.addWorker()
	default:
		if e.leaveReady() {
			s.closeEnd(e)
		}
	}
}

// light lights the fuse of w, or of the front.
func (s *sim) light(w *simProc) {
	if s.rng.IntN(4) == 0 {
		w = s.front
	}
	s.fuse = fuse{victim: w, calls: 1 + s.rng.IntN(20), after: s.rng.IntN(2) == 0}
	s.note("%s is to be killed in %d calls, after it: %v", w.name, s.fuse.calls, s.fuse.after)
}

// fence takes back what a worker has not acknowledged, as the pool does.
func (s *sim) fence(e *simEnd) {
	switch {
	case s.Protocol == Bare || e.peer == nil || s.front.Dead():
	case s.pool != nil:
		s.note("check stalled")
		s.pool.checkStalled()
	default:
		s.note("%s stalled", e.link.a.name)
		e.link.a.p.fail(ErrStalled)
	}
}
