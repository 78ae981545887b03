//go:build unix

package fastpass

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"runtime"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"example.com/fdpass/internal/sys"

	"golang.org/x/sys/unix"
)

// Passer is one end of a link over which descriptors are passed. All its methods may be called from any number of
// goroutines.
//
// A Passer ends when Close or Shutdown is called here, when the peer ends, or when an error ends the link; Done is
// closed then. Undelivered then returns what was sent and has no owner elsewhere; descriptors that are not fetched
// there are closed when the Passer is garbage collected.
type Passer struct {
	cfg    Config
	kernel sys.Kernel
	conn   sys.Conn
	socket int  // the descriptor of conn; endLink says which goroutines may use it
	stream bool // SOCK_STREAM: messages may be taken in part
	peer   Credentials

	writable func(fd uintptr) bool // for waiting with conn.Write
	vectors  *vectorPool           // of the shape that this link needs, for both directions

	byeMu   sync.Mutex // held while BYE or an acknowledgement is sent
	saidBye bool       // the peer looks at no acknowledgement any more
	byeSent bool       // at least its first byte

	out  outbox
	in   inbox
	tail tail

	ending       atomic.Pointer[ending] // why the link ended; the first reason stays
	closed       atomic.Bool            // Close or Shutdown was called
	acksOver     atomic.Bool            // nothing can be acknowledged any more
	peerSendOnly atomic.Bool            // the peer takes no descriptors
	byePending   atomic.Bool            // BYE has to wait, and the end with it
	done         chan struct{}
	settled      chan struct{} // Close has closed all that it closes
	leftover     *leftover
	reaper       *reaper
}

// New makes c one end of a link, and takes c over, even if it fails: c is closed, and the socket lives on in the link,
// by a duplicate of its descriptor (without room for one c itself remains open there). The other end must be made with
// the same Protocol. It does not block. A nil cfg means defaults.
//
// Errors: a value in cfg that is out of range; c is a datagram socket; net.ErrClosed if c is closed; the error of a
// system call.
func New(c *net.UnixConn, cfg *Config) (*Passer, error) {
	p, err := newPasser(c, cfg)
	if err != nil {
		closeSocket(c)
		return nil, err
	}
	if err := p.start(); err != nil {
		closeSocket(p.conn)
		return nil, err
	}
	if p.cfg.sends() {
		go p.in.pump()
	}
	return p, nil
}

// newPasser looks at c and puts a link over it together.
func newPasser(c *net.UnixConn, cfg *Config) (*Passer, error) {
	full, err := cfg.withDefaults(sys.System.SoftLimit())
	if err != nil {
		return nil, err
	}
	raw, err := c.SyscallConn()
	if err != nil {
		return nil, fmt.Errorf("fastpass: %w", err)
	}
	var kind int
	if cerr := raw.Control(func(fd uintptr) {
		socket := int(fd)
		if kind, err = sys.SocketType(socket); err == nil {
			full.refuseRights(socket)
		}
		sys.EnlargeBuffers(socket)
		if full.Protocol == Framed {
			sys.KeepRaisable(socket) // for fence
		}
	}); cerr != nil {
		return nil, fmt.Errorf("fastpass: %w", cerr)
	}
	switch {
	case err != nil:
		return nil, fmt.Errorf("fastpass: %w", os.NewSyscallError("getsockopt", err))
	case kind == unix.SOCK_DGRAM:
		return nil, errors.New("fastpass: a datagram socket has no end that could be noticed; use unix or unixpacket")
	}
	c.SetDeadline(time.Time{})
	creds, _ := credentialsOf(c) // -1 where the system does not tell
	own, socket := sys.Own(c, raw, !full.receives())
	p := assemble(sys.System, own, socket, kind == unix.SOCK_STREAM, full)
	p.peer = creds
	return p, nil
}

// assemble puts a link together over c, whose number for the socket is given.
func assemble(k sys.Kernel, c sys.Conn, socket int, stream bool, cfg Config) *Passer {
	p := &Passer{
		cfg: cfg, kernel: k, conn: c, socket: socket, stream: stream,
		done: make(chan struct{}), settled: make(chan struct{}), reaper: newReaper(k),
	}
	p.leftover = &leftover{reaper: p.reaper}
	p.vectors = vectorsOf(cfg.Messages, cfg.maxBody())
	p.writable = func(fd uintptr) bool { return k.Writable(int(fd)) }
	p.out.init(p)
	p.in.init(p)
	return p
}

// start says HELLO.
func (p *Passer) start() error {
	if p.framed() {
		if errno := p.sayHello(); errno != 0 && errno != syscall.EPIPE && errno != syscall.ECONNRESET {
			return fmt.Errorf("fastpass: sending HELLO: %w", os.NewSyscallError("sendmsg", errno))
		}
		p.in.watchCredit()
	}
	runtime.AddCleanup(p, (*leftover).close, p.leftover)
	runtime.AddCleanup(p, (*queue).close, p.in.queue)
	runtime.AddCleanup(p, (*partialFrame).close, p.in.partial)
	if p.in.looker != nil {
		runtime.AddCleanup(p, (*sys.Looker).Leave, p.in.looker)
	}
	return nil
}

// Send queues d and has it sent. It blocks while the window is full, until the write deadline. On success the
// descriptor belongs to the library, which closes it once it is delivered unless d.Keep; on error to the caller.
//
// Success does not mean that the peer has it yet: see Config.OnSent and Undelivered. Of concurrent calls of Send,
// TrySend, SendBatch and Flush one is the flusher: until nothing is left that the socket takes, it also sends what the
// others queue, and runs OnSent for it. The others do not wait for that.
//
// A descriptor that the kernel refuses, because the number is not open, say, is the caller's again. Config.OnRefused is
// told of every such descriptor; the error of Send tells the same, if it is known by then. So if OnRefused is set,
// release what the kernel has refused there, and nowhere else.
//
// Errors: net.ErrClosed, os.ErrDeadlineExceeded, ErrPeerGone, ErrProtocol; on an end that only receives, and to a peer
// that only sends, one that says so (it wraps syscall.EPERM where the kernel refused: see Config.Direction); a
// *DescError for a descriptor that cannot be sent: the number is not open, or the payload is longer than
// Config.MaxPayload, which is found before anything is sent, and of which OnRefused is not told.
func (p *Passer) Send(d Desc) error {
	return p.out.sendOne(d, true)
}

// TrySend is Send that does not wait for room: ErrFull means that the window is full. It never waits for the socket,
// but it may work for others: as the flusher it sends, like Send, what they queue meanwhile, and runs OnSent for it. It
// may also close copies that the peer has acknowledged, which takes long only where the receiver has set SO_LINGER;
// Keep rules that out.
func (p *Passer) TrySend(d Desc) error {
	return p.out.sendOne(d, false)
}

// Push queues d and sends nothing: Flush does, or the next Send, or the link itself when it has something to do anyway,
// such as at the peer's HELLO. It does not wait: ErrFull means that the window is full. Ownership and errors are those
// of Send.
func (p *Passer) Push(d Desc) error {
	if err := p.out.check(&d); err != nil {
		return err
	}
	ds := [1]Desc{d}
	_, n, err := p.out.push(ds[:])
	if p.out.closing.Load() {
		p.out.flushLightly() // Shutdown may have flushed before this was queued, and waits for it
	} else if f := p.out.onFreed.Load(); f != nil {
		if !p.out.hasRoom(false) {
			p.out.flushLightly() // a pool has a link send once it has given it something, for which there is no room
		}
		(*f)() // Shutdown of the pool may wait for it as well
	}
	if n == 0 && err == nil {
		return p.out.fullError()
	}
	return err
}

// SendBatch is Send for many: all of ds go in order, and next to each other as far as there is room for them, in the
// window or, on a Bare link where nothing waits, in the socket. The first n belong to the library now, whatever the
// error, which is a *BatchError if n < len(ds), and wraps one of those that Send returns.
//
// With n == len(ds) a *DescError tells of the first descriptor that was refused, a negative number for example (of a
// later one, if more than 64 were); the others are on their way. OnRefused is told of each of them. Those that were
// refused are the caller's again: as with Send, if OnRefused is set, release them there and nowhere else.
func (p *Passer) SendBatch(ds []Desc) (n int, err error) {
	n, err = p.out.send(ds, true)
	if n < len(ds) {
		err = &BatchError{n, err}
	}
	return n, err
}

// Flush has everything sent that is queued, as far as the socket and the peer's credit allow now; what remains goes by
// itself later. It does not wait for the socket, but it may work for others, as TrySend may. A call without need does
// no harm.
//
// Errors: none while the link lives; after its end the one that Send returns then, such as net.ErrClosed or
// ErrPeerGone.
func (p *Passer) Flush() error {
	p.out.flush()
	if p.ending.Load() != nil {
		return p.sendError()
	}
	return nil
}

// Recv returns the next descriptor, which is the caller's from then on. It blocks until one comes, until the read
// deadline or until the link ends. Framed links acknowledge each call, so RecvBatch is the faster way to receive many.
//
// Errors: io.EOF after an orderly end, ErrPeerGone if the peer died, ErrProtocol, net.ErrClosed,
// os.ErrDeadlineExceeded; on an end that only sends, one that says so. Bare: syscall.EMFILE if RLIMIT_NOFILE can never
// hold the next message, which stays queued: raise the limit and call again. On systems other than Linux, where a
// message cannot be inspected first, that is returned whenever the limit is below 253 and a few more.
func (p *Passer) Recv() (Desc, error) {
	var d Desc
	_, err := p.in.recv(nil, &d)
	return d, err
}

// RecvBatch is Recv for many: it waits for at least one, and stores what has come, at most len(ds), in the first n of
// ds. Payloads are appended to ds[i].Payload[:0]. If ds is empty it returns 0, nil at once. Otherwise it blocks as Recv
// does, and returns the same errors, with n == 0.
func (p *Passer) RecvBatch(ds []Desc) (n int, err error) {
	if len(ds) == 0 {
		return 0, nil
	}
	return p.in.recv(ds, nil)
}

// SetDeadline is SetReadDeadline and SetWriteDeadline. After Close or Shutdown it returns net.ErrClosed, and nil after
// another end.
func (p *Passer) SetDeadline(t time.Time) error {
	if err := p.SetReadDeadline(t); err != nil {
		return err
	}
	return p.SetWriteDeadline(t)
}

// SetReadDeadline sets the deadline of Recv and RecvBatch, also of calls that wait already. After it they fail with
// os.ErrDeadlineExceeded. A zero time means none. Errors are those of SetDeadline.
func (p *Passer) SetReadDeadline(t time.Time) error {
	if p.closed.Load() {
		return net.ErrClosed
	}
	p.in.read.reset(t, p.in.kick)
	return nil
}

// SetWriteDeadline sets the deadline of Send and SendBatch, also of calls that wait already. After it they fail with
// os.ErrDeadlineExceeded. A zero time means none. Errors are those of SetDeadline.
func (p *Passer) SetWriteDeadline(t time.Time) error {
	if p.closed.Load() {
		return net.ErrClosed
	}
	p.out.write.reset(t, p.out.freed.Notify)
	return nil
}

// Shutdown delivers what is queued, says goodbye and closes the link. It blocks until the peer has acknowledged
// everything (Framed) or the kernel has taken it (Bare), until ctx is done, or until the link ends. From the start of
// the call sending fails with net.ErrClosed.
//
// In any case the link is closed when it returns, as by Close, which may take longer than ctx for the same reasons.
// Unless everything was delivered, the error says why: that of ctx, or what Send returns when the link has ended;
// Undelivered then returns the rest, with what a concurrent Send has still queued. For a link that was closed before,
// the error is net.ErrClosed.
func (p *Passer) Shutdown(ctx context.Context) error {
	p.out.closing.Store(true)
	stop := context.AfterFunc(ctx, p.out.freed.Notify)
	defer stop()
	p.out.freed.Notify()
	p.out.flush()
	p.in.returnToPump()
	p.out.freed.Wait(func() bool {
		return p.out.drained() || p.peerSendOnly.Load() || p.ending.Load() != nil || ctx.Err() != nil
	})
	why := ctx.Err()
	switch {
	case p.ending.Load() != nil:
		why = p.sendError()
	case p.peerSendOnly.Load():
		why = errPeerSendOnly
	}
	err := p.Close()
	<-p.settled                        // where somebody else has called Close it may have returned before that
	if err != nil || p.out.drained() { // the last acknowledgements may only have been read by now
		return err
	}
	if why == nil { // a Send beside it has queued something at the last moment
		why = net.ErrClosed
	}
	return why
}

// Close ends the link at once, in an orderly way as the peer sees it. It waits until all calls have let go of the link:
// those that wait return net.ErrClosed. Undelivered then returns what the peer has not acknowledged.
//
// The socket is closed, and so are descriptors that have come and were not taken with Recv. Close waits for that a
// second at most: a peer can make closing take longer, and then it goes on in the background. It does wait for this
// end's copy of a descriptor that the peer has acknowledged and made linger (SO_LINGER), if that is just being closed;
// Keep rules that out. Closing twice returns net.ErrClosed.
func (p *Passer) Close() error {
	if p.closed.Swap(true) {
		return net.ErrClosed
	}
	p.out.closing.Store(true)
	p.conclude(ending{local: true})
	p.in.read.stop()
	p.out.write.stop()
	if !p.cfg.sends() {
		p.in.kick()
		p.in.mu.Lock() // the reader has left
		p.endAcks()
		p.in.mu.Unlock()
	} else if !p.framed() {
		p.in.wakeReader() // the link may have ended before, and the pump still read what the peer left
		p.in.freed.Notify()
	}
	<-p.done
	p.in.discard()
	var peeks sync.WaitGroup
	if p.in.peeks.pending.Load() > 0 {
		peeks.Go(p.in.peeks.settle) // beside: a second at most for both
	}
	p.reaper.settle()
	peeks.Wait()
	close(p.settled)
	return nil
}

// Done returns a channel that is closed when the link has ended, and Err and Undelivered are settled. An end that only
// receives learns of the peer's end from Recv.
func (p *Passer) Done() <-chan struct{} { return p.done }

// Err returns why the link ended: nil if it has not, or in an orderly way.
func (p *Passer) Err() error {
	if e := p.ending.Load(); e != nil {
		return e.err
	}
	return nil
}

// Undelivered returns, after Done, the descriptors that no receiver's application has, in order; they are the caller's
// now. Each is returned once; before Done the result is nil. Tag, Payload (a copy) and Keep are as they were sent;
// Shared is also true for what a peer that may live may still have a copy of. So they can be sent again as they are. It
// does not block. If the link is in a Pool, that takes them: leave it to the pool.
func (p *Passer) Undelivered() []Desc {
	select {
	case <-p.done:
		return p.leftover.handOut()
	default:
		return nil
	}
}

// Peer returns the credentials of the process at the other end, as they were when it connected or made the pair: after
// Pair and Spawn that is this process itself, so it is exec.Cmd that knows the child.
func (p *Passer) Peer() Credentials { return p.peer }

// Stats returns the link's counts so far.
func (p *Passer) Stats() Stats {
	o, in := &p.out.stats, &p.in.stats
	return Stats{
		Implementation: sys.Implementation,
		Sent:           o.sent.Load(), Delivered: p.out.delivered(), Resent: o.resent.Load(),
		Refused: p.out.refusals.total.Load(), Queued: p.out.pending(),
		Received: in.received.Load(), Rejected: in.rejected.Load(), Truncated: in.truncated.Load(), Lost: in.lost.Load(),
		SendCalls: o.calls.Load(), RecvCalls: in.calls.Load(),
		Full: o.full.Load(), Shortages: o.shortages.Load(),
		SentBatches: o.batches.load(), ReceivedBatches: in.batches.load(),
	}
}

// SyscallConn gives access to the socket itself, for socket options. Reading or writing breaks a Framed link. After the
// link's end the methods of the result return an error.
//
// Keep SO_SNDBUF of a Framed link well below the system's maximum (net.core.wmem_max), at most half of it: the buffer
// is raised for the goodbye, or there may be no room for that when the peer takes nothing.
func (p *Passer) SyscallConn() (syscall.RawConn, error) { return p.conn.SyscallConn() }

// writeFrame sends a frame without descriptors, and returns how many of its bytes the socket took; for gone see
// tail.write.
func (p *Passer) writeFrame(frame []byte) (n int, gone uint64, errno syscall.Errno) {
	if !p.conn.Acquire() {
		return 0, 0, syscall.EPIPE
	}
	defer p.conn.Release()
	if p.stream {
		return p.tail.write(p.kernel, p.socket, frame)
	}
	n, errno = p.kernel.Write(p.socket, frame)
	return n, 0, errno
}

// flushTail sends what a stream socket took no more of, and returns 0 once it is all gone.
func (p *Passer) flushTail() syscall.Errno {
	if !p.conn.Acquire() {
		return syscall.EPIPE
	}
	defer p.conn.Release()
	return p.tail.flush(p.kernel, p.socket)
}

// waitWritable waits until the socket might take a message, or until the write deadline of conn is moved, which
// only tells the waiter to look around.
func (p *Passer) waitWritable() error {
	err := p.conn.Write(p.writable)
	if errors.Is(err, os.ErrDeadlineExceeded) {
		err = p.conn.SetWriteDeadline(time.Time{})
		if p.in.blocked.Load() > 0 && (p.in.read.passed() || p.closed.Load()) {
			p.conn.SetWriteDeadline(longAgo) // they wait one behind the other: the next one is to look around, too
		}
	}
	return err
}

// expectsAcks reports whether the peer acknowledges what this end sends, as far as is known.
func (p *Passer) expectsAcks() bool { return p.cfg.sends() && !p.peerSendOnly.Load() }

func (p *Passer) framed() bool { return p.cfg.Protocol == Framed }
