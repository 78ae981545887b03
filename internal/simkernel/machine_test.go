//go:build linux

package simkernel_test

import (
	"os"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"syscall"

	"example.com/fdpass/internal/simkernel"
	"example.com/fdpass/internal/sys"

	"golang.org/x/sys/unix"
)

// oneByOne says that the vectors of this build take one system call for each message.
const oneByOne = sys.Implementation != "sendmmsg/recvmmsg"

// machine is what the cases need of a kernel beside the calls.
type machine interface {
	kernel() sys.Kernel
	pair(kind int) (a, b int)
	open() (fd, witness int) // a file, and a descriptor that is told of its end
	identity(fd int) int     // the same for all descriptors of a file
	gone(witness int) bool   // nobody refers to the file
	numbers() []int          // the open descriptors
	limit(n int)
	refuseRights(fd int)
	unprivileged(f func())
}

// simulated is a machine with one process.
type simulated struct {
	k     *simkernel.Kernel
	p     *simkernel.Process
	files map[int]*simkernel.File // by witness
}

func newSimulated() *simulated {
	k := &simkernel.Kernel{OneByOne: oneByOne, SendBuffer: sysctl("wmem_default"), MaxSendBuffer: sysctl("wmem_max")}
	m := &simulated{k: k, p: k.NewProcess("p", 4096), files: map[int]*simkernel.File{}}
	for range 3 {
		m.p.Open()
	}
	return m
}

// sysctl is one of net.core's numbers on this machine.
func sysctl(name string) int {
	b, _ := os.ReadFile("/proc/sys/net/core/" + name)
	n, _ := strconv.Atoi(strings.TrimSpace(string(b)))
	return n
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
func (m *simulated) gone(witness int) bool { return m.k.References(m.files[witness]) == 0 }

func (m *simulated) numbers() (fds []int) {
	for fd, f := range m.p.Table() {
		if f != nil {
			fds = append(fds, fd)
		}
	}
	return fds
}
func (m *simulated) refuseRights(fd int) { m.p.RefuseRights(fd) }
func (m *simulated) limit(n int)         { m.p.SetLimit(n) }

func (m *simulated) unprivileged(f func()) {
	m.p.Exempt = false
	f()
	m.p.Exempt = true
}

// actual is this process on the kernel it runs on.
type actual struct{ hard uint64 }

func (actual) kernel() sys.Kernel {
	if !sys.ReportsTruncation() {
		return uncut{sys.System}
	}
	return sys.System
}

// uncut is the kernel under qemu-user, which makes a system call for each message of a vector, and returns early if a
// signal comes between two: the scheduler sends many to a process that wants the processor. Linux takes no notice of
// signals there. What came to its end by itself ends at once when it is tried again.
type uncut struct{ sys.Kernel }

func (k uncut) Send(fd int, v *sys.Vector, n int) (int, syscall.Errno) {
	return theRest(v, n, func(v *sys.Vector, n int) (int, syscall.Errno) { return k.Kernel.Send(fd, v, n) })
}

func (k uncut) Recv(fd int, v *sys.Vector, n, flags int) (int, syscall.Errno) {
	return theRest(v, n, func(v *sys.Vector, n int) (int, syscall.Errno) { return k.Kernel.Recv(fd, v, n, flags) })
}

// theRest makes call with v, then with those messages that it left, until it leaves all or none.
func theRest(v *sys.Vector, n int, call func(*sys.Vector, int) (int, syscall.Errno)) (int, syscall.Errno) {
	done, errno := call(v, n)
	for more := done; more > 0 && done < n; done += more {
		rest := sys.NewVector(n - done)
		for i := range n - done {
			data, control := v.Message(done + i)
			rest.Set(i, data, control)
		}
		more, _ = call(rest, n-done) // an errno is for a call that does nothing: the next tells it again
		for i := range more {
			v.Deliver(done+i, rest.Bytes(i), rest.Control(i), rest.Flags(i))
		}
	}
	return done, errno
}

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
	entries, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		panic(err)
	}
	for _, e := range entries {
		fd, _ := strconv.Atoi(e.Name())
		if _, err := unix.FcntlInt(uintptr(fd), unix.F_GETFD, 0); err == nil { // not the one that read the directory
			fds = append(fds, fd)
		}
	}
	slices.Sort(fds)
	return fds
}

func (actual) refuseRights(fd int) { unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_PASSRIGHTS, 0) }

// hasPassRights tells whether this machine's kernel knows SO_PASSRIGHTS: Linux 6.16.
func hasPassRights() bool {
	a, b := actual{}.pair(unix.SOCK_STREAM)
	defer sys.System.CloseRange(a, a)
	defer sys.System.CloseRange(b, b)
	return unix.SetsockoptInt(a, unix.SOL_SOCKET, unix.SO_PASSRIGHTS, 0) == nil
}

func (m actual) limit(n int) {
	if err := unix.Setrlimit(unix.RLIMIT_NOFILE, &unix.Rlimit{Cur: uint64(n), Max: m.hard}); err != nil {
		panic(err)
	}
}

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
