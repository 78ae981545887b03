//go:build unix

package fastpass

// sendDirectly hands the first of ds straight to the socket, past the window, as many as make a system call, and
// returns how many it took. It does so on a Bare link, where what the kernel has taken is delivered, so that nothing
// has to be kept of it, and while nothing is queued and there is no flusher, so that the order is kept. If it takes
// none they go through the window, like all of a Framed link, unless the link has ended meanwhile: then the caller gets
// the error at once, and keeps them.
func (o *outbox) sendDirectly(ds []Desc) (n int) {
	if o.p.framed() || !o.work.CompareAndSwap(0, 1) {
		return 0
	}
	if !o.ended && o.p.ending.Load() == nil && !o.blocked.Load() && o.window.Len() == 0 {
		n = o.sendPlain(ds)
	}
	o.leave()
	return n
}

// sendPlain is the part of sendDirectly that the flusher does. It takes only descriptors without payloads.
func (o *outbox) sendPlain(ds []Desc) (n int) {
	ds = o.firstCall(ds, callSize(!ds[0].Keep))
	closes, plain := scan(ds)
	if !plain {
		return 0
	}
	if closes {
		ds = o.firstCall(ds, callSize(true))
	}
	v, messages := o.p.vectors.get(), 0
	for rest := ds; len(rest) > 0; messages++ {
		i, k := messages, min(len(rest), o.batch)
		rights := v.control[i].Rights(k)
		for j := range rights {
			rights[j] = int32(rest[j].FD)
		}
		rest = rest[k:]
		v.data[i][0] = 0
		v.carry(i, 1, k)
	}
	took, errno := o.transmit(v, messages)
	n = o.count(v, took)
	v.put()
	if closes || o.p.cfg.OnSent != nil {
		o.releaseDirectly(ds[:n], closes)
	}
	if !blamesOne(errno) { // or else it is found in the window which one it is
		o.mayGoOn(errno)
	}
	return n
}

// firstCall is as much of ds as one system call takes, but no more than most; not all of it ends with a full message.
func (o *outbox) firstCall(ds []Desc, most int) []Desc {
	if most = min(most, o.p.cfg.Messages*o.batch); len(ds) <= most {
		return ds
	}
	return ds[:max(most-most%o.batch, min(most, o.batch))]
}

// scan reports whether any of ds is to be closed here, and whether all are plain: without a payload, and with a number
// that can be a descriptor's.
func scan(ds []Desc) (closes, plain bool) {
	numbers, bytes := 0, 0 // bits that any of them has
	for i := range ds {
		d := &ds[i]
		numbers |= d.FD
		bytes |= len(d.Payload)
		if !d.Keep {
			closes = true
		}
	}
	return closes, isNumber(numbers) && bytes == 0
}

// releaseDirectly is release for ds, which were never in the window.
func (o *outbox) releaseDirectly(ds []Desc, closes bool) {
	if o.onFreed.Load() != nil {
		o.releases.Add(1)
		defer o.released()
	}
	if closes {
		o.closeSent(ds)
	}
	if o.p.cfg.OnSent != nil {
		for i := range ds {
			o.p.cfg.OnSent(Desc{FD: ds[i].FD, Tag: ds[i].Tag, Keep: ds[i].Keep})
		}
	}
}

// closeSent closes the copies of ds that are not to be kept.
func (o *outbox) closeSent(ds []Desc) {
	for i := range ds {
		if d := &ds[i]; !d.Keep {
			o.closer.Add(d.FD, d.brief)
		}
	}
	o.closer.Flush()
}
