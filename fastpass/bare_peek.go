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
	if empty && !in.peeked && in.p.kernel.HungUp(in.p.socket) {
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
	in.takeMessage(data)
	return true
}

// closePeeked closes the duplicates that a peek has brought, at once: others need their places in the table. It does
// not block, as the originals remain.
func (in *inbox) closePeeked() {
	c := sys.Closer{Kernel: in.p.kernel}
	for _, fd := range in.fds {
		c.Add(int(fd), false)
	}
	c.Flush()
	in.fds = in.fds[:0]
}
