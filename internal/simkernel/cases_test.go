//go:build linux

package simkernel_test

import (
	"syscall"

	"golang.org/x/sys/unix"
)

// cases are calls of which a link relies on what comes of them, or makes up for it.
var cases = []struct {
	name string
	run  func(r *rig, kind int)
}{
	{"4 free places for 10, and for the messages behind them", func(r *rig, kind int) {
		a, b := r.pair(kind)
		r.open(12)
		r.send(a, msg{1, upTo(10)}, msg{2, []int{10}}, msg{3, []int{11}})
		for _, fd := range r.files {
			r.close(fd)
		}
		r.room(4)
		r.recv(b, 3, 0, 100, ample)
		r.status()
		r.recv(b, 1, 0, 100, ample)
	}},
	{"4 free places, one message at a time", func(r *rig, kind int) {
		a, b := r.pair(kind)
		r.open(12)
		r.send(a, msg{1, upTo(10)}, msg{2, []int{10}}, msg{3, []int{11}})
		r.room(4)
		fds := r.recv(b, 1, 0, 100, ample)
		r.recv(b, 1, 0, 100, ample)
		if len(fds) > 1 {
			r.close(fds[1])
		}
		r.recv(b, 1, 0, 100, ample)
	}},
	{"a control buffer too small", func(r *rig, kind int) {
		a, b := r.pair(kind)
		r.open(5)
		for _, size := range []int{0, 4, 15, 16, 17, 19, 20, 23, 24, 26, 28, 32, 33, 36, 37, 40} {
			r.send(a, msg{1, upTo(5)}, msg{1, []int{0}})
			r.recv(b, 1, 0, 100, size)
			r.recv(b, 1, 0, 100, ample)
		}
	}},
	{"peek and consume", func(r *rig, kind int) {
		a, b := r.pair(kind)
		r.open(5)
		r.send(a, msg{3, upTo(5)}, msg{1, []int{0}})
		for _, fd := range r.files {
			r.close(fd)
		}
		r.recv(b, 1, unix.MSG_PEEK, 100, ample)
		r.recv(b, 1, unix.MSG_PEEK, 100, ample)
		r.recv(b, 1, 0, 3, 0)
		r.status()
		r.recv(b, 1, 0, 100, ample)
		r.status()
	}},
	{"peek into a full table", func(r *rig, kind int) {
		a, b := r.pair(kind)
		r.open(5)
		r.send(a, msg{3, upTo(5)})
		r.room(2)
		for _, fd := range r.recv(b, 1, unix.MSG_PEEK, 100, ample) {
			r.close(fd)
		}
		r.room(5)
		r.recv(b, 1, unix.MSG_PEEK, 100, ample)
		r.recv(b, 1, 0, 3, 0)
		r.recv(b, 1, 0, 3, 0)
	}},
	{"peek in a vector", func(r *rig, kind int) {
		a, b := r.pair(kind)
		r.open(3)
		r.send(a, msg{3, []int{0}}, msg{4, []int{1}}, msg{5, []int{2}})
		r.recv(b, 3, unix.MSG_PEEK, 100, ample)
		r.recv(b, 1, 0, 100, 0)
		r.recv(b, 2, unix.MSG_PEEK, 100, ample)
		r.recv(b, 3, 0, 100, ample)
	}},
	{"a peek that fills its buffer brings the descriptors of the next message", func(r *rig, kind int) {
		a, b := r.pair(kind)
		r.open(2)
		r.send(a, msg{3, nil}, msg{4, []int{0}}, msg{5, []int{1}})
		for _, room := range []int{2, 3, 4, 6, 7, 8} {
			r.recv(b, 1, unix.MSG_PEEK, room, ample)
		}
		r.recv(b, 1, 0, 3, 0) // what a peek of 3 bytes has shown is consumed, and the descriptors are still there
		r.recv(b, 1, 0, 4, ample)
		r.recv(b, 1, 0, 5, ample)
	}},
	{"a data buffer shorter than the message", func(r *rig, kind int) {
		a, b := r.pair(kind)
		r.open(2)
		r.send(a, msg{10, []int{0}}, msg{10, []int{1}})
		r.recv(b, 2, unix.MSG_PEEK, 4, ample)
		r.recv(b, 4, 0, 4, ample)
		r.recv(b, 4, 0, 40, ample)
	}},
	{"several control messages are one", func(r *rig, kind int) {
		a, b := r.pair(kind)
		r.open(4)
		r.split = true
		r.send(a, msg{1, upTo(4)}, msg{1, []int{3, 2}})
		r.recv(b, 2, 0, 100, ample)
		all := make([]int, 254)
		r.send(a, msg{1, all})
		r.send(a, msg{1, all[:253]})
		r.recv(b, 1, 0, 100, ample)
	}},
	{"a limit below numbers in use", func(r *rig, kind int) {
		a, b := r.pair(kind)
		r.open(9)
		r.send(a, msg{1, upTo(5)}, msg{1, upTo(3)})
		r.room(0)
		r.m.limit(r.files[6])
		for _, fd := range r.files[:3] {
			r.close(fd)
		}
		r.say("free: %d", r.k.FreeSlots(b, 3))
		r.recv(b, 1, 0, 100, ample)
		r.recv(b, 1, 0, 100, ample)
	}},
	{"the free places below numbers in use", func(r *rig, kind int) {
		_, b := r.pair(kind)
		r.open(40)
		r.room(0)
		r.m.limit(r.files[30])
		for _, fd := range r.files[:20] {
			r.close(fd)
		}
		for _, n := range []int{1, 9, 100} {
			r.say("free: %d", min(n, r.k.FreeSlots(b, n)))
		}
	}},
	{"the free places that a probe sees", func(r *rig, kind int) {
		_, b := r.pair(kind)
		for _, n := range []int{0, 1, 5, 100} {
			r.room(n)
			r.say("free: %d", min(n+1, r.k.FreeSlots(b, n+1)))
		}
	}},
	{"bytes before and behind descriptors", func(r *rig, kind int) {
		a, b := r.pair(kind)
		r.open(3)
		r.send(a, msg{2, nil}, msg{3, nil}, msg{4, []int{0}}, msg{5, nil}, msg{6, []int{1}}, msg{7, []int{2}})
		for range 6 {
			r.recv(b, 1, 0, 100, ample)
		}
	}},
	{"read without control destroys", func(r *rig, kind int) {
		a, b := r.pair(kind)
		r.open(1)
		r.send(a, msg{2, []int{0}})
		r.close(r.files[0])
		r.status()
		r.recv(b, 1, 0, 1, 0)
		r.status()
		r.recv(b, 1, 0, 1, ample)
	}},
	{"no byte of data", func(r *rig, kind int) {
		a, b := r.pair(kind)
		r.open(1)
		if oneByOne {
			r.leftOut = "package syscall adds a byte"
			return
		}
		r.send(a, msg{0, []int{0}}, msg{0, nil}, msg{1, nil})
		r.close(r.files[0])
		r.status()
		r.recv(b, 1, 0, 100, ample)
		r.status()
		r.recv(b, 3, 0, 100, ample)
		r.recv(b, 3, 0, 100, ample)
	}},
	{"a bad descriptor", func(r *rig, kind int) {
		a, b := r.pair(kind)
		r.open(2)
		r.send(a, msg{1, []int{0, -1}})
		r.send(a, msg{1, []int{0}}, msg{1, []int{0, -1, 1}}, msg{1, []int{1}})
		r.recv(b, 4, 0, 100, ample)
	}},
	{"how many messages a buffer holds", func(r *rig, kind int) {
		a, b := r.pair(kind)
		r.open(1)
		for _, size := range []int{1, 64, 192, 193, 704, 705, 1024, 1728, 1729, 3776, 3777, 7872, 8192, 12000, 16064, 16065, 32449, 40000, 110000} {
			n, errno := 0, syscall.Errno(0)
			for ; errno == 0; n++ {
				_, errno = r.send(a, msg{size, []int{0}})
			}
			r.say("%d bytes: %d, writable %v", size, n-1, r.k.Writable(a))
			for n = 0; !r.k.Writable(a); n++ {
				r.recv(b, 1, 0, size, 0)
			}
			r.say("writable after %d", n)
			r.k.RaiseSendBuffer(a)
			for n, errno = 0, 0; errno == 0; n++ {
				_, errno = r.send(a, msg{size, nil})
			}
			r.say("%d more into a larger buffer", n-1)
			r.close(a)
			r.close(b)
			a, b = r.pair(kind)
		}
	}},
	{"messages too large", func(r *rig, kind int) {
		a, b := r.pair(kind)
		for _, size := range []int{212992, 212960, 212961, 300000} {
			r.send(a, msg{size, nil})
			r.recv(b, 2, 0, size, ample)
			r.recv(b, 2, 0, size, ample)
		}
	}},
	{"a fence", func(r *rig, kind int) {
		a, b := r.pair(kind)
		r.open(3)
		r.send(b, msg{1, []int{0}}, msg{2, []int{1}})
		r.send(a, msg{3, []int{2}})
		r.k.ShutdownRead(a)
		r.send(b, msg{1, []int{0}})
		r.write(b, 1)
		r.send(a, msg{4, []int{2}})
		r.say("writable %v %v", r.k.Writable(a), r.k.Writable(b))
		r.recv(b, 1, 0, 100, ample)
		r.recv(b, 1, 0, 100, ample)
		r.recv(b, 1, 0, 100, ample)
		r.recv(a, 1, 0, 1, ample)
		r.recv(a, 3, 0, 100, ample)
		r.recv(a, 1, 0, 100, ample)
	}},
	{"a peer that dies and has not read all", func(r *rig, kind int) {
		for _, first := range []string{"send", "recv", "write"} {
			a, b := r.pair(kind)
			r.open(3)
			r.send(a, msg{3, []int{0}})
			r.send(b, msg{1, []int{1}}, msg{2, []int{2}})
			r.close(b)
			r.say("%s, writable %v", first, r.k.Writable(a))
			switch first {
			case "send":
				r.send(a, msg{3, []int{0}})
				r.send(a, msg{3, []int{0}})
			case "write":
				r.write(a, 1)
				r.write(a, 1)
			}
			r.recv(a, 1, 0, 100, ample)
			r.recv(a, 1, 0, 100, ample)
			r.recv(a, 4, 0, 100, ample)
			r.recv(a, 4, 0, 100, ample)
			r.send(a, msg{3, []int{0}})
		}
	}},
	{"a peer that dies and has read all", func(r *rig, kind int) {
		a, b := r.pair(kind)
		r.open(2)
		r.send(b, msg{1, []int{0}}, msg{2, []int{1}})
		r.close(b)
		r.say("writable %v", r.k.Writable(a))
		r.write(a, 1)
		r.recv(a, 1, 0, 100, ample)
		r.recv(a, 4, 0, 100, ample)
		r.recv(a, 1, 0, 100, ample)
	}},
	{"what lies in the queue of the dead is closed", func(r *rig, kind int) {
		a, b := r.pair(kind)
		r.open(2)
		r.send(a, msg{1, []int{0}}, msg{2, []int{1, 0}})
		r.close(r.files[0])
		r.close(r.files[1])
		r.status()
		r.close(b)
		r.status()
	}},
	{"a socket that takes no descriptors", func(r *rig, kind int) {
		if !hasPassRights() {
			r.leftOut = "SO_PASSRIGHTS is not known before Linux 6.16"
			return
		}
		a, b := r.pair(kind)
		r.open(2)
		r.send(a, msg{1, []int{0}})
		r.m.refuseRights(b)
		r.send(a, msg{2, []int{1}})
		r.send(a, msg{3, nil}, msg{4, []int{1}}, msg{5, nil})
		r.send(a, msg{6, []int{-1}})
		r.recv(b, 1, 0, 1, ample)
		r.recv(b, 3, 0, 100, ample)
		r.close(b)
		r.send(a, msg{1, []int{1}})
		r.send(a, msg{1, []int{1}})
	}},
	{"too many in flight", func(r *rig, kind int) {
		a, b := r.pair(kind)
		r.open(10)
		r.room(0)
		r.m.unprivileged(func() {
			for n := 0; n < 500; n++ {
				if _, errno := r.send(a, msg{1, upTo(10)}); errno != 0 {
					break
				}
			}
		})
		r.log = r.log[len(r.log)-1:] // how many it takes depends on the numbers in use
		r.send(a, msg{1, nil})
		r.recv(b, 1, 0, 100, 0)
		r.close(b)
		r.m.limit(4096)
	}},
}
