//go:build linux && sim

package simkernel

import (
	"fmt"
	"sync"
	"syscall"

	"example.com/fdpass/internal/sys"
)

// DefaultSendBuffer is net.core.wmem_default.
const DefaultSendBuffer = 212992

// Kernel is one machine. It is safe for concurrent use.
type Kernel struct {
	// SendBuffer is the size of the send buffers of sockets made from now on; 0 means DefaultSendBuffer.
	SendBuffer int

	// Fault, if not nil, is asked before every call of Send, Recv and Write what goes wrong with it. It is called by the
	// goroutine that makes the call, without a lock.
	Fault func(Call) Fault

	// Trace, if not nil, is told of every such call and its result. It must not call the Kernel.
	Trace func(c Call, n int, errno syscall.Errno)

	mu         sync.Mutex
	files      int // open files, in tables or in queues
	made       int
	inFlight   int // references from queues
	complaints []string
}

// Op is a kind of call.
type Op int

// The calls that can be made to fail.
const (
	Send Op = iota
	Recv
	Write
)

func (o Op) String() string { return [...]string{"send", "recv", "write"}[o] }

// Call is one call of a process.
type Call struct {
	Process *Process
	Op      Op
	FD      int
	Conn    *Conn // of FD; nil: none was made
	Consume bool  // Recv of one message without a control buffer: what was peeked at before is to be dropped
}

// Fault is what goes wrong with a call; the zero Fault is nothing.
type Fault struct {
	Errno  syscall.Errno // what the call fails with, after Messages messages: behind some, Send forgets it and Recv latches it
	Cut    int           // not 0: Send and Recv carry at most this many messages
	Bytes  int           // not 0: on a stream, at most this many bytes of a message are taken
	Before bool          // the process is killed before the call does anything
	After  bool          // the process is killed when the call is done, and before it returns
}

// File is an open file, whichever tables and queues refer to it.
type File struct {
	ID     int // no other file of the Kernel ever had it
	refs   int
	socket *socket
}

// Process is a process: the sys.Kernel that the code in it sees.
type Process struct {
	Name   string
	Exempt bool // from the limit on descriptors in flight, as CAP_SYS_RESOURCE is

	k       *Kernel
	table   []*File
	limit   int
	dead    bool
	stopped bool
	conns   []*Conn
	last    Call // the last call that was carried out
}

var _ sys.Kernel = (*Process)(nil)

// NewProcess starts a process that may have limit descriptors open.
func (k *Kernel) NewProcess(name string, limit int) *Process {
	return &Process{Name: name, k: k, limit: limit, Exempt: true}
}

// Files is how many files are open, in whatever tables and queues.
func (k *Kernel) Files() int {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.files
}

// InFlight is how many descriptors lie in queues.
func (k *Kernel) InFlight() int {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.inFlight
}

// Complaints lists what a process did that no correct one does: closing a number that is not open.
func (k *Kernel) Complaints() []string {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.complaints
}

// Open opens a file of which nobody else knows.
func (p *Process) Open() (fd int, f *File, errno syscall.Errno) {
	p.k.mu.Lock()
	defer p.k.mu.Unlock()
	if fd = p.lowest(); fd < 0 {
		return -1, nil, syscall.EMFILE
	}
	f = p.k.newFile()
	p.install(fd, f)
	return fd, f, 0
}

func (k *Kernel) newFile() *File {
	k.made++
	k.files++
	return &File{ID: k.made}
}

// lowest is the number that the next descriptor gets; -1 if the table is full. The caller holds k.mu.
func (p *Process) lowest() int {
	fd := 0
	for fd < len(p.table) && p.table[fd] != nil {
		fd++
	}
	if fd >= p.limit {
		return -1
	}
	return fd
}

func (p *Process) install(fd int, f *File) {
	for fd >= len(p.table) {
		p.table = append(p.table, nil)
	}
	p.table[fd] = f
	f.refs++
}

// file is the open file with number fd; nil if there is none.
func (p *Process) file(fd int) *File {
	if fd < 0 || fd >= len(p.table) {
		return nil
	}
	return p.table[fd]
}

// File returns the file that fd refers to, nil if it is not open.
func (p *Process) File(fd int) *File {
	p.k.mu.Lock()
	defer p.k.mu.Unlock()
	return p.file(fd)
}

// Table returns what every descriptor refers to; nil where none is.
func (p *Process) Table() []*File {
	p.k.mu.Lock()
	defer p.k.mu.Unlock()
	return append([]*File(nil), p.table...)
}

// References is how many tables and queues refer to f, counted one by one.
func (p *Process) References(f *File) int {
	p.k.mu.Lock()
	defer p.k.mu.Unlock()
	return f.refs
}

// SetLimit is prlimit(RLIMIT_NOFILE). What is open stays open.
func (p *Process) SetLimit(n int) {
	p.k.mu.Lock()
	defer p.k.mu.Unlock()
	p.limit = n
}

// Limit is the RLIMIT_NOFILE.
func (p *Process) Limit() int {
	p.k.mu.Lock()
	defer p.k.mu.Unlock()
	return p.limit
}

// Kill is SIGKILL: all descriptors are closed, and nothing that its code still does has an effect.
func (p *Process) Kill() {
	p.k.mu.Lock()
	defer p.k.mu.Unlock()
	p.kill()
}

func (p *Process) kill() {
	if p.dead {
		return
	}
	p.dead = true
	for fd := range p.table {
		p.close(fd)
	}
	p.stopped = false
}

// Dead reports whether the process has been killed.
func (p *Process) Dead() bool {
	p.k.mu.Lock()
	defer p.k.mu.Unlock()
	return p.dead
}

// LastCall is the last call that was carried out; one that a dead process makes is not.
func (p *Process) LastCall() Call {
	p.k.mu.Lock()
	defer p.k.mu.Unlock()
	return p.last
}

// Stop is SIGSTOP: the goroutine that drives the simulation runs no code of the process until Continue, and Conn.Waiting is
// false. What its timers do goes on, as if they had run out just before: a goroutine held up here might hold a lock.
func (p *Process) Stop() {
	p.k.mu.Lock()
	defer p.k.mu.Unlock()
	p.stopped = !p.dead
}

// Continue is SIGCONT.
func (p *Process) Continue() {
	p.k.mu.Lock()
	defer p.k.mu.Unlock()
	p.stopped = false
}

// Stopped reports whether the process is stopped.
func (p *Process) Stopped() bool {
	p.k.mu.Lock()
	defer p.k.mu.Unlock()
	return p.stopped
}

// close closes fd, if it is open. The caller holds k.mu.
func (p *Process) close(fd int) {
	f := p.table[fd]
	if f == nil {
		return
	}
	p.table[fd] = nil
	p.k.unref(f)
}

func (k *Kernel) unref(f *File) {
	if f.refs--; f.refs > 0 {
		return
	}
	if f.refs < 0 {
		panic(fmt.Sprintf("simkernel: file %d has %d references", f.ID, f.refs))
	}
	k.files--
	if f.socket != nil {
		f.socket.release()
	}
}

// CloseRange implements sys.Kernel.
func (p *Process) CloseRange(lo, hi int) {
	p.k.mu.Lock()
	defer p.k.mu.Unlock()
	if p.dead {
		return
	}
	for fd := lo; fd <= hi; fd++ {
		if p.file(fd) == nil {
			p.k.complaints = append(p.k.complaints, fmt.Sprintf("%s closes %d, which is not open", p.Name, fd))
			continue
		}
		p.close(fd)
	}
}

// SoftLimit implements sys.Kernel.
func (p *Process) SoftLimit() int {
	p.k.mu.Lock()
	defer p.k.mu.Unlock()
	return p.limit
}

// FreeSlots implements sys.Kernel, with the shortcut of the real one and its limits.
func (p *Process) FreeSlots(_, want int) int {
	p.k.mu.Lock()
	defer p.k.mu.Unlock()
	open, below := 0, 0
	for fd, f := range p.table {
		if f != nil {
			open++
			if fd < p.limit {
				below++
			}
		}
	}
	if free := p.limit - open; free > 0 {
		return free
	}
	return min(p.limit-below, want, 8)
}
