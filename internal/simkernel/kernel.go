//go:build linux

package simkernel

import (
	"fmt"
	"sync"
	"syscall"

	"example.com/fdpass/internal/page"
)

// DefaultSendBuffer is net.core.wmem_default, and net.core.wmem_max.
const DefaultSendBuffer = 212992

// Kernel is one machine. It is safe for concurrent use.
type Kernel struct {
	// SendBuffer is the size of the send buffers of sockets made from now on; 0 means DefaultSendBuffer.
	SendBuffer int

	// MaxSendBuffer is what may be asked for with SO_SNDBUF; 0 means DefaultSendBuffer.
	MaxSendBuffer int

	// OneByOne has vectors take one system call for each message, as the portable implementation does.
	OneByOne bool

	// Strict has goroutines that the driver wakes while it works wait until it rests before they use a socket. To tell
	// them from the driver costs some microseconds for each use.
	Strict bool

	// Fault, if not nil, is asked before every call of Send, Recv and Write what goes wrong with it. It is called
	// without a lock, so it may do what others do to the Kernel at that moment.
	Fault func(Call) Fault

	// Trace, if not nil, is told of every such call and its result. It must not call the Kernel.
	Trace func(c Call, n int, errno syscall.Errno)

	mu         sync.Mutex
	files      int // open files, in tables or in queues
	made       int
	inFlight   int // references from queues
	complaints []string
	resting    bool    // the driver runs no code of a process
	entering   []entry // goroutines other than the driver's that wait to be let in, in the order of Conn.number
	conns      int
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
	Process  *Process
	Op       Op
	Label    any  // of the socket: see NewConn
	Messages int  // how many it is to carry at most
	Peek     bool // Recv with MSG_PEEK
	Consume  bool // Recv of one message without a control buffer: what was peeked at before is to be dropped
}

func (c Call) String() string {
	switch {
	case c.Peek:
		return "peek"
	case c.Consume:
		return "consume"
	}
	return c.Op.String()
}

// Fault is what goes wrong with a call; the zero Fault is nothing.
type Fault struct {
	Errno syscall.Errno // what the call fails with, behind Cut messages: if that is not 0, Send forgets it and Recv latches it
	Cut   int           // not 0: Send and Recv carry at most this many messages
	Bytes int           // not 0: on a stream, at most this many bytes of the last message are taken
	Trunc bool          // Recv says MSG_CTRUNC, whatever has come
	Early bool          // Recv on SEQPACKET finds the end before what was sent last, as it may when both come while it looks
	Kill  bool          // the process is killed when the call is done, and before it returns
}

// File is an open file, whichever tables and queues refer to it.
type File struct {
	ID     int // no other file of the Kernel ever had it
	refs   int
	socket *socket
	page   *page.Words
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

func (k *Kernel) newFile() *File {
	k.made++
	k.files++
	return &File{ID: k.made}
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
