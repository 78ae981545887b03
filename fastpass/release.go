//go:build unix

package fastpass

import "runtime"

// release gives up the oldest n of those in flight, which have an owner elsewhere now: their copies are closed, and
// their slots given back. Refused entries that lie among them and directly behind go as well, but are not closed: they
// are the caller's.
func (o *outbox) release(n int) {
	if o.onFreed.Load() != nil {
		o.releases.Add(1)
		defer o.released()
	}
	if o.p.framed() {
		o.stats.acked.Add(uint64(n))
	}
	if o.alike() { // none to be passed over
		to := o.window.Head() + uint64(n)
		if o.closes.Load() {
			o.closeCopies(to)
		}
		o.releaseTo(to, 0)
		return
	}
	bytes := 0
	for pos := o.window.Head(); pos != o.sent; {
		slots := o.window.Slots(pos, int(o.sent-pos))
		for i := range slots {
			e := &slots[i]
			if n == 0 && e.refused == 0 {
				o.releaseTo(pos+uint64(i), bytes)
				return
			}
			if e.refused == 0 {
				n--
				if !e.keep {
					o.closer.Add(int(e.fd), e.brief)
				}
			}
			bytes += e.size()
			windowPayloads.drop(e)
		}
		pos += uint64(len(slots))
	}
	o.releaseTo(o.sent, bytes)
}

// closeCopies closes those of the slots before to that are not to be kept, all of which were delivered.
func (o *outbox) closeCopies(to uint64) {
	for pos := o.window.Head(); pos != to; {
		slots := o.window.Slots(pos, int(to-pos))
		for i := range slots {
			if e := &slots[i]; !e.keep {
				o.closer.Add(int(e.fd), e.brief)
			}
		}
		pos += uint64(len(slots))
	}
}

// releaseTo gives back the slots before to, which had payloads of so many bytes.
func (o *outbox) releaseTo(to uint64, bytes int) {
	from := o.window.Head()
	if from == to {
		return
	}
	o.closer.Flush()
	if bytes > 0 {
		o.bytes.Add(int64(-bytes))
	}
	if o.p.cfg.OnSent != nil || o.p.cfg.OnRefused != nil {
		for pos := from; pos != to; pos++ {
			e := o.window.Slots(pos, 1)[0]
			o.window.Release(pos + 1) // first: the callback may send the next one
			o.callBack(&e)
		}
	} else {
		o.window.Release(to)
	}
	o.notify()
}

// released ends what release or releaseDirectly has begun, and then tells the pool: while it took long, the pool has
// given the worker nothing, whatever room there was.
func (o *outbox) released() {
	o.releases.Add(1)
	(*o.onFreed.Load())()
}

// callBack tells the application what became of e.
func (o *outbox) callBack(e *entry) {
	d := Desc{FD: int(e.fd), Tag: e.tag, Keep: e.keep}
	if e.refused == 0 && o.p.cfg.OnSent != nil {
		o.p.cfg.OnSent(d)
	}
	if e.refused != 0 && o.p.cfg.OnRefused != nil {
		o.p.cfg.OnRefused(d, e.refusal())
	}
}

// shutWindow is the flusher's last act, once nothing more can be acknowledged: it shuts the window for good, and hands
// everything that is in it back.
func (o *outbox) shutWindow() {
	o.ended = true
	if o.retry != nil {
		o.retry.Stop()
	}
	if o.polls.poller != nil {
		o.polls.poller.cancel(o)
	}
	// Whoever claims the last free slot has shut the window: what is never published is never released. What other
	// goroutines have claimed lies below, and they are about to publish it.
	end, _ := o.window.Claim(o.window.Cap())
	for o.end = o.window.Published(o.end); o.end != end; o.end = o.window.Published(o.end) {
		runtime.Gosched()
	}
	var ds []Desc
	for pos := o.window.Head(); pos != end; pos++ {
		e := &o.window.Slots(pos, 1)[0]
		if e.refused == 0 {
			d := e.desc()
			d.Shared = d.Shared || pos < o.sent && !d.Keep && o.p.peerMayLive()
			ds = append(ds, d)
		} else {
			o.callBack(e)
		}
		windowPayloads.drop(e)
	}
	o.p.leftover.add(ds)
	o.rest.Store(int32(len(ds)))
	o.shut.Store(true)
	o.p.endLink()
}
