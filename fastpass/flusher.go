//go:build unix

package fastpass

import (
	"math"
	"syscall"

	"example.com/fdpass/internal/flow"
)

// flush has everything sent that can be sent now: by the caller, if nobody is at it, or else by the one who is, who
// sees the call counted and looks again before leaving.
func (o *outbox) flush() {
	if o.work.Add(1) == 1 {
		o.finish()
	}
}

// finish is what is left to do for the one who has the flusher's role.
func (o *outbox) finish() {
	o.turn()
	o.leave()
}

// leave gives up the flusher's role. For those who have called flush meanwhile the window is looked at first.
func (o *outbox) leave() {
	for seen := o.work.Add(-1); seen != 0; seen = o.work.Add(-seen) {
		o.turn()
	}
}

// answer is flush for the goroutine that has left something in the mail, if it has.
func (o *outbox) answer() {
	if o.mail.waiting.Load() {
		o.flush()
	}
}

// flushLightly is flush for whoever has to do with other links as well: it does not hold up the caller, and runs no
// callback on its goroutine. As soon as that might happen another goroutine has the role.
func (o *outbox) flushLightly() {
	if o.work.Add(1) != 1 {
		return
	}
	for seen := int64(1); seen != 0; seen = o.work.Add(-seen) {
		if !o.turnLightly() {
			o.p.kernel.Go(o.carryOn)
			return
		}
	}
}

// turnLightly is turn, as far as nothing in it may take long. It reports whether that is all of it.
func (o *outbox) turnLightly() bool {
	if !o.mayHoldUp() {
		o.light = true
		o.turn()
		o.light = false
	}
	return !o.mayHoldUp()
}

// mayHoldUp reports whether turn may take long.
func (o *outbox) mayHoldUp() bool {
	return o.polls.alone.Load() || o.p.cfg.OnSent != nil || o.p.cfg.OnRefused != nil
}

// turn is one round of the flusher.
func (o *outbox) turn() {
	over := o.p.acksOver.Load() && !o.p.byePending.Load() // before the mail: what is over has put its last mail there
	if over && o.page != nil {
		o.page.Fence()
	}
	for again := true; again && !o.ended; again = !over && o.await() {
		o.readMail()
		// Once the link ends nothing is sent: it would be of no use, and might leave no room for BYE.
		for o.p.ending.Load() == nil && !o.blocked.Load() && o.sendSome() {
			o.readMail()
		}
	}
	if over && !o.ended {
		o.shutWindow()
	}
}

// sendSome packs and sends what one system call takes of what is published by now, and reports whether it makes sense
// to go on. Whoever publishes more calls flush.
func (o *outbox) sendSome() bool {
	o.end = o.window.Published(o.end)
	o.passRefused()
	if !o.maySend() || o.light && o.mayHoldUp() { // what may take long has been queued, and counted before
		return false
	}
	v := o.p.vectors.get()
	defer v.put()
	took, errno := o.transmit(v, o.pack(v))
	o.account(v, took)
	if blamesOne(errno) {
		o.refuse(v, errno)
	} else if !o.mayGoOn(errno) {
		return false
	}
	return o.maySend()
}

// maySend reports whether there is something that may be sent now.
func (o *outbox) maySend() bool {
	return o.p.stream && o.p.tail.waiting() || o.sent != o.end && o.flow.Allowance() > 0
}

// transmit hands the packed messages to the socket, and returns how many it took.
func (o *outbox) transmit(v *vector, messages int) (took int, errno syscall.Errno) {
	switch {
	case o.p.stream:
		cut := o.p.tail.waiting()
		took, errno = o.sendStream(v, messages)
		if cut && !o.p.tail.waiting() {
			o.notify() // somebody may wait for that
		}
		return took, errno
	case messages > 0:
		return o.p.kernel.Send(o.p.socket, v.Vector, messages)
	}
	return 0, 0
}

// sendStream hands the packed messages to a stream socket, behind the rest of a message that it has taken in part.
func (o *outbox) sendStream(v *vector, messages int) (took int, errno syscall.Errno) {
	t := &o.p.tail
	t.mu.Lock()
	defer t.mu.Unlock()
	if errno = t.send(o.p.kernel, o.p.socket); errno == 0 && messages > 0 {
		took, errno = o.p.kernel.Send(o.p.socket, v.Vector, messages)
		if last := took - 1; last >= 0 {
			t.keep(v.data[last][v.Bytes(last):v.lengths[last]])
		}
	}
	return took, errno
}

// count counts the messages of v that the kernel took, and returns how many descriptors are in them.
func (o *outbox) count(v *vector, took int) (n int) {
	for i := range took {
		n += v.counts[i]
		o.stats.batches.add(v.counts[i])
	}
	o.stats.calls.Add(1)
	o.stats.sent.Add(uint64(n))
	return n
}

// account moves on behind the messages of v that the kernel took.
func (o *outbox) account(v *vector, took int) {
	n := o.count(v, took)
	if took > 0 {
		o.sent = v.ends[took-1]
	}
	o.flow.Sent(n)
	o.isolate = max(0, o.isolate-n)
	if !o.p.framed() {
		o.flow.Acked(flow.Ack{Seq: o.flow.Seq(), Credit: math.MaxInt32})
		o.release(n)
	}
}
