//go:build unix

package fastpass

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

// inLongRelease reports whether the flusher still is in the release in which the last two checks have seen it.
func (m *member) inLongRelease() bool { return m.held && m.p.out.releases.Load() == m.releases }

// checkStalled ends the links of workers that have acknowledged nothing for too long. What they had is redelivered when
// their links have ended. That is for more than so many checks: by the clock every worker would seem to have stalled
// after a time in which this process itself stood still.
func (p *Pool) checkStalled() {
	p.mu.Lock()
	defer p.flushUnlock()
	for _, m := range p.members {
		o := &m.p.out
		releases := o.releases.Load()
		m.busy = m.busy && o.work.Load() > 0
		held := m.busy || releases%2 == 1 && releases == m.releases
		if m.held && !held {
			p.poke() // one that was not counted has told the pool nothing
		}
		m.held, m.releases = held, releases
		if signs := o.signs(); signs != m.signs || o.drained() || !o.established.Load() { // the last: StartTimeout is for that
			m.signs, m.still = signs, 0
			continue
		}
		p.touch(m) // acknowledgements that nobody has looked at, or what Push has queued
		if m.held {
			continue // what it has acknowledged cannot be seen
		}
		if m.still++; m.still > checksPerStall {
			m.p.fail(ErrStalled)
		}
	}
}
