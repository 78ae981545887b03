//go:build unix

package fastpass

import (
	"fmt"
	"io"
	"net"
	"sync"
	"syscall"
	"time"

	"example.com/fdpass/internal/wire"
)

// ending is why a link ended.
type ending struct {
	err   error // nil: in order
	local bool  // by this end
	lives bool  // the peer does, though it is ErrPeerGone
}

// conclude notes why the link ends and fences the peer: from now on it can send nothing, and what it has sent stays
// readable. On a page it can still acknowledge until the flusher fences that, which is when all is read. The first
// reason stays.
func (p *Passer) conclude(e ending) {
	if !p.ending.CompareAndSwap(nil, &e) {
		return
	}
	p.fence()
	p.in.returnToPump()
	p.out.freed.Notify()
	p.in.arrived.Notify()
	p.in.freed.Notify()
	p.reaper.freed.Notify()
	p.in.peeks.freed.Notify()
}

// peerMayLive reports, once the link has ended, whether the peer may still have copies of what it has not acknowledged
// in its socket's queue. They are gone with a peer that is, or that has said goodbye.
func (p *Passer) peerMayLive() bool {
	e := p.ending.Load()
	return e == nil || e.local || e.lives || e.err != nil && e.err != ErrPeerGone
}

// fail ends the link because of err.
func (p *Passer) fail(err error) { p.conclude(ending{err: err}) }

// fence says BYE, for a peer that reads it late must learn that what it has not acknowledged is not its own, and then
// stops the peer from sending. What the peer has sent stays readable, and behind it the reader finds the end.
//
// A peer that finds the socket closed and no BYE takes this process for dead, and itself for the last owner of what it
// could not acknowledge. So until BYE is said nothing is given back: this process might be killed before it is.
//
// A Bare link has nothing to fence, and its socket may be shared with other processes: the reader is only told.
func (p *Passer) fence() {
	if !p.framed() {
		p.in.wakeReader()
		return
	}
	p.byeMu.Lock()
	defer p.byeMu.Unlock()
	p.saidBye = true
	said := p.sayBye()
	for raised := 0; !said && raised < mostRaises; raised++ {
		p.conn.Control(func(fd uintptr) { p.kernel.RaiseSendBuffer(int(fd)) })
		said = p.sayBye()
	}
	if !said {
		p.byePending.Store(true)
		go p.insist()
	}
	p.conn.Control(func(fd uintptr) { p.kernel.ShutdownRead(int(fd)) })
}

// mostRaises is how often the send buffer is raised for BYE, at least to twice its size each time. On a stream the rest
// of a frame goes first, and that may be many times as long as the buffer.
const mostRaises = 8

// sayBye reports whether BYE is said, or never can be. The caller holds byeMu.
func (p *Passer) sayBye() bool {
	var errno syscall.Errno
	if !p.byeSent {
		_, _, errno = p.writeFrame(byeFrame[:])
		p.byeSent = errno == 0
	}
	if errno == 0 && p.stream {
		errno = p.flushTail()
	}
	return errno != syscall.EAGAIN && !isMemoryShortage(errno)
}

// insist says BYE as soon as the kernel takes it. Where the peer acknowledges on a page it cannot take what the flusher
// fences there for its own, BYE or not: so that is only tried for a while.
func (p *Passer) insist() {
	pause := shortage
	for tries := 1; p.byePending.Load(); tries++ {
		time.Sleep(pause.next())
		p.byeMu.Lock()
		p.byePending.Store(!p.sayBye() && (tries < aSecond || !p.out.page.InUse()))
		p.byeMu.Unlock()
	}
	p.out.flush()
}

var byeFrame = func() (b [wire.HeaderSize]byte) {
	h := wire.Header{Type: wire.TypeBye}
	h.Put(b[:])
	return b
}()

// endAcks is called when nothing more can be acknowledged.
func (p *Passer) endAcks() {
	p.acksOver.Store(true)
	p.out.flush()
}

// endLink is the flusher's last word: it closes the socket. Until then its number may be used by whoever has the
// flusher's role, and by whoever reads, because endAcks is called only when the reader has come to the end, or has let
// go of inbox.mu. Others acquire the socket.
func (p *Passer) endLink() {
	if p.in.looker != nil {
		p.in.looker.Leave()
	}
	p.reaper.closeSocket(p.conn)
	p.in.read.end() // nobody waits any more, and there need not be a Close
	p.out.write.end()
	close(p.done)
	p.out.freed.Notify()
	p.in.arrived.Notify()
}

// sendError is why nothing can be sent any more.
func (p *Passer) sendError() error {
	switch e := p.ending.Load(); {
	case p.closed.Load() || e == nil || e.local:
		return net.ErrClosed
	case e.err == nil && !p.framed():
		return ErrPeerGone // killed, maybe: nobody says goodbye there
	case e.err == nil:
		return fmt.Errorf("%w, after saying goodbye", ErrPeerGone)
	default:
		return e.err
	}
}

// recvError is why nothing more comes.
func (p *Passer) recvError() error {
	switch e := p.ending.Load(); {
	case p.closed.Load() || e == nil || e.local:
		return net.ErrClosed
	case e.err == nil:
		return io.EOF
	default:
		return e.err
	}
}

// leftover holds what a link that has ended did not deliver, until the caller fetches it. It does not point to the
// Passer, so that it can outlive it.
type leftover struct {
	reaper *reaper // for close
	mu     sync.Mutex
	ds     []Desc
}

func (l *leftover) add(ds []Desc) {
	l.mu.Lock()
	l.ds = append(l.ds, ds...)
	l.mu.Unlock()
}

func (l *leftover) take() []Desc {
	l.mu.Lock()
	defer l.mu.Unlock()
	ds := l.ds
	l.ds = nil
	return ds
}

// handOut is take for the application: it has not asked for CloseBriefly, and may have them linger.
func (l *leftover) handOut() []Desc {
	ds := l.take()
	for i := range ds {
		ds[i].brief = false
	}
	return ds
}

func (l *leftover) close() {
	for _, d := range l.take() {
		if !d.Keep {
			l.reaper.add(int32(d.FD))
		}
	}
}
