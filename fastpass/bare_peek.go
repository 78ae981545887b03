//go:build linux && !fdpass_portable

package fastpass

import (
	"example.com/fdpass/cmsgpool"
	"example.com/fdpass/internal/sys"

	"golang.org/x/sys/unix"
)

// probeIsCheap: from Linux 6.2 on a probe counts all free slots at once, whatever it looks for.
const probeIsCheap = true

// fillShort takes in one message although there may not be room for all of its descriptors: it looks at it first.
// MSG_PEEK installs duplicates and leaves the originals queued. If all came, the message is consumed without a
// control buffer, which closes the originals; if not, the duplicates are closed, and the message waits until there
// is room. The slots are locked until the duplicates have come.
func (in *inbox) fillShort(v *vector) bool {
	if in.peeks.pending.Load() > 0 {
		in.slots.unlock(false)
		in.retryLater()
		return false
	}
	v.prepare(1)
	n, ok := in.receive(v, 1, unix.MSG_PEEK)
	if in.slots.unlock(n > 0); n == 0 {
		return ok
	}
	data, control := v.received(0)
	in.gather(control)
	came := len(in.fds)
	// A peek that fills the buffer goes on to the next message and takes duplicates of its descriptors along, without
	// any of its bytes. MSG_CTRUNC tells whose they are when the bytes are consumed, unless other control messages,
	// which a socket option asks for, are always cut off then.
	ambiguous := came > 0 && in.p.stream && len(data) == len(v.data[0])
	tells := sys.ReportsTruncation() && len(cmsgpool.OnlyRights(control)) > 0
	switch {
	case v.Flags(0)&unix.MSG_CTRUNC != 0:
		in.stats.truncated.Add(1)
		in.closePeeked()
		if came > 0 {
			in.checkTable(came + 1)
		}
		in.retryIn(in.slots.truncated())
		return false
	case ambiguous && !tells:
		// A receive in full does not do that.
		in.closePeeked()
		in.slots.lock()
		if in.p.kernel.FreeSlots(in.slots.source, cmsgpool.MaxFDs) < cmsgpool.MaxFDs {
			in.slots.unlock(false)
			return in.retryForLargest()
		}
		return in.fillWhole(v, 1)
	}
	empty := len(data)+came == 0
	if empty && len(control) == 0 && !in.peeked && in.p.kernel.HungUp(in.p.socket) {
		in.peeked = true // it may have come too early (see nothing): what would be consumed is another message
		return true
	}
	v.Limit(0, max(1, len(data)), 0)
	if n, ok := in.receive(v, 1, 0); n == 0 { // it is still queued
		in.closePeeked()
		in.retryLater()
		return ok
	}
	if ambiguous && v.Flags(0)&unix.MSG_CTRUNC == 0 {
		in.closePeeked() // there was nothing to cut off: they belong to the next message
	}
	in.takeMessage(data, len(control) > 0, in.maybeEOF)
	return true
}

// closePeeked closes the duplicates that a peek has brought, and waits for that: others need their places in the table.
// Though the originals remain, each close asks the filesystem of a file (FUSE, NFS), so that may take as long as the
// peer likes. What takes longer goes on beside, and nothing is peeked at meanwhile.
func (in *inbox) closePeeked() {
	in.peeks.addAll(in.fds)
	in.fds = in.fds[:0]
	in.peeks.wait(1, func() bool { return in.hasElse() || in.read.passed() }) // while the pump waits it keeps Recv out
}
