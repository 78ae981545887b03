//go:build linux

package fastpass

import "fmt"

// checkEnd looks when all links have ended in order: every descriptor has arrived, and no file is open any more.
func (s *sim) checkEnd() {
	if s.pool != nil && !s.front.Dead() {
		for _, d := range s.pool.leftover.ds {
			s.violation("%d comes back from the pool, and workers were there", s.desc(s.front, d).id)
		}
		s.pool.leftover.ds = nil
	}
	for _, d := range s.descs {
		if d != nil && d.taken && s.isLost(d) {
			s.violation("%d is lost%s", d.id, d.whereabouts())
		}
	}
	for _, p := range s.processes() {
		if p.Dead() {
			continue
		}
		for _, d := range s.descs {
			if d != nil && d.keep && d.from == p && d.taken {
				d.keep = false
				p.CloseRange(d.fd, d.fd)
			}
		}
		s.closeSome(p, len(p.app))
	}
	if n := s.k.Files(); n != 0 {
		s.violation("%d files are open after the end, in tables:%s", n, s.openFiles())
	}
	if n := s.k.InFlight(); n != 0 {
		s.violation("%d descriptors are in flight after the end", n)
	}
}

// isLost reports whether d should be somewhere, and is not.
func (s *sim) isLost(d *simDesc) bool {
	switch {
	case d.got != nil || d.back || d.from != s.front || s.front.Dead():
		return false // a worker's: it has ended with what it had
	case d.via != nil && d.via.peer == nil:
		return false // a stranger has it
	case d.via == nil:
		return true
	}
	r := d.via.peer
	if s.Protocol == Bare {
		return !r.proc.Dead() && !r.cut && !s.broken // else gone with the receiver's queue
	}
	return r.gaveUp == 0 && !(r.proc.Dead() && r.p.in.pledged > 0) // else acknowledged, and not fetched
}

func (d *simDesc) whereabouts() string {
	if d.via == nil {
		return ""
	}
	return fmt.Sprintf(": %s has sent it to %s (dead %v)", d.via.name, d.via.peer.name, d.via.peer.proc.Dead())
}

func (s *sim) openFiles() (left string) {
	for _, p := range s.processes() {
		for fd, f := range p.Table() {
			if f != nil {
				left += fmt.Sprintf(" %s:%d (file %d)", p.name, fd, f.ID)
			}
		}
	}
	return left
}
