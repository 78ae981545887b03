//go:build unix

package fastpass

import (
	"os"
	"syscall"
	"time"

	"example.com/fdpass/cmsgpool"

	"golang.org/x/sys/unix"
)

// fill takes in what one system call brings. It returns false if there was nothing, and the reader should wait for
// the socket. The caller holds mu.
func (in *inbox) fill() bool {
	var some bool
	in.full = false
	switch {
	case !in.p.framed():
		some = in.fillBare()
	case in.p.stream:
		some = in.fillStream()
	default:
		some = in.fillPackets()
	}
	if in.queue.len() > 0 || in.eof.Load() {
		in.countQueue()
		in.arrived.Notify()
	}
	return some
}

// fillPackets takes in frames from a socket that keeps messages whole.
func (in *inbox) fillPackets() bool {
	v := in.p.vectors.get()
	n := in.messages()
	v.prepare(n)
	n, ok := in.receive(v, n, 0)
	for i := range n {
		data, control := v.received(i)
		in.gather(control)
		if len(data) == 0 && len(in.fds) == 0 {
			in.nothing(false, in.maybeEOF)
		} else {
			in.takeFrame(data, v.Flags(i)&unix.MSG_CTRUNC != 0)
		}
	}
	v.put()
	return ok
}

// messages is how many messages to ask for. For a caller of Recv that is as many as it has room for, and no more than
// make a full call, if they are like the last one. Where no caller has asked it is no more than make a full call if
// they are as large as they can be: a peer may send such ones, and all that comes is queued here.
func (in *inbox) messages() int {
	n := fullMessages
	if in.target != nil {
		n = (min(len(in.target)-in.got, fullCall) + in.last - 1) / in.last
	}
	return min(n, in.p.cfg.Messages)
}

// mostResets is how many ECONNRESET a reader ignores. A peer causes one; an error that stays is not waited out.
const mostResets = 8

// receive receives up to n messages into v, which has room for them. It returns false if none is there.
func (in *inbox) receive(v *vector, n, flags int) (int, bool) {
	for last := false; ; {
		got, errno := in.recvmsg(v, n, flags)
		in.stats.calls.Add(1)
		switch {
		case errno == 0:
			in.full = got == n && flags == 0
			return got, true
		case errno == syscall.EAGAIN:
			if in.p.framed() || !in.abandoned() {
				return 0, false
			}
			if !last { // it may have sent something just before that
				last = true
				continue
			}
			in.eof.Store(true) // what it has sent by now is all that is waited for
			return 0, true
		case errno == syscall.ECONNRESET && in.resets < mostResets:
			in.resets++ // the rest of the data comes after it
		case isMemoryShortage(errno):
			in.retryLater()
			return 0, false
		default:
			in.fail(os.NewSyscallError("recvmsg", errno))
			return 0, true
		}
	}
}

// recvmsg is one system call. What a Framed link loses is sent again, but it must not take slots that a Bare link of
// this process has seen free and is about to fill.
func (in *inbox) recvmsg(v *vector, n, flags int) (got int, errno syscall.Errno) {
	if !in.p.framed() || !in.slots.shared.LookedAt() {
		return in.p.kernel.Recv(in.p.socket, v.Vector, n, flags)
	}
	in.slots.lock()
	got, errno = in.p.kernel.Recv(in.p.socket, v.Vector, n, flags)
	in.slots.unlock(errno == 0)
	return got, errno
}

// fail ends the link because of an error that says nothing about the peer. The peer may live and go on sending, so an
// end that also sends reads on for acknowledgements, unless that fails again.
func (in *inbox) fail(err error) {
	again := in.p.ending.Load() != nil
	in.p.fail(err)
	if again || !in.p.expectsAcks() || !in.p.framed() {
		in.eof.Store(true)
	}
}

// gather collects the descriptors of one message in fds.
func (in *inbox) gather(control []byte) {
	if in.fds = append(in.fds[:0], cmsgpool.OnlyRights(control)...); len(in.fds) == 0 {
		in.gatherAll(control)
	}
	in.slots.used += len(in.fds)
}

func (in *inbox) gatherAll(control []byte) {
	p := cmsgpool.Parse(control)
	for m, ok := p.Next(); ok; m, ok = p.Next() {
		switch {
		case m.IsRights():
			in.fds = append(in.fds, m.FDs()...)
		case m.IsPidfd():
			in.p.reaper.addAll(m.FDs())
		}
	}
}

// countBatch counts the message at hand.
func (in *inbox) countBatch() {
	in.stats.batches.add(min(len(in.fds), cmsgpool.MaxFDs))
	if len(in.fds) > 0 {
		in.last = len(in.fds)
	}
}

// closeFrom closes the descriptors of the message at hand from the i-th on.
func (in *inbox) closeFrom(i int) {
	in.p.reaper.addAll(in.fds[i:])
	in.fds = in.fds[:i]
}

// set makes d one that came, in the memory for payloads that it has. It is inlined.
func (d *Desc) set(fd int32, tag uint64, shared bool, payload []byte) {
	d.FD, d.Tag, d.Keep, d.Shared = int(fd), tag, false, shared
	if len(payload) > 0 || len(d.Payload) > 0 {
		d.Payload = append(d.Payload[:0], payload...)
	}
}

// storePlain adds descriptors without tags and payloads to what the application gets next.
func (in *inbox) storePlain(fds []int32, shared bool) {
	if in.queue.len() == 0 {
		n := min(len(fds), len(in.target)-in.got)
		ds := in.target[in.got:][:n]
		for i, fd := range fds[:n] {
			ds[i].set(fd, 0, shared, nil)
		}
		in.got += n
		fds = fds[n:]
	}
	for _, fd := range fds {
		in.store(fd, 0, shared, nil)
	}
}

// store adds a descriptor to what the application gets next.
func (in *inbox) store(fd int32, tag uint64, shared bool, payload []byte) {
	if in.got < len(in.target) && in.queue.len() == 0 {
		in.target[in.got].set(fd, tag, shared, payload)
		in.got++
		return
	}
	e := in.queue.add()
	e.fd, e.tag, e.refused, e.keep, e.brief, e.shared = fd, tag, 0, false, false, shared
	queuePayloads.add(e, nil, payload)
}

// nothing takes in a message without bytes and descriptors, which is what the kernel returns at the end. On SEQPACKET
// it may do so a moment too early: if the last message and the end come while it looks, it finds the queue empty, and
// then the peer gone. So only the second time it is the end. While the peer is there, it is a message, and also if it
// is marked. Doubted says that it was asked for after maybeEOF was set, from when on messages are marked.
func (in *inbox) nothing(marked, doubted bool) {
	switch {
	case in.p.stream:
		in.hangUp()
	case !in.p.kernel.HungUp(in.p.socket):
		if in.p.framed() {
			in.stop(ending{err: protocolError("a message without a frame")})
		}
	case marked:
	case doubted:
		in.hangUp()
	case !in.maybeEOF:
		in.maybeEOF = in.p.framed() || !in.p.kernel.MarkMessages(in.p.socket)
	}
}

// hangUp is the end of the stream of messages.
func (in *inbox) hangUp() {
	if !in.p.framed() {
		in.stop(ending{}) // there is no goodbye that could be missed
		return
	}
	if in.p.ending.Load() == nil {
		in.orphan = true
		in.cut.Store(true)
	}
	in.stop(ending{err: ErrPeerGone})
}

// stop ends the link, if it has not ended before, and notes that nothing more comes.
func (in *inbox) stop(e ending) {
	in.p.conclude(e)
	in.eof.Store(true)
}

// retryLater has the reader woken after a pause.
func (in *inbox) retryLater() { in.retryIn(in.slots.pause.next()) }

func (in *inbox) retryIn(pause time.Duration) {
	if in.tick == nil {
		in.tick = time.AfterFunc(pause, in.wakeReader)
	} else {
		in.tick.Reset(pause)
	}
}
