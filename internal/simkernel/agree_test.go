//go:build linux && sim && !fdpass_portable

package simkernel_test

import (
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"testing"

	"example.com/fdpass/cmsgpool"
	"example.com/fdpass/internal/simkernel"
	"example.com/fdpass/internal/sys"

	"golang.org/x/sys/unix"
)

var (
	agreeSeeds = flag.Int("agree.seeds", 100, "random sequences of calls to make on both kernels")
	agreeSeed  = flag.Uint64("agree.seed", 0, "run this random sequence only")
)

// machine is what the cases need of a kernel beside the calls.
type machine interface {
	kernel() sys.Kernel
	pair(kind int) (a, b int)
	open() (fd, witness int) // a file, and a descriptor that is told of its end
	identity(fd int) int     // the same for all descriptors of a file
	gone(witness int) bool   // nobody refers to the file
	numbers() []int          // the open descriptors
	limit(n int)
	peekOffset(fd, n int)
	unprivileged(f func())
}

// simulated is a machine with one process.
type simulated struct {
	k     *simkernel.Kernel
	p     *simkernel.Process
	files map[int]*simkernel.File // by witness
}

func newSimulated() *simulated {
	k := new(simkernel.Kernel)
	m := &simulated{k: k, p: k.NewProcess("p", 4096), files: map[int]*simkernel.File{}}
	for range 3 {
		m.p.Open()
	}
	return m
}

func (m *simulated) kernel() sys.Kernel { return m.p }

func (m *simulated) pair(kind int) (a, b int) {
	a, b, _ = m.k.Socketpair(kind, m.p, m.p)
	return a, b
}

func (m *simulated) open() (fd, witness int) {
	fd, f, _ := m.p.Open()
	witness, _, _ = m.p.Open()
	m.files[witness] = f
	return fd, witness
}

func (m *simulated) identity(fd int) int {
	if f := m.p.File(fd); f != nil {
		return f.ID
	}
	return -1
}
func (m *simulated) gone(witness int) bool { return m.p.References(m.files[witness]) == 0 }

func (m *simulated) numbers() (fds []int) {
	for fd, f := range m.p.Table() {
		if f != nil {
			fds = append(fds, fd)
		}
	}
	return fds
}
func (m *simulated) limit(n int)          { m.p.SetLimit(n) }
func (m *simulated) peekOffset(fd, n int) { m.p.SetPeekOffset(fd, n) }

func (m *simulated) unprivileged(f func()) {
	m.p.Exempt = false
	f()
	m.p.Exempt = true
}

// actual is this process on the kernel it runs on.
type actual struct{ hard uint64 }

func (actual) kernel() sys.Kernel { return sys.System }

func (actual) pair(kind int) (a, b int) {
	fds, err := sys.Socketpair(kind)
	if err != nil {
		panic(err)
	}
	return fds[0], fds[1]
}

func (actual) open() (fd, witness int) {
	var p [2]int
	if err := unix.Pipe2(p[:], unix.O_CLOEXEC|unix.O_NONBLOCK); err != nil {
		panic(err)
	}
	if p[0] < p[1] { // the file first, as the simulated machine has it
		fd, err := unix.FcntlInt(uintptr(p[0]), unix.F_DUPFD_CLOEXEC, 0)
		if err != nil {
			panic(err)
		}
		unix.Dup3(p[1], p[0], unix.O_CLOEXEC)
		unix.Dup3(fd, p[1], unix.O_CLOEXEC)
		unix.Close(fd)
		p[0], p[1] = p[1], p[0]
	}
	return p[1], p[0]
}

func (actual) identity(fd int) int {
	var st unix.Stat_t
	if unix.Fstat(fd, &st) != nil {
		return -1
	}
	return int(st.Ino)
}

func (actual) gone(witness int) bool {
	p := [1]unix.PollFd{{Fd: int32(witness), Events: unix.POLLIN}}
	unix.Poll(p[:], 0)
	return p[0].Revents&unix.POLLHUP != 0
}

func (actual) numbers() (fds []int) {
	for fd := range 1024 {
		if _, err := unix.FcntlInt(uintptr(fd), unix.F_GETFD, 0); err == nil {
			fds = append(fds, fd)
		}
	}
	return fds
}

func (m actual) limit(n int) {
	if err := unix.Setrlimit(unix.RLIMIT_NOFILE, &unix.Rlimit{Cur: uint64(n), Max: m.hard}); err != nil {
		panic(err)
	}
}

func (actual) peekOffset(fd, n int) { unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_PEEK_OFF, n) }

// unprivileged runs f as another user, in a thread that ends with it.
func (actual) unprivileged(f func()) {
	done := make(chan struct{})
	go func() {
		defer close(done)
		runtime.LockOSThread() // and never unlocked
		const nobody = 65534
		if os.Geteuid() == 0 {
			if _, _, errno := unix.RawSyscall(unix.SYS_SETRESUID, nobody, nobody, nobody); errno != 0 {
				panic(errno)
			}
		}
		f()
	}()
	<-done
}

// rig runs a case on a machine, and writes down what can be seen of it in words that are the same for all machines.
type rig struct {
	m       machine
	k       sys.Kernel
	log     []string
	names   map[int]string // of files, by identity
	files   []int          // their descriptors
	witness []int
	mine    map[int]bool // all descriptors
	before  []int
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

func (r *rig) send(fd int, msgs ...msg) (int, syscall.Errno) {
	v := sys.NewVector(len(msgs))
	for i, m := range msgs {
		data := make([]byte, m.bytes, m.bytes+1)
		for k := range data {
			data[k] = byte('a' + k%26)
		}
		var control []byte
		if len(m.files) > 0 {
			b := new(cmsgpool.Buffer)
			for k, slot := 0, b.Rights(len(m.files)); k < len(slot); k++ {
				slot[k] = 100000
				if f := m.files[k]; f >= 0 {
					slot[k] = int32(r.files[f])
				}
			}
			control = b.Raw()[:cmsgpool.Space(len(m.files))]
		}
		v.Set(i, data, control)
	}
	n, errno := r.k.Send(fd, v, len(msgs))
	r.say("%v", msgs)
	var bytes []int
	for i := range n {
		bytes = append(bytes, v.Bytes(i))
	}
	r.say("send: %d %v %v", n, bytes, name(errno))
	return n, errno
}

func name(errno syscall.Errno) string {
	if errno == 0 {
		return "ok"
	}
	return unix.ErrnoName(errno)
}

// recv receives n messages, each with room for so many bytes and so many bytes of control, and returns what was
// installed.
func (r *rig) recv(fd, n, flags, bytes, control int) (fds []int) {
	v := sys.NewVector(n)
	data, oob := make([][]byte, n), make([][]byte, n)
	for i := range n {
		data[i], oob[i] = make([]byte, bytes), make([]byte, control)
		v.Set(i, data[i], oob[i])
	}
	got, errno := r.k.Recv(fd, v, n, flags)
	line := fmt.Sprintf("recv(%d, %#x, %d, %d): %d %v", n, flags, bytes, control, got, name(errno))
	for i := range got {
		installed := cmsgpool.AppendFDs(nil, oob[i][:v.Control(i)])
		var names []string
		for _, fd := range installed {
			r.mine[fd] = true
			names = append(names, r.names[r.m.identity(fd)])
		}
		text := string(data[i][:v.Bytes(i)])
		if len(text) > 8 {
			text = fmt.Sprintf("%s…%d", text[:8], len(text))
		}
		line += fmt.Sprintf("; %q %d control, files %v", text, v.Control(i), names)
		if v.Flags(i)&unix.MSG_CTRUNC != 0 {
			line += " CTRUNC"
		}
		if v.Flags(i)&unix.MSG_TRUNC != 0 {
			line += " TRUNC"
		}
		if !slices.IsSorted(installed) {
			line += " unsorted"
		}
		fds = append(fds, installed...)
	}
	r.say("%s", line)
	return fds
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

// cases are those of kernel-facts.md.
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
	{"peek in a vector, without and with an offset", func(r *rig, kind int) {
		a, b := r.pair(kind)
		r.open(3)
		r.send(a, msg{3, []int{0}}, msg{4, []int{1}}, msg{5, []int{2}})
		r.recv(b, 3, unix.MSG_PEEK, 100, ample)
		r.m.peekOffset(b, 0)
		r.recv(b, 2, unix.MSG_PEEK, 100, ample)
		r.recv(b, 1, 0, 100, 0)
		r.recv(b, 2, unix.MSG_PEEK, 100, ample)
		r.recv(b, 3, 0, 100, ample)
		r.send(a, msg{3, []int{0}})
		r.recv(b, 3, unix.MSG_PEEK, 100, ample)
	}},
	{"a data buffer shorter than the message", func(r *rig, kind int) {
		a, b := r.pair(kind)
		r.open(2)
		r.send(a, msg{10, []int{0}}, msg{10, []int{1}})
		r.m.peekOffset(b, 0)
		r.recv(b, 3, unix.MSG_PEEK, 4, ample)
		r.m.peekOffset(b, -1)
		r.recv(b, 4, 0, 4, ample)
		r.recv(b, 4, 0, 40, ample)
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
		r.send(a, msg{0, []int{0}})
		r.close(r.files[0])
		r.status()
		r.recv(b, 1, 0, 100, ample)
		r.status()
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

func bothMachines(t *testing.T) (s, a machine) {
	var l unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &l); err != nil || l.Max < 4096 {
		t.Skipf("the limit on descriptors is %d (%v)", l.Max, err)
	}
	t.Cleanup(func() { unix.Setrlimit(unix.RLIMIT_NOFILE, &l) })
	return newSimulated(), actual{l.Max}
}

var kinds = map[string]int{"seqpacket": unix.SOCK_SEQPACKET, "stream": unix.SOCK_STREAM}

func compare(t *testing.T, run func(r *rig)) {
	t.Helper()
	s, a := bothMachines(t)
	logs := [2][]string{}
	for i, m := range []machine{s, a} {
		r := newRig(m)
		run(r)
		r.end()
		logs[i] = r.log
	}
	for i := range max(len(logs[0]), len(logs[1])) {
		line := [2]string{"nothing", "nothing"}
		for k := range logs {
			if i < len(logs[k]) {
				line[k] = logs[k][i]
			}
		}
		if line[0] != line[1] {
			t.Fatalf("after\n%s\nsimulated: %s\nactual:    %s", strings.Join(logs[1][max(0, i-100):i], "\n"), line[0], line[1])
		}
	}
}

func TestTheSimulatedKernelDoesWhatTheKernelDoes(t *testing.T) {
	for _, c := range cases {
		for kind, number := range kinds {
			t.Run(strings.ReplaceAll(c.name, " ", "_")+"/"+kind, func(t *testing.T) {
				compare(t, func(r *rig) { c.run(r, number) })
			})
		}
	}
}

func TestTheSimulatedKernelAgreesOnRandomSequences(t *testing.T) {
	from, to := uint64(1), uint64(*agreeSeeds)
	if *agreeSeed != 0 {
		from, to = *agreeSeed, *agreeSeed
	}
	for seed := from; seed <= to && !t.Failed(); seed++ {
		for kind, number := range kinds {
			t.Run(fmt.Sprintf("%d/%s", seed, kind), func(t *testing.T) {
				compare(t, func(r *rig) { randomCalls(r, number, seed) })
			})
		}
	}
}

// randomCalls makes calls that depend on the seed only.
func randomCalls(r *rig, kind int, seed uint64) {
	rng := rand.New(rand.NewPCG(seed, 1))
	var ends [2]int
	ends[0], ends[1] = r.pair(kind)
	r.open(6)
	message := func() msg {
		m := msg{bytes: 1 + rng.IntN(9)}
		if rng.IntN(20) == 0 {
			m.bytes = 1 + rng.IntN(9000)
		}
		for rng.IntN(3) > 0 {
			m.files = append(m.files, rng.IntN(len(r.files)))
		}
		if rng.IntN(30) == 0 {
			m.files = append(m.files, -1)
		}
		return m
	}
	var held []int
	open := [2]bool{true, true}
	for range 60 {
		end := rng.IntN(2)
		if !open[end] {
			end = 1 - end
		}
		fd := ends[end]
		switch x := rng.IntN(100); {
		case x < 40:
			r.say("%d:", end)
			msgs := []msg{message()}
			for rng.IntN(2) == 0 {
				msgs = append(msgs, message())
			}
			r.send(fd, msgs...)
		case x < 75:
			r.say("%d:", end)
			bytes, control, flags := 20, ample, 0
			if rng.IntN(4) == 0 {
				bytes = 1 + rng.IntN(8)
			}
			if rng.IntN(6) == 0 {
				control = rng.IntN(48)
			}
			if rng.IntN(5) == 0 {
				flags = unix.MSG_PEEK
			}
			held = append(held, r.recv(fd, 1+rng.IntN(4), flags, bytes, control)...)
		case x < 85:
			for _, fd := range held {
				if rng.IntN(2) == 0 && r.mine[fd] {
					r.close(fd)
				}
			}
		case x < 88:
			r.say("%d: write", end)
			r.write(fd, 1+rng.IntN(100))
		case x < 90:
			r.room(rng.IntN(8))
			held = held[:0]
		case x < 91:
			r.m.limit(4096)
		case x < 94:
			r.m.peekOffset(fd, rng.IntN(3)-1)
		case x < 96:
			r.say("%d: fence", end)
			r.k.ShutdownRead(fd)
		case x < 97 && open[1-end]:
			r.say("%d: close", end)
			open[end] = false
			r.close(fd)
		default:
			r.say("writable %v", r.k.Writable(fd))
			r.status()
		}
	}
}
