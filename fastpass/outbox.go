//go:build unix

package fastpass

import (
	"errors"
	"math"
	"os"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"example.com/fdpass/internal/flow"
	"example.com/fdpass/internal/page"
	"example.com/fdpass/internal/sys"
	"example.com/fdpass/ring"

	"github.com/valyala/bytebufferpool"
)

// outbox is the sending half of a link. Any goroutine pushes into the window; the flusher, whichever goroutine has
// that role at the moment, takes entries on from there. The window is the queue and the resend list in one:
//
//	head            sent            end                tail
//	  |  in flight   |    queued     |  being pushed    |
type outbox struct {
	p           *Passer
	window      *ring.Window[entry]
	freed       ring.Event  // slots of the window: for those who wait until it has room, or is empty
	ready       func() bool // sendReady for who has a payload to send, bound once
	readyPlain  func() bool // and for who has none
	carryOn     func()      // finish, bound once, for a goroutine of its own
	waiters     waiters
	onFreed     atomic.Pointer[func()] // what else to call when slots are freed: member.nudge
	releases    atomic.Uint64          // in a pool, how often release and releaseDirectly have begun and ended; odd: one is at it
	established atomic.Bool            // the peer is there: it has said HELLO
	write       deadline

	awaited  atomic.Bool // the pool's Shutdown waits until all is delivered
	closing  atomic.Bool // nothing more is queued
	shut     atomic.Bool // the window is shut, and rest of what was in it is undelivered
	rest     atomic.Int32
	payloads atomic.Bool  // some entry has had a payload
	closes   atomic.Bool  // some entry's copy was to be closed
	bytes    atomic.Int64 // of payloads that are in the window

	work    atomic.Int64  // calls of flush not answered yet; not 0: somebody has the role
	blocked atomic.Bool   // the kernel takes nothing at present
	wake    chan struct{} // tells the writer goroutine, which waits for the socket
	writer  sync.Once     // starts it

	mail mail // from the goroutine that reads the socket

	// The flusher's own.
	sent, end   uint64 // positions in the window; head is Window.Head
	flow        flow.Sender
	batch, body int // limits of a message, agreed with the peer
	isolate     int // this many descriptors go one per message, to find the one that the kernel refuses
	closer      sys.Closer
	pause       backoff // while the kernel is short of something
	goneFor     int     // how often in a row the kernel has said that the peer is gone
	retry       *time.Timer
	ended       bool
	light       bool // nothing may take long: see flushLightly

	// Acknowledgements in shared memory: see page.go.
	page  *page.Page // nil: there is none
	paged bool       // the peer uses it
	acked atomic.Uint64
	limit uint64
	polls ackPolls

	refusals refusals
	stats    sendStats
}

func (o *outbox) init(p *Passer) {
	o.p = p
	o.window = ring.NewWindow[entry](p.cfg.Window)
	o.wake = make(chan struct{}, 1)
	o.closer.Kernel = p.kernel
	o.batch, o.body = min(p.cfg.Batch, sys.MaxRights), p.cfg.maxBody()
	o.pause = shortage
	o.ready = func() bool { return o.sendReady(false) }
	o.readyPlain = func() bool { return o.sendReady(true) }
	o.carryOn = o.finish
	o.waiters.moment = time.AfterFunc(moment, o.wakeContent)
	o.waiters.moment.Stop()
	if !p.framed() {
		o.flow.Open(math.MaxInt32)
		o.established.Store(true)
	}
}

// sendOne is send for one descriptor. If something is wrong with that, nothing is queued, and OnRefused is told
// nothing.
func (o *outbox) sendOne(d Desc, wait bool) error {
	if checkDesc(&d, o.p.cfg.MaxPayload) != nil {
		return o.check(&d) // what is wrong with the link comes first
	}
	ds := [1]Desc{d}
	_, err := o.send(ds[:], wait)
	return err
}

// send queues ds and has them sent. It returns how many the library owns now.
func (o *outbox) send(ds []Desc, wait bool) (n int, err error) {
	var refused error
	for n < len(ds) {
		if err := o.closedError(); err != nil {
			return n, err
		}
		if wait && o.write.passed() {
			return n, os.ErrDeadlineExceeded
		}
		if k := o.sendDirectly(ds[n:]); k > 0 || o.p.ending.Load() != nil {
			n += k
			continue
		}
		pos, k, bad := o.push(ds[n:])
		if bad != nil {
			return n, bad
		}
		if k > 0 {
			o.flush()
			n += k
			if refused == nil {
				refused = o.refusals.find(pos, k)
			}
			continue
		}
		if wait {
			o.waitForRoom(len(ds) < largeBatch, len(ds[n].Payload) == 0)
		} else if o.flush(); !o.hasRoom(len(ds[n].Payload) == 0) { // it may have found acknowledgements
			return n, o.fullError()
		}
	}
	return n, refused
}

// check says why d cannot be queued, as far as that can be told without asking the kernel.
func (o *outbox) check(d *Desc) error {
	if err := o.closedError(); err != nil {
		return err
	}
	return checkDesc(d, o.p.cfg.MaxPayload)
}

// closedError says why nothing can be queued; nil if it can.
func (o *outbox) closedError() error {
	switch {
	case o.closing.Load() || o.p.ending.Load() != nil:
		return o.p.sendError()
	case !o.p.cfg.sends():
		return errReceiveOnly
	case o.p.peerSendOnly.Load():
		return errPeerSendOnly
	}
	return nil
}

// fullError says why there is no room: a window that the end of the link has shut meanwhile looks full.
func (o *outbox) fullError() error {
	if err := o.closedError(); err != nil {
		return err
	}
	return ErrFull
}

var (
	errReceiveOnly  = errors.New("fastpass: this end only receives (Config.Direction)")
	errSendOnly     = errors.New("fastpass: this end only sends (Config.Direction)")
	errPeerSendOnly = errors.New("fastpass: the peer only sends (its Config.Direction)")
)

// pending is how many entries are queued or unacknowledged.
func (o *outbox) pending() int {
	if o.shut.Load() {
		return int(o.rest.Load())
	}
	return o.window.Len()
}

// drained reports whether all is delivered, down to the last byte of a payload that a stream socket has taken in part.
func (o *outbox) drained() bool { return o.pending() == 0 && (o.p.framed() || !o.p.tail.waiting()) }

// delivered is how many descriptors have a new owner, as far as is seen.
func (o *outbox) delivered() uint64 {
	if o.p.framed() {
		return o.stats.acked.Load()
	}
	return o.stats.sent.Load()
}

// maxQueuedBytes is how many bytes of payloads may be in the window: more than the socket holds, and no more than a
// processor's cache does. The last payload may exceed it.
const maxQueuedBytes = 512 << 10

// fitting returns how many of the first of ds have room as far as their payloads go, or what is wrong with the first
// one's.
func (o *outbox) fitting(ds []Desc) (int, error) {
	most, bytes := o.p.cfg.MaxPayload, o.bytes.Load()
	for i := range ds {
		n := len(ds[i].Payload)
		if n == 0 {
			continue
		}
		if n > most && i == 0 {
			return 0, checkPayload(&ds[0], most)
		}
		if n > most || bytes >= maxQueuedBytes {
			return i, nil
		}
		bytes += int64(n)
	}
	return len(ds), nil
}

// push queues the first of ds, as many as fit, and returns where they lie and how many they are, or what is wrong with
// the payload of the first one. A number that is none is queued with the others, and refused like one that is not open.
// It does not block. The entries are the flusher's once they are published.
func (o *outbox) push(ds []Desc) (pos uint64, n int, err error) {
	fit, err := o.fitting(ds)
	if err != nil {
		return 0, 0, err
	}
	pos, n = o.window.Claim(fit)
	var s disposal
	for i := 0; i < n; {
		slots := o.window.Slots(pos+uint64(i), n-i)
		run := ds[i:][:len(slots)]
		if s.fill(slots, run) {
			o.pushOdd(pos+uint64(i), slots, run)
		}
		i += len(slots)
	}
	if s.closes && !o.closes.Load() {
		o.closes.Store(true)
	}
	if s.alone && !o.polls.alone.Load() {
		o.polls.alone.Store(true) // whoever begins to poll other links from now on leaves this one alone
	}
	o.window.Publish(pos, n)
	return pos, n, nil
}

// disposal is what is to become of copies of descriptors that are queued.
type disposal struct {
	closes bool // some are to be closed
	alone  bool // of them, some not with CloseBriefly
}

// fill makes slots those of ds, which are as many, and adds what is to become of the copies. It reports whether pushOdd
// has to look at them: hardly ever, so nothing is called in this loop, and all that it needs stays in registers.
func (s *disposal) fill(slots []entry, ds []Desc) (odd bool) {
	numbers, bytes := 0, 0 // bits that any of them has
	sum := *s
	ds = ds[:len(slots)]
	for i := range slots {
		d, e := &ds[i], &slots[i]
		e.set(d)
		numbers |= d.FD
		bytes |= len(d.Payload)
		if !d.Keep {
			sum.closes = true
			if !d.brief {
				sum.alone = true
			}
		}
	}
	*s = sum
	return !isNumber(numbers) || bytes != 0
}

// pushOdd takes in the payloads of ds, and what is no number, for the slots from pos on.
func (o *outbox) pushOdd(pos uint64, slots []entry, ds []Desc) {
	bytes := 0
	var buffer *bytebufferpool.ByteBuffer
	for i := range slots {
		d, e := &ds[i], &slots[i]
		buffer = windowPayloads.add(e, buffer, d.Payload)
		bytes += len(d.Payload)
		if !isNumber(d.FD) {
			e.fd, e.refused = min(e.fd, -1), uint8(syscall.EBADF) // never the number of another one
			o.refusals.add(pos+uint64(i), &DescError{d.FD, syscall.EBADF})
		}
	}
	if bytes > 0 {
		o.bytes.Add(int64(bytes)) // before the flusher can release them
		o.payloads.Store(true)
	}
}
