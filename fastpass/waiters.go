//go:build unix

package fastpass

import (
	"sync/atomic"
	"time"
)

// waiters are the senders that have found the window full. They are woken when much of it is free. Where there is but
// little room, they are woken a moment after it was noticed, and content with it until one of them has gone.
//
// Whoever makes room calls notify, and looks at all; whoever begins to wait counts itself there first, and then looks
// for room once more. So one of the two sees to it that the moment begins. Who leaves begins it for the others, for
// what is much now will not be when it has sent.
type waiters struct {
	all     atomic.Int32
	hasty   atomic.Int32 // of them, those that send less than largeBatch at a time
	plain   atomic.Int32 // of them, those whose next descriptor has no payload: for it there is room where there is none for payloads
	armed   atomic.Bool  // moment runs; who sets this may start it
	moment  *time.Timer
	content atomic.Bool // it has run out
}

// waitForRoom is for a sender that has found the window full. What Push has queued is sent by nobody else.
func (o *outbox) waitForRoom(hasty, plain bool) {
	if hasty {
		o.waiters.hasty.Add(1)
	}
	ready := o.ready
	if plain {
		o.waiters.plain.Add(1)
		ready = o.readyPlain
	}
	o.waiters.all.Add(1) // first: the flusher then sees to it that room is noticed
	o.flush()
	if o.hasAnyRoom() {
		o.wakeSoon() // whoever made that room may have seen nobody wait for it
	}
	o.p.in.returnToPump()
	o.freed.Wait(ready)
	if hasty {
		o.waiters.hasty.Add(-1)
	}
	if plain {
		o.waiters.plain.Add(-1)
	}
	o.waiters.content.Store(false)
	if o.waiters.all.Add(-1) > 0 && o.hasAnyRoom() {
		o.wakeSoon() // what was much, or what this one was content with, is little for the others once this one has taken some
	}
}

// sendReady reports whether a sender, whose next descriptor has no payload if it is plain, need not wait (any longer).
func (o *outbox) sendReady(plain bool) bool {
	return o.hasMuchRoom() || o.waiters.content.Load() && o.hasRoom(plain) || o.write.passed() || o.closing.Load() || o.p.peerSendOnly.Load() || o.p.ending.Load() != nil
}

// hasMuchRoom reports whether much of the window is free. Who found it full waits for that, or for a while: woken
// for each slot, a sender would fill it and park again, which costs as much as sending.
func (o *outbox) hasMuchRoom() bool {
	return o.window.Len() <= o.muchRoom() && o.bytes.Load() <= maxQueuedBytes-maxQueuedBytes/8
}

// hasAnyRoom reports whether there is room for one of those who wait.
func (o *outbox) hasAnyRoom() bool { return o.hasRoom(o.waiters.plain.Load() > 0) }

// hasRoom reports whether there is room for a descriptor, without a payload if it is plain.
func (o *outbox) hasRoom(plain bool) bool {
	return o.window.Len() < o.window.Cap() && (plain || o.bytes.Load() < maxQueuedBytes)
}

// largeBatch is from how many descriptors at a time on it costs less to send them as they come than to put them
// together with others first (measured: 8 at a time are better put together).
const largeBatch = 32

// muchRoom is how many entries the window has when much of it is free: all but an eighth, or, if all who wait send
// largeBatch or more at a time, half, and no more than a full call, which keeps the receiver busy until the next ones
// come. The more they send at a time, the more seldom are they woken, and the less often do both ends reach for the
// same files: where one has just written, the other has to wait for the memory. What is sent in small pieces is put
// together while the window is full, so those come back sooner.
func (o *outbox) muchRoom() int {
	if o.waiters.all.Load() > 0 && o.waiters.hasty.Load() == 0 {
		return min(o.window.Cap()/2, fullCall)
	}
	return o.window.Cap() - max(1, o.window.Cap()/8)
}

// notify tells those who wait that there is room. Without senders among them, somebody may wait for the window to be
// empty.
func (o *outbox) notify() {
	if o.waiters.all.Load() == 0 || o.hasMuchRoom() || o.waiters.content.Load() {
		o.freed.Notify()
	} else {
		o.wakeSoon()
	}
	if f := o.onFreed.Load(); f != nil {
		(*f)()
	}
}

// moment is how long senders wait for much room where there is little.
const moment = time.Millisecond

// wakeSoon wakes senders in a moment, although there is only little room: the peer may take no more for long.
func (o *outbox) wakeSoon() {
	if !o.waiters.armed.Swap(true) {
		o.waiters.moment.Reset(moment)
	}
}

// wakeContent is what happens after that moment.
func (o *outbox) wakeContent() {
	o.waiters.armed.Store(false)
	o.waiters.content.Store(true)
	o.freed.Notify()
}
