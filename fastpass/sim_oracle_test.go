//go:build linux

package fastpass

import "example.com/fdpass/internal/simkernel"

// check is the oracle. It looks between two steps, when everything is at rest.
func (s *sim) check() {
	for _, c := range s.k.Complaints() {
		s.violation("%s", c)
	}
	for _, p := range s.processes() {
		if s.odd == nil || p != s.odd.proc {
			s.checkTable(p)
		}
	}
	for _, e := range s.all() {
		if !e.proc.Dead() {
			s.checkMemory(e)
			s.checkOrder(e)
			if err := e.p.Err(); err != nil && !e.mayEnd(err) {
				s.violation("%s fails: %v", e.name, err)
			}
		}
	}
	if s.odd != nil && s.Protocol == Bare {
		s.odd.checkOrder()
	}
	if s.pool != nil && s.pool.backlog.len() > s.pool.cfg.Backlog+len(s.links)*s.Window {
		s.violation("the pool's backlog has grown to %d", s.pool.backlog.len())
	}
}

// table is the owners of the descriptors of a process.
type table struct {
	s      *sim
	p      *simProc
	files  []*simkernel.File
	owners []string
}

// own notes that what owns fd, and that it refers to the file with number id; -1: whichever.
func (t *table) own(fd, id int, what string) {
	switch {
	case isBad(fd):
	case fd >= len(t.files) || t.files[fd] == nil:
		t.s.violation("%s: %s has descriptor %d, which is not open", t.p.name, what, fd)
	case t.owners[fd] != "":
		t.s.violation("%s: descriptor %d belongs to %s and to %s", t.p.name, fd, t.owners[fd], what)
	case id >= 0 && t.files[fd].ID != id && (id != 0 || !t.s.untagged):
		t.s.violation("%s: descriptor %d of %s is file %d, not %d", t.p.name, fd, what, t.files[fd].ID, id)
	default:
		t.owners[fd] = what
	}
}

// checkTable holds the table of p against what its application and the library in it have: each descriptor has
// exactly one owner.
func (s *sim) checkTable(p *simProc) {
	if p.Dead() {
		return
	}
	files := p.Table()
	t := &table{s: s, p: p, files: files, owners: make([]string, len(files))}
	for _, fd := range p.app {
		t.own(fd, -1, "the application")
	}
	for _, d := range s.descs {
		if d != nil && d.keep && d.from == p && d.taken {
			t.own(d.fd, d.id, "the application, which has kept it")
		}
	}
	for _, e := range p.ends {
		e.synchronize()
		t.ownedBy(e)
	}
	if p == s.front {
		t.descs(s.back, "the front")
		if s.pool != nil {
			for i := range s.pool.backlog.len() {
				t.entry(s.pool.backlog.at(i), "the pool")
			}
			t.descs(s.pool.leftover.ds, "the pool")
		}
	}
	for fd, f := range files {
		if f != nil && t.owners[fd] == "" {
			s.violation("%s: descriptor %d (file %d) has leaked", p.name, fd, f.ID)
		}
	}
}

// synchronize orders what the link's goroutines have done before what the oracle reads. All of them wait, or have
// ended.
func (e *simEnd) synchronize() {
	e.p.out.work.Load()
	if !e.parked { // else the driver holds it
		e.p.in.mu.Lock()
		defer e.p.in.mu.Unlock()
	}
	e.p.leftover.mu.Lock()
	defer e.p.leftover.mu.Unlock()
}

func (t *table) descs(ds []Desc, what string) {
	for _, d := range ds {
		if !d.Keep {
			t.own(d.FD, int(d.Tag), what)
		}
	}
}

func (t *table) entry(e *entry, what string) {
	if !e.keep { // one that was refused is the caller's when OnRefused says so
		t.own(int(e.fd), int(e.tag), what)
	}
}

// ownedBy notes what an end owns.
func (t *table) ownedBy(e *simEnd) {
	if e.conn.Open() {
		t.own(e.conn.FD(), -1, e.name)
	}
	o, in := &e.p.out, &e.p.in
	if !o.ended {
		for pos, tail := o.window.Head(), o.window.Tail(); pos != tail; pos++ {
			t.entry(&o.window.Slots(pos, 1)[0], e.name+"'s window")
		}
	}
	t.descs(e.p.leftover.ds, e.name+"'s Undelivered")
	for i := range in.queue.len() {
		if fd := in.queue.at(i).fd; fd >= 0 {
			t.own(int(fd), -1, e.name+"'s queue")
		}
	}
	for _, fd := range in.partial.fds {
		t.own(int(fd), -1, e.name+"'s partial frame")
	}
}

// checkMemory holds what an end keeps against its bounds.
func (s *sim) checkMemory(e *simEnd) {
	in, frame := &e.p.in, e.p.cfg.maxBody()+24
	if n := in.queue.len(); n > maxCredit {
		s.violation("%s has %d descriptors queued", e.name, n)
	}
	if n := len(e.p.tail.rest); n > frame {
		s.violation("%s keeps a tail of %d bytes", e.name, n)
	}
	if n, k := len(in.partial.buf), len(in.partial.fds); n > frame || k > 2*253 {
		s.violation("%s keeps a partial frame of %d bytes and %d descriptors", e.name, n, k)
	}
}

// checkOrder holds what the peer's application got against what e has sent, and what e was told of it.
func (s *sim) checkOrder(e *simEnd) {
	r := e.peer
	if r == nil {
		return
	}
	if s.Protocol == Framed && len(e.acked) > len(r.got)+max(r.p.in.pledged, r.gaveUp) {
		s.violation("%d is lost: acknowledged to %s, and not delivered by %s", e.acked[len(r.got)], e.name, r.name)
		return
	}
	for ; r.checked < len(r.got); r.checked++ {
		id := r.got[r.checked]
		want, ok := e.sentAt(r.checked)
		if !ok {
			s.violation("%s got %d, which does not lie in %s's window", r.name, id, e.name)
			return
		}
		if want != id {
			s.violation("out of order: %s got %d where %s sent %d", r.name, id, e.name, want)
			return
		}
	}
	for i := max(0, len(r.got)-e.p.cfg.Window); i < min(len(r.got), len(e.acked)); i++ {
		if r.got[i] != e.acked[i] {
			s.violation("out of order: %s got %d where %s says that %d was sent", r.name, r.got[i], e.name, e.acked[i])
			return
		}
	}
}

// sentAt is the i-th descriptor that e has sent, or is to send.
func (e *simEnd) sentAt(i int) (id int, ok bool) {
	if i < len(e.acked) {
		return e.acked[i], true
	}
	i -= len(e.acked)
	o := &e.p.out
	if o.ended {
		return 0, false
	}
	for pos, tail := o.window.Head(), o.window.Tail(); pos != tail; pos++ {
		w := &o.window.Slots(pos, 1)[0]
		if w.refused != 0 || w.fd >= notOpen {
			continue
		}
		if i == 0 {
			return e.s.desc(e.proc, Desc{FD: int(w.fd), Tag: w.tag}).id, true
		}
		i--
	}
	return 0, false
}
