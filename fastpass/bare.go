//go:build unix

package fastpass

import (
	"example.com/fdpass/cmsgpool"

	"golang.org/x/sys/unix"
)

// fillBare takes in messages of the Bare protocol: nobody sends again what was lost for want of room here, so room
// comes first.
func (in *inbox) fillBare(fd int) bool {
	v := in.vectors.get()
	defer v.put()
	defer in.closer.Flush()
	n := in.messages()
	n = min(n, in.room.certain(n*cmsgpool.MaxFDs)/cmsgpool.MaxFDs)
	if n == 0 {
		return in.fillShort(v, fd)
	}
	v.room(n)
	n, ok := in.receive(v, fd, n, 0)
	for i := range n {
		data, control := v.received(i)
		in.gather(control)
		if v.Flags(i)&unix.MSG_CTRUNC != 0 {
			in.stats.lost.Add(1)
		}
		in.takeMessage(data)
	}
	return ok
}

// takeMessage takes in one message, with the descriptors in fds. Its bytes are the payload of the first, but for the single
// zero byte of a sender that has nothing to say.
func (in *inbox) takeMessage(data []byte) {
	if len(data) == 1 && data[0] == 0 && len(in.fds) > 0 {
		data = data[:0]
	}
	switch {
	case len(data) == 0 && len(in.fds) == 0:
		in.nothing()
	case in.over.Load() || !in.p.cfg.receives():
		if len(in.fds) > 0 && !in.over.Load() {
			in.stop(ending{err: protocolError("%d descriptors to an end that only sends (Config.Direction)", len(in.fds))})
		}
		in.closeFrom(0)
	case len(in.fds) == 0:
		in.store(-1, 0, false, data)
	default:
		for i, fd := range in.fds {
			if i > 0 {
				data = nil
			}
			in.store(fd, 0, false, data)
		}
		in.room.came()
	}
}
