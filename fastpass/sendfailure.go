//go:build unix

package fastpass

import (
	"os"
	"syscall"
	"time"
)

// mayGoOn deals with what kept the kernel from taking more. It reports whether sending may go on.
func (o *outbox) mayGoOn(errno syscall.Errno) bool {
	switch {
	case errno == 0:
		o.pause.reset()
		o.goneFor = 0
		return true
	case errno == syscall.EAGAIN:
		o.blockUntilWritable()
	case errno == syscall.ETOOMANYREFS || isShortage(errno):
		o.blockForShortage()
	case isPeerGone(errno):
		// What the peer of a Framed link said last, and the end, is there to be read. It is not if that one lives, and
		// has only shut down its socket for reading.
		o.goneFor++
		if !o.p.framed() || o.goneFor > aSecond && !o.p.kernel.HungUp(o.p.socket) {
			o.blocked.Store(true)
			o.p.conclude(ending{err: ErrPeerGone, lives: o.p.framed()})
			return false
		}
		o.unblockLater()
	case errno == syscall.EPERM:
		o.blocked.Store(true)
		o.p.fail(errRightsRefused)
	default:
		o.blocked.Store(true)
		o.p.fail(os.NewSyscallError("sendmsg", errno))
	}
	return false
}

// refuse deals with an error that one descriptor of the first message has caused: a message of one names it; a larger
// one is sent again in messages of one.
func (o *outbox) refuse(v *vector, errno syscall.Errno) {
	if n := v.counts[0]; n > 1 {
		o.isolate = n
		return
	}
	pos := v.ends[0] - 1
	e := &o.window.Slots(pos, 1)[0]
	for e.refused != 0 { // before; measure has passed over those that lie behind the one that was sent
		pos--
		e = &o.window.Slots(pos, 1)[0]
	}
	e.refused = uint8(errno)
	o.refusals.add(pos, e.refusal())
	o.sent = v.ends[0]
	o.isolate = max(0, o.isolate-1)
	o.release(0)
}

// blockUntilWritable has the writer goroutine call unblock when the socket takes messages again. Until then nothing is
// sent.
func (o *outbox) blockUntilWritable() {
	o.stats.full.Add(1)
	o.blocked.Store(true)
	o.writer.Do(func() { go o.writerLoop() })
	select {
	case o.wake <- struct{}{}:
	default:
	}
}

// writerLoop is the writer goroutine.
func (o *outbox) writerLoop() {
	for {
		select {
		case <-o.wake:
		case <-o.p.done:
			return
		}
		// Nothing is sent from within: whoever flushes may find that it is the end, and close the socket.
		if o.p.waitWritable() != nil {
			return // closed
		}
		o.unblock()
	}
}

// blockForShortage has unblock called after a while: nothing announces the end of a shortage in the kernel. Until then
// nothing is sent.
func (o *outbox) blockForShortage() {
	o.stats.shortages.Add(1)
	o.unblockLater()
}

func (o *outbox) unblockLater() {
	o.blocked.Store(true)
	if pause := o.pause.next(); o.retry == nil {
		o.retry = time.AfterFunc(pause, o.unblock)
	} else {
		o.retry.Reset(pause)
	}
}

func (o *outbox) unblock() {
	o.blocked.Store(false)
	o.flush()
}
