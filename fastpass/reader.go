//go:build unix

package fastpass

import (
	"errors"
	"os"
	"sync/atomic"
	"time"

	"example.com/fdpass/ring"
)

// readerRole says who reads the socket: callers of Recv, straight into their own slices and one at a time, as inbox.mu
// has it; or the pump, a goroutine of the link's own, since what the peer acknowledges must be read although nobody
// calls Recv. Where this end only receives there is no pump.
//
// A descriptor that the pump brings costs a second change of goroutines. So when a caller had to wait for it the pump
// gives the role away and stands by. It gets it back
//   - when no caller has read for a moment,
//   - when none is reading and somebody waits for acknowledgements: for room in the window, or in Shutdown,
//   - when the link ends: what the peer has said before is read to the end, whether anybody calls Recv or not.
//
// A peer that takes no descriptors acknowledges none: then it stands by until the end.
type readerRole struct {
	callers atomic.Bool // it is theirs; false is stored with inbox.mu held
	wanted  atomic.Bool // a caller has waited for the pump
	standby ring.Event  // for the pump while the role is the callers'
	mine    func() bool // ready for that; bound once

	reads uint64 // how often a caller has begun to read; guarded by inbox.mu
	seen  uint64 // reads when the timer ran out last; guarded by inbox.mu
	armed atomic.Bool
	timer *time.Timer // runs checkLull; only the one that sets armed starts it

	spinner spinner

	// What RawConn.Read calls; its fd is Passer.socket. Both are bound once.
	tryCaller func(fd uintptr) bool // fillUp: the caller of Recv holds inbox.mu
	tryPump   func(fd uintptr) bool // fill, which takes inbox.mu first
}

// lull is after how long without a caller of Recv that reads the pump takes over; it may be twice as long. No ackPoller
// pauses as long: see overMillisecond.
const lull = 5*time.Millisecond + overMillisecond/2

func (r *readerRole) init(in *inbox) {
	r.callers.Store(!in.p.cfg.sends())
	r.mine = func() bool { return !r.callers.Load() }
	r.timer = time.AfterFunc(lull, in.checkLull)
	r.timer.Stop()
	r.spinner = spinner{kernel: in.p.kernel, clock: &in.clock, spin: in.p.cfg.Spin}
	r.tryCaller = func(uintptr) bool { return in.fillUp() }
	r.tryPump = func(uintptr) bool {
		in.mu.Lock()
		defer in.mu.Unlock()
		in.clock.read()
		return in.fill()
	}
}

// readInto reads the socket until something has come into ds or the queue, or the caller of Recv has another reason to
// go round, and returns how many of ds are filled. The caller has the role, and holds mu.
func (in *inbox) readInto(ds []Desc) int {
	in.target, in.got = ds, 0
	in.role.reads++
	for in.got == 0 && !in.mustLeave() && in.reaped() {
		var err error
		if !in.spin() { // nothing has come meanwhile
			err = in.p.conn.Read(in.role.tryCaller)
		}
		if err != nil {
			in.woken(err)
		} else if ds == nil {
			break
		}
		if in.p.out.mail.waiting.Load() {
			break // it is answered without mu: the application's callbacks are run
		}
	}
	n := in.got
	in.target, in.got = nil, 0
	if in.eof.Load() && !in.p.cfg.sends() {
		in.p.endAcks()
	}
	return n
}

// mustLeave reports whether the caller of Recv that reads has a reason to go round, or to leave the role to the pump.
func (in *inbox) mustLeave() bool {
	return in.tight.Load() > 0 || in.eof.Load() || in.read.passed() || in.p.closed.Load() ||
		in.p.cfg.sends() && in.p.ending.Load() != nil
}

// readerLeft is called by a goroutine that may have been the reader, after it has released mu.
func (in *inbox) readerLeft() {
	r := &in.role
	switch {
	case !r.callers.Load() || !in.p.cfg.sends():
	case in.pumpNeeded():
		in.returnToPump()
	case !in.p.peerSendOnly.Load() && !r.armed.Swap(true):
		r.startTimer()
	}
}

// pumpNeeded reports whether somebody waits for what is only to be had by reading.
func (in *inbox) pumpNeeded() bool {
	o := &in.p.out
	return in.p.ending.Load() != nil || o.waiters.all.Load() > 0 || o.closing.Load() || o.poolWaits()
}

// readForPool has the pump read, if a pool waits for that.
func (in *inbox) readForPool() {
	if in.role.callers.Load() && in.p.out.poolWaits() {
		in.returnToPump()
	}
}

// startTimer has checkLull called after a lull.
func (r *readerRole) startTimer() {
	r.spinner.timerStarted.Store(true)
	r.timer.Reset(lull)
}

// checkLull returns the role to the pump if no caller has read lately.
func (in *inbox) checkLull() {
	r := &in.role
	r.armed.Store(false) // from now on the next one that leaves starts the timer
	if !in.mu.TryLock() {
		return // that one will
	}
	again := r.seen != r.reads
	r.seen = r.reads
	in.mu.Unlock()
	if !again || in.pumpNeeded() { // whoever needs it may have found mu taken
		in.returnToPump()
	} else if !r.armed.Swap(true) {
		r.startTimer()
	}
}

// returnToPump gives the role back to the pump, unless a caller is reading: that one does when it leaves, if the pump
// is needed. So whoever needs the pump says so first, and then calls this; a caller that leaves releases mu first, and
// then looks.
func (in *inbox) returnToPump() {
	if in.role.callers.Load() && in.p.cfg.sends() && in.mu.TryLock() {
		in.role.callers.Store(false)
		in.mu.Unlock()
		in.role.standby.Notify()
	}
}

// giveToCallers makes the role the callers'.
func (in *inbox) giveToCallers() {
	in.role.wanted.Store(false)
	in.role.callers.Store(true)
	in.arrived.Notify()
	in.readerLeft() // it may be needed at once, and nobody may come
}

// pump reads the socket, whenever it has the role, until the link ends.
func (in *inbox) pump() {
	for more := true; more; more = in.pumpSome() {
		in.role.standby.Wait(in.role.mine)
		in.holdBack()
		in.reaped()
	}
}

// holdBack holds the peer of a Bare link back, which nothing else does: while much is queued, the pump waits until the
// application takes it. Once the link has ended the pump reads the rest. But a peer that takes nothing any more, and
// lives, may go on for ever: if the application has never asked for anything, nothing more is read.
func (in *inbox) holdBack() {
	if in.p.framed() || in.queued.Load() < unaskedCredit {
		return
	}
	in.freed.Wait(func() bool { return in.pumpReady() || in.p.ending.Load() != nil })
	for !in.pumpReady() { // nobody tells when a peer that took nothing any more has gone
		waitAtMost(&in.freed, dying, in.pumpReady)
	}
	ends := func() bool { return in.queued.Load() >= unaskedCredit && in.abandoned() && !in.slots.asked.Load() }
	if !ends() {
		return
	}
	time.Sleep(dying)
	if ends() {
		in.eof.Store(true)
	}
}

// dying is how long it may take from the moment when sending to a peer that dies fails until its end is seen here.
const dying = 50 * time.Millisecond

// pumpReady reports whether the pump need not wait (any longer).
func (in *inbox) pumpReady() bool {
	return in.queued.Load() < unaskedCredit || in.p.closed.Load() ||
		in.p.ending.Load() != nil && !(in.slots.asked.Load() && in.abandoned())
}

// abandoned reports whether the link has ended because the peer takes nothing any more, though it lives.
func (in *inbox) abandoned() bool {
	e := in.p.ending.Load()
	return e != nil && e.err == ErrPeerGone && !in.p.kernel.HungUp(in.p.socket)
}

// pumpSome waits for the socket, and takes in and answers what comes. It returns false when the pump is to end.
func (in *inbox) pumpSome() bool {
	if !in.eof.Load() {
		if err := in.p.conn.Read(in.role.tryPump); err != nil {
			in.mu.Lock()
			in.woken(err)
			in.mu.Unlock()
		}
		in.p.out.answer()
	}
	if !in.eof.Load() {
		if in.p.peerSendOnly.Load() || in.role.wanted.Load() && !in.pumpNeeded() {
			in.giveToCallers()
		}
		return true
	}
	in.p.endAcks()
	in.mu.Lock()
	if in.p.framed() && !in.orphan {
		in.cut.Store(true)
		in.closeQueue() // what is not acknowledged by now belongs to the peer
	}
	in.mu.Unlock()
	in.arrived.Notify()
	return false
}

// reaped waits while too many of the descriptors that came are still to be closed. If that takes too long it ends the
// link and returns false.
func (in *inbox) reaped() bool {
	if !in.p.reaper.full() || in.p.reaper.wait(maxPending, in.hasElse) {
		return true
	}
	in.stop(ending{err: protocolError("it sent %d descriptors that nobody here takes, and that take long to close", in.p.reaper.pending.Load())})
	return false
}

// hasElse reports whether the reader has anything else to do than wait for the reaper.
func (in *inbox) hasElse() bool {
	return in.p.ending.Load() != nil || in.role.callers.Load() && in.read.passed()
}

// woken deals with an error of RawConn.Read: a deadline, which is how wakeReader has the reader look around, or the
// end.
func (in *inbox) woken(err error) {
	if !errors.Is(err, os.ErrDeadlineExceeded) {
		in.stop(ending{err: ErrPeerGone})
		return
	}
	// First this: whoever sets the deadline again has something new to be looked at.
	in.p.conn.SetReadDeadline(time.Time{})
	// A peer that takes nothing any more may be dead: what it has sent is still there, and behind it the end.
	if e := in.p.ending.Load(); !in.p.framed() && e != nil && (in.p.closed.Load() || e.err != ErrPeerGone) {
		in.eof.Store(true)
		return
	}
	in.offer()
}

var longAgo = time.Unix(1, 0)

// wakeReader makes the one who reads the socket look around.
func (in *inbox) wakeReader() { in.p.conn.SetReadDeadline(longAgo) }

// kick makes callers of Recv look at the read deadline and at whether the link is closed.
func (in *inbox) kick() {
	if in.role.callers.Load() {
		in.wakeReader()
	}
	if in.blocked.Load() > 0 {
		in.p.conn.SetWriteDeadline(longAgo)
	}
	in.p.reaper.freed.Notify()
	in.peeks.freed.Notify()
	in.arrived.Notify()
}

// fillUp is fill for a caller of Recv, which may have room for what several calls bring.
func (in *inbox) fillUp() (some bool) {
	for in.clock.read(); in.fill(); in.clock.read() {
		if some = true; !in.wantsMore() {
			break
		}
	}
	return some
}

// spin is fillUp for a caller of Recv that does not park at once.
func (in *inbox) spin() bool {
	s := &in.role.spinner
	first := s.triesFirst()
	if first && s.saw(in.fillUp()) {
		return true
	}
	for s.begin(first); !in.slots.waits() && s.again(); { // which reads the clock
		if in.p.closed.Load() || in.read.passed() || in.fill() {
			return true
		}
	}
	return false
}

// wantsMore reports whether the caller of Recv has room for more, and more is probably there: what RawConn.Read and all
// around it cost is spent once, then.
func (in *inbox) wantsMore() bool {
	return in.full && in.got > 0 && len(in.target)-in.got >= in.last && in.queue.len() == 0 && !in.eof.Load()
}
