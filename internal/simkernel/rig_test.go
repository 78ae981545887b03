//go:build linux

package simkernel_test

import (
	"fmt"
	"slices"
	"syscall"

	"example.com/fdpass/cmsgpool"
	"example.com/fdpass/internal/sys"

	"golang.org/x/sys/unix"
)

// rig runs a case on a machine, and writes down what can be seen of it in words that are the same for all machines.
type rig struct {
	m       machine
	k       sys.Kernel
	log     []string
	leftOut string         // why the case is left out here
	names   map[int]string // of files, by identity
	files   []int          // their descriptors
	witness []int
	mine    map[int]bool // all descriptors
	before  []int
	alone   bool // one call for each message
	split   bool // the descriptors of a message in two control messages
}

func newRig(m machine) *rig {
	return &rig{m: m, k: m.kernel(), names: map[int]string{}, mine: map[int]bool{}, before: m.numbers()}
}

func (r *rig) say(format string, args ...any) { r.log = append(r.log, fmt.Sprintf(format, args...)) }

func (r *rig) pair(kind int) (a, b int) {
	a, b = r.m.pair(kind)
	r.mine[a], r.mine[b] = true, true
	return a, b
}

func (r *rig) open(n int) {
	for range n {
		fd, w := r.m.open()
		r.mine[fd], r.mine[w] = true, true
		r.names[r.m.identity(fd)] = fmt.Sprint(len(r.files))
		r.files, r.witness = append(r.files, fd), append(r.witness, w)
	}
}

func (r *rig) close(fd int) {
	delete(r.mine, fd)
	r.k.CloseRange(fd, fd)
}

// msg is a message to be sent: bytes, and the numbers of files; -1 is none that is open.
type msg struct {
	bytes int
	files []int
}

// send sends msgs in one call, or in one for each.
func (r *rig) send(fd int, msgs ...msg) (n int, errno syscall.Errno) {
	r.say("%v", msgs)
	if !r.alone {
		return r.sendVector(fd, msgs)
	}
	for n < len(msgs) && errno == 0 {
		if _, errno = r.sendVector(fd, msgs[n:n+1]); errno == 0 {
			n++
		}
	}
	return n, errno
}

func (r *rig) sendVector(fd int, msgs []msg) (int, syscall.Errno) {
	v := sys.NewVector(len(msgs))
	for i, m := range msgs {
		data := make([]byte, m.bytes, m.bytes+1)
		for k := range data {
			data[k] = byte('a' + k%26)
		}
		v.Set(i, data, r.control(m.files))
	}
	n, errno := r.k.Send(fd, v, len(msgs))
	var bytes []int
	for i := range n {
		bytes = append(bytes, v.Bytes(i))
	}
	r.say("send: %d %v %v", n, bytes, name(errno))
	return n, errno
}

// control is the control message, or two of them, that carries files.
func (r *rig) control(files []int) (control []byte) {
	half := len(files)
	if r.split {
		half = (half + 1) / 2
	}
	for ; len(files) > 0; files = files[half:] {
		half = min(half, len(files))
		b := new(cmsgpool.Buffer)
		for k, slot := 0, b.Rights(half); k < half; k++ {
			slot[k] = 100000
			if f := files[k]; f >= 0 {
				slot[k] = int32(r.files[f])
			}
		}
		control = append(control, b.Raw()[:cmsgpool.Space(half)]...)
	}
	return control
}

func name(errno syscall.Errno) string {
	if errno == 0 {
		return "ok"
	}
	return unix.ErrnoName(errno)
}

// recv receives n messages, each with room for so many bytes and so many bytes of control, in one call or in one for
// each, and returns what was installed.
func (r *rig) recv(fd, n, flags, bytes, control int) (fds []int) {
	if !r.alone {
		fds, _ = r.recvVector(fd, n, flags, bytes, control)
		return fds
	}
	for ok := true; ok && n > 0; n-- {
		var more []int
		more, ok = r.recvVector(fd, 1, flags, bytes, control)
		fds = append(fds, more...)
	}
	return fds
}

func (r *rig) recvVector(fd, n, flags, bytes, control int) (fds []int, ok bool) {
	v := sys.NewVector(n)
	data, oob := make([][]byte, n), make([][]byte, n)
	for i := range n {
		data[i], oob[i] = make([]byte, bytes), make([]byte, control)
		v.Set(i, data[i], oob[i])
	}
	got, errno := r.k.Recv(fd, v, n, flags)
	r.say("recv(%d, %#x, %d, %d): %d %v", n, flags, bytes, control, got, name(errno))
	for i := range got {
		installed := cmsgpool.AppendFDs(nil, oob[i][:v.Control(i)])
		r.say("%s", r.received(data[i][:v.Bytes(i)], v.Control(i), v.Flags(i), installed))
		fds = append(fds, installed...)
	}
	return fds, errno == 0
}

// received describes what one message brought.
func (r *rig) received(data []byte, control, flags int, fds []int) string {
	var names []string
	for _, fd := range fds {
		r.mine[fd] = true
		names = append(names, r.names[r.m.identity(fd)])
	}
	text := string(data)
	if len(text) > 8 {
		text = fmt.Sprintf("%s…%d", text[:8], len(text))
	}
	line := fmt.Sprintf("%q %d control, files %v", text, control, names)
	if flags&unix.MSG_CTRUNC != 0 {
		line += " CTRUNC"
	}
	if flags&unix.MSG_TRUNC != 0 {
		line += " TRUNC"
	}
	if !slices.IsSorted(fds) {
		line += " unsorted"
	}
	return line
}

const ample = 1408 // bytes of control

func (r *rig) write(fd, n int) {
	k, errno := r.k.Write(fd, make([]byte, n))
	r.say("write: %d %v", k, name(errno))
}

// room leaves n free places in the table.
func (r *rig) room(n int) {
	r.m.limit(4096)
	last := slices.Max(r.m.numbers())
	for {
		fd, w := r.m.open()
		r.mine[fd], r.mine[w] = true, true
		if fd > last {
			break
		}
	}
	r.m.limit(slices.Max(r.m.numbers()) + 1 + n)
}

// status says which files are gone.
func (r *rig) status() {
	var gone []int
	for i, w := range r.witness {
		if r.mine[w] && r.m.gone(w) {
			gone = append(gone, i)
		}
	}
	r.say("gone: %v", gone)
}

func (r *rig) end() {
	r.m.limit(4096)
	for _, fd := range r.m.numbers() {
		if !slices.Contains(r.before, fd) {
			r.k.CloseRange(fd, fd)
		}
	}
}

func upTo(n int) (s []int) {
	for i := range n {
		s = append(s, i)
	}
	return s
}
