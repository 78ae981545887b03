//go:build unix

package fastpass

import (
	"net"
	"os"
	"runtime"
	"sync"
	"time"

	"example.com/fdpass/internal/page"
	"example.com/fdpass/internal/sys"
)

// acceptBatch is how many descriptors a listener takes at a time. They count as taken by the application: a worker that
// is killed breaks those that it has not accepted.
const acceptBatch = 32

// netListener hands the descriptors that come over a link out as connections.
type netListener struct {
	p       *Passer
	trusted bool        // the peer could stop this process anyhow: see sys.Stream
	last    *lastCloser // nil: the link is Bare
	mu      sync.Mutex
	*acceptQueue
}

// acceptQueue is what a listener has taken and not handed out yet. It is acknowledged, so it is nobody else's. It does
// not point to the listener, so that it can outlive it.
type acceptQueue struct {
	reaper    *reaper // for close
	ds        [acceptBatch]Desc
	next      []Desc     // of ds
	openCount *page.Page // where connections are counted for the peer; nil: nowhere
}

// close closes what Accept will not hand out any more.
func (q *acceptQueue) close() {
	q.openCount.Opened(-len(q.next))
	for _, d := range q.next {
		if d.FD >= 0 {
			q.reaper.add(int32(d.FD))
		}
	}
}

// NetListener returns a listener whose connections are those that come over the link, each a *Conn, so that a server
// for connections serves them unchanged: http.Serve(p.NetListener(), handler). Descriptors that are no stream sockets
// are closed.
//
// Accept takes descriptors a few at a time, which are acknowledged together. It returns what Recv does when the link
// ends: io.EOF in order, ErrPeerGone if the peer died. Close closes the link, in order: what has been acknowledged is
// still handed out by Accept, before it fails with net.ErrClosed, so call it until then; all the rest remains the
// peer's. The example shows how a server drains that way. What Accept has not handed out when the garbage collector
// takes the listener is closed.
//
// Call NetListener once, and not Recv beside it: two listeners of one Passer take connections from each other.
//
// Connections of a Framed link are shut down when they are closed, like those that are Shared: the peer may still hold
// its copy. Up to 64 of them, and no more than a sixteenth of the table, stay open for up to 25 ms then, so that the peer
// closes its copies first: the last close takes a connection apart, and the front has enough to do. A duplicate that was
// made of such a Conn's descriptor is shut down with it. To pass a connection on, read what is left of its payload, call
// Conn.Std, and send a duplicate of the result's descriptor.
//
// A listening socket is no connection, though it is a stream socket: here, the server would close it and so shut it
// down for everybody. Receive it with Recv, make a listener with net.FileListener(os.NewFile(uintptr(d.FD), "")), and
// close that file.
//
// The first call in a process on Linux has its table of descriptors grow to 16,384, which may take some 20 ms:
// otherwise connections would wait as long each time that it doubles.
func (p *Passer) NetListener() net.Listener {
	sys.GrowTable()
	l := &netListener{p: p, trusted: p.mayStopUs(), acceptQueue: &acceptQueue{reaper: p.reaper}}
	if p.framed() {
		l.last = newLastCloser(p.reaper)
	}
	runtime.AddCleanup(l, (*acceptQueue).close, l.acceptQueue)
	return l
}

// mayStopUs reports whether the peer could stop this process anyhow. Both ends of a socketpair name the process that
// made it: if that is this one, the kernel does not say who has the other end, such as a worker that runs as another
// user.
func (p *Passer) mayStopUs() bool { return p.peer.PID != os.Getpid() && sameUserOrRoot(p.peer) == nil }

// Accept returns the next connection.
func (l *netListener) Accept() (net.Conn, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for {
		for len(l.next) > 0 {
			d := l.next[0]
			l.next[0].Payload = nil // it is the connection's now
			l.next = l.next[1:]
			if d.FD < 0 { // in a Bare link only, which has no page
				continue
			}
			brief := l.trusted && !d.Shared
			// The peer closes its copy when it has read the acknowledgement, and it may be busy until long after this
			// connection is closed: its client would wait for the end, and the peer would pay for it.
			d.Shared = d.Shared || l.p.framed()
			c, err := newConn(d, brief)
			if err != nil {
				c, err = l.tryAgain(d, brief, err)
			}
			if err == nil {
				c.openCount, c.last = l.openCount, l.last
				return c, nil
			}
			l.p.reaper.add(int32(d.FD))
			l.openCount.Opened(-1)
		}
		n, err := l.p.RecvBatch(l.ds[:])
		if n == 0 {
			return nil, err
		}
		l.next = l.ds[:n]
		l.count(n)
	}
}

// tryAgain waits while there is no other number for a connection that cannot keep the one with which it came. Once the
// link is closed, when it is still to be handed out, that is for about a second: somebody waits for the last ones.
func (l *netListener) tryAgain(d Desc, brief bool, err error) (c *Conn, _ error) {
	for pause, left := shortage, aSecond; isShortage(errnoOf(err)) && left > 0; {
		if l.p.closed.Load() {
			left--
		}
		time.Sleep(pause.next())
		c, err = newConn(d, brief)
	}
	return c, err
}

// count counts n connections that have come.
func (l *netListener) count(n int) {
	if l.openCount == nil {
		if l.openCount = l.p.openPage(); l.openCount == nil {
			return
		}
		n++ // from now on they are counted
	}
	l.openCount.Opened(n)
}

// Close closes the link.
func (l *netListener) Close() error { return l.p.Close() }

// Addr returns the address of the link's socket.
func (l *netListener) Addr() net.Addr { return l.p.conn.LocalAddr() }
