//go:build linux

package simkernel

import (
	"fmt"
	"syscall"

	"example.com/fdpass/cmsgpool"
	"example.com/fdpass/internal/sys"
)

// Process is a process: the sys.Kernel that the code in it sees.
type Process struct {
	Name   string
	Exempt bool // from the limit on descriptors in flight, as CAP_SYS_RESOURCE is

	k       *Kernel
	table   []*File
	limit   int
	slots   sys.Slots
	dead    bool
	stopped bool
}

var _ sys.Kernel = (*Process)(nil)

// NewProcess starts a process that may have limit descriptors open.
func (k *Kernel) NewProcess(name string, limit int) *Process {
	return &Process{Name: name, k: k, limit: limit, Exempt: true}
}

// Open opens a file of which nobody else knows.
func (p *Process) Open() (fd int, f *File, errno syscall.Errno) {
	p.k.mu.Lock()
	defer p.k.mu.Unlock()
	if fd = p.lowest(); fd < 0 || p.dead {
		return -1, nil, syscall.EMFILE
	}
	f = p.k.newFile()
	p.install(fd, f)
	return fd, f, 0
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

// socket is the socket with number fd.
func (p *Process) socket(fd int) (*socket, syscall.Errno) {
	switch f := p.file(fd); {
	case p.dead:
		return nil, syscall.EPIPE // nobody is there to see it
	case f == nil:
		return nil, syscall.EBADF
	case f.socket == nil:
		return nil, syscall.ENOTSOCK
	default:
		return f.socket, 0
	}
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
func (k *Kernel) References(f *File) int {
	k.mu.Lock()
	defer k.mu.Unlock()
	return f.refs
}

// SetLimit is prlimit(RLIMIT_NOFILE). What is open stays open.
func (p *Process) SetLimit(n int) {
	p.k.mu.Lock()
	defer p.k.mu.Unlock()
	p.limit = n
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

// Stop is SIGSTOP: until Continue the driver runs no code of the process, and its other goroutines get no further than
// their next call.
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
	if f := p.table[fd]; f != nil {
		p.table[fd] = nil
		p.k.unref(f)
	}
}

// CloseBriefly implements sys.Kernel.
func (p *Process) CloseBriefly(lo, hi int) { p.CloseRange(lo, hi) }

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

// Slots implements sys.Kernel. The driver runs one link of a process at a time, so nobody waits for the lock.
func (p *Process) Slots() *sys.Slots { return &p.slots }

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
	return max(0, min(p.limit-below, want, cmsgpool.MaxFDs))
}
