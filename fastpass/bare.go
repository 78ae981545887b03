//go:build unix

package fastpass

import (
	"example.com/fdpass/cmsgpool"

	"golang.org/x/sys/unix"
)

// fillBare takes in messages of the Bare protocol: nobody sends again what was lost for lack of room here, so room
// comes first.
func (in *inbox) fillBare() bool {
	in.slots.lock()
	n := in.messages()
	n = min(n, in.slots.certain(n*cmsgpool.MaxFDs)/cmsgpool.MaxFDs) // however few the last ones brought
	v := in.p.vectors.get()                                         // not before: links wait for each other's probes
	var some bool
	if n > 0 {
		some = in.fillWhole(v, n)
	} else {
		some = in.fillShort(v)
	}
	v.put()
	return some
}

// fillWhole takes in up to n messages. There is room for all their descriptors, and the slots are locked until they are
// received.
func (in *inbox) fillWhole(v *vector, n int) bool {
	v.prepare(n)
	doubted := in.maybeEOF
	n, ok := in.receive(v, n, 0)
	in.slots.unlock(n > 0)
	for i := range n {
		data, control := v.received(i)
		in.gather(control)
		if v.Flags(i)&unix.MSG_CTRUNC != 0 {
			in.stats.lost.Add(1)
			in.slots.free = 0 // the next call looks first
		}
		in.takeMessage(data, len(control) > 0, doubted)
	}
	return ok
}

// takeMessage takes in one message, with the descriptors in fds. Its bytes are the payload of the first, except for the
// single zero byte of a sender that has nothing to say. For marked and doubted see nothing.
func (in *inbox) takeMessage(data []byte, marked, doubted bool) {
	if len(data) == 1 && data[0] == 0 && len(in.fds) > 0 {
		data = data[:0]
	}
	in.countBatch()
	in.peeked = false
	if len(data)+len(in.fds) == 0 {
		in.nothing(marked, doubted)
		return
	}
	in.maybeEOF = false
	switch {
	case in.eof.Load() || !in.p.cfg.receives():
		if len(in.fds) > 0 && !in.eof.Load() {
			in.stop(ending{err: protocolError("%d descriptors to an end that only sends (Config.Direction)", len(in.fds))})
		}
		in.closeFrom(0)
	case len(in.fds) == 0:
		in.store(-1, 0, false, data)
	default:
		fds := in.fds
		if len(data) > 0 {
			in.store(fds[0], 0, false, data)
			fds = fds[1:]
		}
		in.storePlain(fds, false)
		in.slots.cameWhole()
		if in.tight.Load() > 0 {
			in.tight.Store(0) // there was room for it after all
		}
	}
}

// fewOpen is how many descriptors a program has open that holds none for its users: those of the Go runtime, of this
// library and its standard streams.
const fewOpen = 16

// retryForLargest has the reader woken again and again until there is room for the largest message that there can be.
// It returns false, for fill.
func (in *inbox) retryForLargest() bool {
	in.checkTable(cmsgpool.MaxFDs)
	in.retryIn(in.slots.none())
	return false
}

// checkTable has Recv say if there can never be room for n descriptors: the message stays queued. A limit that was
// lowered since the link was made may rise again, so that is waited for.
func (in *inbox) checkTable(n int) {
	if limit := in.p.kernel.SoftLimit(); limit >= in.slots.initialLimit && limit < n+fewOpen {
		in.tight.Store(int32(n))
		in.arrived.Notify()
	}
}

// tableError is what Recv returns after checkTable has found one, once.
func (in *inbox) tableError() error {
	n, limit := int(in.tight.Swap(0)), in.p.kernel.SoftLimit()
	if n == 0 || limit >= n+fewOpen { // it has been raised meanwhile
		return nil
	}
	return &tableError{need: n, limit: limit}
}
