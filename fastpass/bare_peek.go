//go:build linux && !fdpass_portable

package fastpass

import "golang.org/x/sys/unix"

// fillShort takes in one message although there may not be room for all of its descriptors: it looks at it first.
// MSG_PEEK installs duplicates and leaves the originals queued. If all came, the message is consumed without a
// control buffer, which closes the originals; if not, the duplicates are closed, and the message waits until there
// is room.
func (in *inbox) fillShort(v *vector, fd int) bool {
	v.room(1)
	if n, ok := in.receive(v, fd, 1, unix.MSG_PEEK); n == 0 {
		return ok
	}
	data, control := v.received(0)
	in.gather(control)
	if v.Flags(0)&unix.MSG_CTRUNC != 0 {
		in.stats.truncated.Add(1)
		in.closeFrom(0)
		in.closer.Flush()
		in.room.short()
		in.lookAgain()
		return false
	}
	if len(data) > 0 {
		v.Set(0, data, nil)
		if n, ok := in.receive(v, fd, 1, 0); n == 0 { // it is still queued
			in.closeFrom(0)
			in.closer.Flush()
			in.lookAgain()
			return ok
		}
	}
	in.takeMessage(data)
	return true
}
