//go:build unix

package fastpass

import (
	"errors"
	"math"
	"os"
	"runtime"
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
	p         *Passer
	window    *ring.Window[entry]
	room      ring.Event  // for those who wait until the window has room, or is empty
	roomReady func() bool // hasRoom, bound once
	waiters   waiters
	roomy     atomic.Pointer[func()] // what else to call then: a pool's
	open      atomic.Bool            // the peer is there: it has said HELLO
	write     deadline

	closing  atomic.Bool // nothing more is queued
	shut     atomic.Bool // the window is shut, and rest of what was in it is undelivered
	rest     atomic.Int32
	payloads atomic.Bool  // some entry has had a payload
	closes   atomic.Bool  // some entry's copy was to be closed
	bytes    atomic.Int64 // of payloads that are in the window

	work    atomic.Int32  // calls of flush not answered yet; not 0: somebody has the role
	blocked atomic.Bool   // the kernel takes nothing at present
	wake    chan struct{} // tells the writer goroutine, which waits for the socket
	writer  sync.Once     // starts it

	mail mail // from the goroutine that reads the socket

	// The flusher's own.
	head, sent, end uint64 // positions in the window
	flow            flow.Sender
	batch, body     int // limits of a message, agreed with the peer
	isolate         int // this many descriptors go one per message, to find the one that the kernel refuses
	vectors         *vectorPool
	closer          sys.Closer
	pause           backoff // while the kernel is short of something
	retry           *time.Timer
	ended           bool

	// Acknowledgements in shared memory: see page.go.
	page  *page.Page // nil: there is none
	paged bool       // the peer uses it
	acked atomic.Uint64
	limit uint64
	looks looks

	// What sendSome works on.
	vector   *vector
	messages int

	refusals refusals
	stats    sendStats
}

func (o *outbox) init(p *Passer) {
	o.p = p
	o.window = ring.NewWindow[entry](p.cfg.Window)
	o.wake = make(chan struct{}, 1)
	o.closer.Kernel = p.kernel
	o.batch, o.body = p.cfg.Batch, p.cfg.maxBody()
	o.vectors = vectorsOf(p.cfg.Messages, o.body)
	o.pause = shortage
	o.roomReady = o.hasRoom
	o.waiters.moment = time.AfterFunc(moment, o.wakeContent)
	o.waiters.moment.Stop()
	if !p.framed() {
		o.flow.Open(math.MaxInt32)
		o.open.Store(true)
	}
}

// sendOne is send for one descriptor. If something is wrong with that, nothing is queued, and OnRefused is told nothing.
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
		if err := o.refusal(); err != nil {
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
			o.waitForRoom(len(ds) < handful)
		} else if o.flush(); !o.hasAnyRoom() { // it may have found acknowledgements
			return n, ErrFull
		}
	}
	return n, refused
}

// check says why d cannot be queued, as far as that can be told without asking the kernel.
func (o *outbox) check(d *Desc) error {
	if err := o.refusal(); err != nil {
		return err
	}
	return checkDesc(d, o.p.cfg.MaxPayload)
}

// refusal says why nothing can be queued; nil if it can.
func (o *outbox) refusal() error {
	switch {
	case o.closing.Load() || o.p.ending.Load() != nil:
		return o.p.sendError()
	case !o.p.cfg.sends():
		return errReceiveOnly
	case o.p.deaf.Load():
		return errDeaf
	}
	return nil
}

var (
	errReceiveOnly = errors.New("fastpass: this end only receives (Config.Direction)")
	errSendOnly    = errors.New("fastpass: this end only sends (Config.Direction)")
	errDeaf        = errors.New("fastpass: the peer only sends (its Config.Direction)")
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

// fitting returns how many of the first of ds have room as far as their payloads go, or what is wrong with the first one's.
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

// push queues the first of ds, as many as fit, and returns where they lie and how many they are, or what is wrong with the payload of
// the first one. A number that is none is queued with the others, and refused like one that is not open. It does not block. The entries
// are the flusher's once they are published.
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
	if s.alone && !o.looks.alone.Load() {
		o.looks.alone.Store(true) // whoever begins to look at other links from now on leaves this one alone
	}
	o.window.Publish(pos, n)
	return pos, n, nil
}

// disposal is what is to become of copies of descriptors that are queued.
type disposal struct {
	closes bool // some are to be closed
	alone  bool // of them, some not with CloseBriefly
}

// fill makes slots those of ds, which are as many, and adds what is to become of the copies. It reports whether pushOdd has to look at
// them: hardly ever, so nothing is called in this loop, and all that it needs stays in registers.
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

// flush has everything sent that can be sent now: by the caller, if nobody is at it, or else by the one who is, who
// sees the call counted and looks again before leaving.
func (o *outbox) flush() {
	if o.work.Add(1) == 1 {
		o.turn()
		o.leave()
	}
}

// leave gives up the flusher's role. For those who have called flush meanwhile the window is looked at first.
func (o *outbox) leave() {
	for seen := o.work.Add(-1); seen != 0; seen = o.work.Add(-seen) {
		o.turn()
	}
}

// answer is flush for the goroutine that has left something in the mail, if it has.
func (o *outbox) answer() {
	if o.mail.waiting.Load() {
		o.flush()
	}
}

// turn is one round of the flusher.
func (o *outbox) turn() {
	over := o.p.over.Load() && !o.p.unsaid.Load() // before the mail: what is over has put its last mail there
	if over && o.page != nil {
		o.page.Fence()
	}
	for again := true; again && !o.ended; again = !over && o.await() {
		o.readMail()
		// Once the link ends nothing is sent: it would be of no use, and might leave no room for BYE.
		for o.p.ending.Load() == nil && !o.blocked.Load() && o.sendSome() {
			o.readMail()
		}
	}
	if over && !o.ended {
		o.finish()
	}
}

// sendSome packs and sends what one system call takes of what is published by now, and reports whether it makes sense to go on. Whoever
// publishes more calls flush.
func (o *outbox) sendSome() bool {
	o.end = o.window.Published(o.end)
	if !o.maySend() {
		return false
	}
	o.vector = o.vectors.get()
	o.pack()
	cut := o.p.tail.waiting()
	took, errno := o.transmit()
	o.account(took)
	if cut && !o.p.tail.waiting() {
		o.notify() // somebody may wait for that
	}
	again := false
	if blamesOne(errno) {
		again = o.refuse(errno)
	} else {
		again = o.mayGoOn(errno)
	}
	o.vector.put()
	o.vector = nil
	return again && o.maySend()
}

// maySend reports whether there is something that may be sent now.
func (o *outbox) maySend() bool {
	return o.p.stream && o.p.tail.waiting() || o.sent != o.end && o.flow.Allowance() > 0
}

// transmit hands the packed messages to the socket, and returns how many it took.
func (o *outbox) transmit() (took int, errno syscall.Errno) {
	switch {
	case o.p.stream:
		return o.sendStream(o.p.socket)
	case o.messages > 0:
		return o.p.kernel.Send(o.p.socket, o.vector.Vector, o.messages)
	}
	return 0, 0
}

// sendStream hands the packed messages to a stream socket, behind what it took no more of.
func (o *outbox) sendStream(fd int) (took int, errno syscall.Errno) {
	t := &o.p.tail
	t.mu.Lock()
	defer t.mu.Unlock()
	if errno = t.send(o.p.kernel, fd); errno == 0 && o.messages > 0 {
		took, errno = o.p.kernel.Send(fd, o.vector.Vector, o.messages)
		if last := took - 1; last >= 0 {
			t.keep(o.vector.data[last][o.vector.Bytes(last):o.vector.lengths[last]])
		}
	}
	return took, errno
}

// count counts the messages in the vector that the kernel took, and returns how many descriptors are in them.
func (o *outbox) count(took int) (n int) {
	for i := range took {
		n += o.vector.counts[i]
		o.stats.batches.add(o.vector.counts[i])
	}
	o.stats.calls.Add(1)
	o.stats.sent.Add(uint64(n))
	return n
}

// account moves on behind the messages in the vector that the kernel took.
func (o *outbox) account(took int) {
	n := o.count(took)
	if took > 0 {
		o.sent = o.vector.ends[took-1]
	}
	o.flow.Sent(n)
	o.isolate = max(0, o.isolate-n)
	if !o.p.framed() {
		o.flow.Acked(flow.Ack{Seq: o.flow.Seq(), Credit: math.MaxInt32})
		o.release(n)
	}
}

// mayGoOn deals with what kept the kernel from taking more. It reports whether sending may go on.
func (o *outbox) mayGoOn(errno syscall.Errno) bool {
	switch errno {
	case 0:
		o.pause.reset()
		return true
	case syscall.EAGAIN:
		o.waitForSocket()
	case syscall.ETOOMANYREFS, syscall.ENOBUFS, syscall.ENOMEM, syscall.EMFILE, syscall.ENFILE:
		o.waitForKernel()
	case syscall.EPIPE, syscall.ECONNRESET, syscall.ENOTCONN, syscall.ECONNREFUSED:
		if !o.p.framed() {
			o.blocked.Store(true)
			o.p.fail(ErrPeerGone)
			return false
		}
		o.tryLater() // before that the pump reads what the peer said last, and the end
	case syscall.EPERM:
		o.blocked.Store(true)
		o.p.fail(errRightsRefused)
	default:
		o.blocked.Store(true)
		o.p.fail(os.NewSyscallError("sendmsg", errno))
	}
	return false
}

// blamesOne reports whether errno is what the kernel says of a single descriptor, not of the socket.
func blamesOne(errno syscall.Errno) bool {
	return errno == syscall.EBADF || errno == syscall.EINVAL || errno == syscall.E2BIG
}

// refuse deals with an error that one descriptor of the first message has caused: a message of one names it; a larger
// one is sent again in messages of one.
func (o *outbox) refuse(errno syscall.Errno) bool {
	if n := o.vector.counts[0]; n > 1 {
		o.isolate = n
		return true
	}
	pos := o.vector.ends[0] - 1
	e := &o.window.Slots(pos, 1)[0]
	for e.refused != 0 { // before; measure has passed over those that lie behind the one that was sent
		pos--
		e = &o.window.Slots(pos, 1)[0]
	}
	e.refused = uint8(errno)
	o.refusals.add(pos, e.refusal())
	o.sent = o.vector.ends[0]
	o.isolate = max(0, o.isolate-1)
	o.release(0)
	return true
}

// waitForSocket has the writer goroutine call unblock when the socket takes messages again.
func (o *outbox) waitForSocket() {
	o.stats.full.Add(1)
	o.blocked.Store(true)
	o.writer.Do(func() { go o.waitWritable() })
	select {
	case o.wake <- struct{}{}:
	default:
	}
}

func (o *outbox) waitWritable() {
	for {
		select {
		case <-o.wake:
		case <-o.p.done:
			return
		}
		// Nothing is sent from within: whoever flushes may find that it is the end, and close the socket.
		if o.p.waitWritable() != nil {
			return // closed
		}
		o.unblock()
	}
}

// waitForKernel calls unblock after a while: nothing announces the end of a shortage in the kernel.
func (o *outbox) waitForKernel() {
	o.stats.shortages.Add(1)
	o.tryLater()
}

func (o *outbox) tryLater() {
	o.blocked.Store(true)
	if pause := o.pause.next(); o.retry == nil {
		o.retry = time.AfterFunc(pause, o.unblock)
	} else {
		o.retry.Reset(pause)
	}
}

func (o *outbox) unblock() {
	o.blocked.Store(false)
	o.flush()
}

// release gives up the oldest n of those in flight, which have an owner elsewhere now: their copies are closed, and
// their slots given back. Refused entries that lie among them and directly behind go as well, but are not closed: they are the
// caller's.
func (o *outbox) release(n int) {
	if o.p.framed() {
		o.stats.acked.Add(uint64(n))
	}
	if o.alike() { // none to be passed over
		to := o.head + uint64(n)
		if o.closes.Load() {
			o.closeCopies(to)
		}
		o.releaseTo(to, 0)
		return
	}
	bytes := 0
	for pos := o.head; pos != o.sent; {
		slots := o.window.Slots(pos, int(o.sent-pos))
		for i := range slots {
			e := &slots[i]
			if n == 0 && e.refused == 0 {
				o.releaseTo(pos+uint64(i), bytes)
				return
			}
			if e.refused == 0 {
				n--
				if !e.keep {
					o.closer.Add(int(e.fd), e.brief)
				}
			}
			bytes += e.size()
			windowPayloads.drop(e)
		}
		pos += uint64(len(slots))
	}
	o.releaseTo(o.sent, bytes)
}

// closeCopies closes those of the slots before to that are not to be kept, all of which were delivered.
func (o *outbox) closeCopies(to uint64) {
	for pos := o.head; pos != to; {
		slots := o.window.Slots(pos, int(to-pos))
		for i := range slots {
			if e := &slots[i]; !e.keep {
				o.closer.Add(int(e.fd), e.brief)
			}
		}
		pos += uint64(len(slots))
	}
}

// releaseTo gives back the slots before to, which had payloads of so many bytes.
func (o *outbox) releaseTo(to uint64, bytes int) {
	from := o.head
	if from == to {
		return
	}
	o.closer.Flush()
	o.head = to
	if o.p.cfg.OnSent != nil || o.p.cfg.OnRefused != nil {
		for pos := from; pos != to; pos++ {
			o.callBack(&o.window.Slots(pos, 1)[0])
		}
	}
	if bytes > 0 {
		o.bytes.Add(int64(-bytes))
	}
	o.window.Release(to)
	o.notify()
}

// callBack tells the application what became of e.
func (o *outbox) callBack(e *entry) {
	d := Desc{FD: int(e.fd), Tag: e.tag, Keep: e.keep}
	if e.refused == 0 && o.p.cfg.OnSent != nil {
		o.p.cfg.OnSent(d)
	}
	if e.refused != 0 && o.p.cfg.OnRefused != nil {
		o.p.cfg.OnRefused(d, e.refusal())
	}
}

// finish is the flusher's last act, once nothing more can be acknowledged: it shuts the window for good, and hands
// everything that is in it back.
func (o *outbox) finish() {
	o.ended = true
	if o.retry != nil {
		o.retry.Stop()
	}
	if o.looks.by != nil {
		o.looks.by.forget(o)
	}
	// Whoever claims the last free slot has shut the window: what is never published is never released. What other
	// goroutines have claimed lies below, and they are about to publish it.
	end, _ := o.window.Claim(o.window.Cap())
	for o.end = o.window.Published(o.end); o.end != end; o.end = o.window.Published(o.end) {
		runtime.Gosched()
	}
	var ds []Desc
	for pos := o.head; pos != end; pos++ {
		e := &o.window.Slots(pos, 1)[0]
		if e.refused == 0 {
			ds = append(ds, e.desc())
		} else {
			o.callBack(e)
		}
		windowPayloads.drop(e)
	}
	o.p.leftover.put(ds)
	o.rest.Store(int32(len(ds)))
	o.shut.Store(true)
	o.p.finished()
}
