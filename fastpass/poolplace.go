//go:build unix

package fastpass

import "fmt"

// place pushes the first of ds to workers, until none has room. The caller holds mu.
func (p *Pool) place(ds []Desc) (n int, err error) {
	p.gather()
	piece := p.piece(len(ds))
	for n < len(ds) && len(p.choice) > 0 {
		i := p.cfg.Policy.Pick(&ds[n], p.turns, p.choice)
		if i < 0 || i >= len(p.choice) || p.choice[i].member == nil { // nil: the policy has cleared it
			wrong := &policyError{i, len(p.choice)}
			p.wrong.Store(wrong)
			return n, wrong
		}
		w := &p.choice[i]
		m := w.member
		_, k, _ := m.p.out.push(ds[n:min(len(ds), n+piece-n%piece)])
		if k == 0 {
			p.choice = append(p.choice[:i], p.choice[i+1:]...) // full
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

// policyError says that a Policy picked a worker that there is not. The pool places nothing any more then.
type policyError struct{ picked, of int }

func (e *policyError) Error() string {
	return fmt.Sprintf("fastpass: PoolConfig.Policy picked worker %d of %d", e.picked, e.of)
}

// piece is how many of n descriptors that came at once go to a worker together. More than one only where Pick takes
// turns, and so has the same answer for all of them.
func (p *Pool) piece(n int) int {
	if !p.inTurn {
		return 1
	}
	return max(1, n/max(1, len(p.choice)))
}

// gather lists the workers that have room, without those that are still starting.
func (p *Pool) gather() {
	p.choice = p.choice[:0]
	tell := true
	for _, m := range p.members {
		o := &m.p.out
		n := o.window.Len()
		if o.established.Load() && n < o.window.Cap() && o.closedError() == nil && !m.inLongRelease() {
			w := m.worker(n)
			if !p.inTurn { // RoundRobin does not look, and what the workers write is in their processors' caches
				w.InFlight = max(0, n-o.unread())
				if tell {
					w.Open, tell = o.page.Open()
				}
			}
			p.choice = append(p.choice, w)
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

// drain places what waits in the backlog, oldest first. The caller holds mu.
func (p *Pool) drain() {
	ds := p.scratch[:]
	for p.backlog.len() > 0 && !p.reached(poolEnded) && p.wrong.Load() == nil {
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

// touch has flushUnlock flush m.
func (p *Pool) touch(m *member) {
	if !m.touched {
		m.touched = true
		p.touched = append(p.touched, m)
	}
}

// flushUnlock unlocks mu, and has the workers that were given something send it: some at a time, as there may be any
// number of them, and nothing is to be allocated.
func (p *Pool) flushUnlock() {
	var few [64]*member
	for n := p.popTouched(few[:]); n > 0; n = p.popTouched(few[:]) {
		p.mu.Unlock()
		for _, m := range few[:n] {
			m.p.out.flushLightly()
			m.p.in.readForPool()
		}
		if n < len(few) {
			return
		}
		p.mu.Lock()
	}
	p.mu.Unlock()
}

// popTouched moves some of touched to few, and returns how many. The caller holds mu.
func (p *Pool) popTouched(few []*member) int {
	rest := max(0, len(p.touched)-len(few))
	n := copy(few, p.touched[rest:])
	for _, m := range few[:n] {
		m.touched = false
	}
	clear(p.touched[rest:])
	p.touched = p.touched[:rest]
	return n
}
