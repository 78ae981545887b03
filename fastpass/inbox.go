//go:build unix

package fastpass

import (
	"errors"
	"net"
	"os"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"example.com/fdpass/cmsgpool"
	"example.com/fdpass/internal/flow"
	"example.com/fdpass/internal/page"
	"example.com/fdpass/internal/sys"
	"example.com/fdpass/ring"
)

// inbox is the receiving half of a link. One goroutine at a time reads the socket: the one that has the reader's role.
type inbox struct {
	p       *Passer
	role    readerRole
	read    deadline     // of Recv
	arrived ring.Event   // something for callers of Recv, while the pump reads
	ready   func() bool  // recvReady, bound once
	freed   ring.Event   // places in the queue: for holdBack
	parked  atomic.Int32 // callers of Recv that wait for it
	queued  atomic.Int32 // the length of queue: see countQueue
	blocked atomic.Int32 // callers of Recv that wait for the socket to take an acknowledgement
	cut     atomic.Bool  // the peer hears no acknowledgements any more
	eof     atomic.Bool  // nothing more comes
	tight   atomic.Int32 // the descriptor table can never hold a message of this many; 0: none is known

	mu        sync.Mutex // held by the goroutine that reads the socket or takes from the queue
	one       [1]Desc    // what Recv receives into: a slice of its own would be allocated
	queue     *queue     // taken in, not acknowledged
	page      *page.Page // where to acknowledge; nil: by ACK frames. It comes before the first descriptor
	owed      bool       // with a page: the peer has asked for an ACK frame, and the socket has not taken it yet
	pledged   int        // the first in queue, acknowledged by an ACK of which the socket has taken only a part
	target    []Desc     // where to store what comes while the queue is empty: a caller's own slice
	got       int        // how many of target are filled
	flow      flow.Receiver
	clock     clock // read immediately before each look at the socket, and to offer credit
	slots     slotEstimate
	peeks     *reaper     // closes what a Bare link has peeked at in vain
	looker    *sys.Looker // of a Bare link that receives: see slotEstimate.lock
	tick      *time.Timer // wakes the reader when there might be room again
	helloSeen bool        // HELLO has come
	peerSends bool        // and says that the peer sends descriptors
	maybeEOF  bool        // the kernel has just said that nothing more comes
	peeked    bool        // an empty message, or the end, was peeked at just now
	resets    int         // ECONNRESET has come so often: SEQPACKET reports it before the rest of the data
	orphan    bool        // the peer is dead: what came from it has no other owner
	last      int         // descriptors in the last message
	full      bool        // the last call has brought as many messages as were asked for
	fds       []int32     // the descriptors of the message at hand
	partial   *partialFrame

	ack ackWriter

	stats recvStats
}

func (in *inbox) init(p *Passer) {
	in.p = p
	in.clock.read()
	in.slots = slotEstimate{
		kernel: p.kernel, clock: &in.clock, source: p.socket, shared: p.kernel.Slots(),
		initialLimit: p.kernel.SoftLimit(), processors: runtime.NumCPU(),
		cheap: probeIsCheap, minMargin: minMargin, pause: shortage,
	}
	if !p.framed() && p.cfg.receives() {
		in.looker = in.slots.shared.NewLooker()
	}
	in.last = cmsgpool.MaxFDs
	in.ready = in.recvReady
	in.queue = &queue{reaper: p.reaper}
	in.peeks = newReaper(p.kernel)
	in.partial = &partialFrame{reaper: p.reaper}
	in.ack.p = p
	in.role.init(in)
}

// recv is RecvBatch, or Recv if one is not nil.
func (in *inbox) recv(ds []Desc, one *Desc) (int, error) {
	if !in.p.cfg.receives() {
		return 0, errSendOnly
	}
	for pause := shortage; ; {
		in.mu.Lock()
		if one != nil {
			ds = in.one[:]
		}
		n, err := in.take(ds)
		if one != nil {
			*one, in.one[0] = in.one[0], Desc{}
		}
		in.mu.Unlock()
		in.p.out.answer()
		in.readerLeft()
		switch {
		case n > 0:
			return n, nil
		case err == errWait:
			err = in.waitToAcknowledge()
		case err == errShort:
			err = in.wait(pause.next())
		case err == nil && !in.role.callers.Load():
			in.role.wanted.Store(true)
			in.parked.Add(1)
			in.arrived.Wait(in.ready)
			in.parked.Add(-1)
		}
		if err != nil {
			return 0, err
		}
	}
}

// errWait and errShort say that an acknowledgement has to wait, until the socket takes it or for a while; errCut that
// the peer hears no more of them.
var (
	errWait  = errors.New("fastpass: the socket is full")
	errShort = errors.New("fastpass: the kernel is short of memory")
	errCut   = errors.New("fastpass: the peer hears nothing")
)

// waitToAcknowledge waits until an acknowledgement might be sent, or until the read deadline.
func (in *inbox) waitToAcknowledge() error {
	in.blocked.Add(1) // announces to kick that there is somebody to wake
	defer in.blocked.Add(-1)
	if in.read.passed() {
		return os.ErrDeadlineExceeded
	}
	in.p.waitWritable() // if it fails, so does the acknowledgement
	return nil
}

// wait waits until d has passed, or Recv has another reason to return.
func (in *inbox) wait(d time.Duration) error {
	waitAtMost(&in.arrived, d, func() bool { return in.read.passed() || in.p.closed.Load() })
	if in.read.passed() {
		return os.ErrDeadlineExceeded
	}
	return nil
}

// recvReady reports whether a caller of Recv need not wait for the pump (any longer).
func (in *inbox) recvReady() bool {
	return in.queued.Load() > 0 && !in.cut.Load() || in.eof.Load() || in.role.callers.Load() ||
		in.tight.Load() > 0 || in.read.passed() || in.p.closed.Load()
}

// take moves descriptors to ds, acknowledged. If there are none it returns an error if there is a reason, and 0, nil if
// it is to be called again: after the pump has brought some, unless the callers read themselves. The caller holds mu.
func (in *inbox) take(ds []Desc) (int, error) {
	if !in.slots.asked.Load() {
		in.slots.asked.Store(true)
	}
	if in.p.closed.Load() {
		return 0, net.ErrClosed
	}
	if in.queue.len() > 0 && in.read.passed() {
		return 0, os.ErrDeadlineExceeded
	}
	n, direct := in.collect(ds)
	if n == 0 {
		return 0, in.emptyError()
	}
	if !direct {
		in.clock.read() // credit goes by it
	}
	if err := in.acknowledge(n); err != nil {
		return 0, in.putBack(ds[:n], direct, err)
	}
	if !direct {
		in.dropFront(n)
	}
	if n = in.admit(ds[:n]); n == 0 {
		return 0, in.emptyError()
	}
	in.stats.received.Add(uint64(n))
	return n, nil
}

// collect stores in ds what may be acknowledged next, and returns how many that are: copies of what is queued, or, if
// direct, what it has read from the socket just now.
func (in *inbox) collect(ds []Desc) (n int, direct bool) {
	switch cut, over := in.cut.Load(), in.eof.Load(); {
	case in.pledged > 0:
		return in.copyQueue(ds[:min(len(ds), in.pledged)]), false
	case cut && over && !in.orphan:
		in.closeQueue() // the peer lives, and has taken them back
	case in.queue.len() > 0 && !cut:
		return in.copyQueue(ds), false
	case in.role.callers.Load() && !over && cut:
		in.readInto(nil)
	case in.role.callers.Load() && !over:
		return in.readInto(ds), true
	case cut && over:
		return in.copyQueue(ds), false
	}
	return 0, false
}

// putBack takes ds back, which could not be acknowledged because of err, and returns what to tell the caller of Recv.
// What was copied from the queue is still there.
func (in *inbox) putBack(ds []Desc, direct bool, err error) error {
	if direct {
		in.queue.prepend(ds)
		in.countQueue()
	}
	for i := range ds {
		ds[i] = Desc{Payload: ds[i].Payload[:0]}
	}
	if err == errCut {
		in.cut.Store(true)
		return nil
	}
	return err
}

// emptyError is what Recv returns when there is nothing to take; nil if it is to wait.
func (in *inbox) emptyError() error {
	switch {
	case in.p.closed.Load():
		return net.ErrClosed
	case in.eof.Load() && in.queue.len() == 0:
		return in.p.recvError()
	}
	if err := in.tableError(); err != nil {
		return err
	}
	if in.read.passed() {
		return os.ErrDeadlineExceeded
	}
	return nil
}

// copyQueue copies the oldest queued entries to ds. They stay queued until they are acknowledged.
func (in *inbox) copyQueue(ds []Desc) int {
	n := min(len(ds), in.queue.len())
	for i := range n {
		e := in.queue.at(i)
		ds[i] = Desc{FD: int(e.fd), Tag: e.tag, Shared: e.shared, Payload: append(ds[i].Payload[:0], e.payload()...)}
	}
	return n
}

// dropFront removes the n oldest queued entries, which the application has now.
func (in *inbox) dropFront(n int) {
	in.queue.drop(n)
	in.queueShrank()
}

// queueShrank publishes the length of the queue, and that places in it are free.
func (in *inbox) queueShrank() {
	in.countQueue()
	in.freed.Notify()
}

// countQueue publishes the length of the queue to those who do not hold mu.
func (in *inbox) countQueue() { in.queued.Store(int32(in.queue.len())) }

// closeQueue closes and removes what is queued, except what the peer knows to be the application's.
func (in *inbox) closeQueue() {
	if in.pledged > 0 {
		in.redeem(0)
	}
	in.queue.closeFrom(in.pledged)
	in.queueShrank()
}

// discard closes what the application will not get any more.
func (in *inbox) discard() {
	in.mu.Lock()
	defer in.mu.Unlock()
	in.eof.Store(true)
	if in.tick != nil {
		in.tick.Stop()
	}
	in.queue.close()
	in.queueShrank()
	in.partial.close()
}
