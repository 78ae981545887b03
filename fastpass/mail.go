//go:build unix

package fastpass

import (
	"sync"
	"sync/atomic"

	"example.com/fdpass/internal/flow"
	"example.com/fdpass/internal/wire"
)

// mail is what the goroutine that reads the socket leaves for the flusher. Acknowledgements are cumulative, so the last
// one stands for all before it, except that a request to resend stays until it is seen.
type mail struct {
	waiting atomic.Bool
	mu      sync.Mutex
	hello   *wire.Hello // nil: none has come since the flusher looked last
	batch   int         // with hello: the largest one that the peer takes
	ack     flow.Ack    // if acked
	acked   bool
}

func (m *mail) postHello(h *wire.Hello, batch int) {
	m.mu.Lock()
	m.hello, m.batch = h, batch
	m.waiting.Store(true)
	m.mu.Unlock()
}

func (m *mail) postAck(a flow.Ack) {
	m.mu.Lock()
	if m.acked && m.ack.Resend && !a.Resend {
		a.Resend, a.From = true, m.ack.From
	}
	m.ack, m.acked = a, true
	m.waiting.Store(true)
	m.mu.Unlock()
}

func (o *outbox) readMail() {
	var ack flow.Ack
	acked := false
	if o.mail.waiting.Load() {
		ack, acked = o.openMail()
	}
	if o.ended {
		return
	}
	if o.page != nil {
		acked = o.readPage(&ack) || acked && !o.paged
	}
	if !acked {
		return
	}
	taken, again, err := o.flow.Acked(ack)
	if err != nil {
		o.p.fail(protocolError("%v", err))
		return
	}
	o.release(taken)
	o.stats.resent.Add(uint64(again))
	for again > 0 {
		o.sent--
		if o.window.Slots(o.sent, 1)[0].refused == 0 {
			again--
		}
	}
}

// openMail takes in HELLO, and returns an acknowledgement if there is one.
func (o *outbox) openMail() (ack flow.Ack, acked bool) {
	o.mail.mu.Lock()
	hello, batch, ack, acked := o.mail.hello, o.mail.batch, o.mail.ack, o.mail.acked
	o.mail.hello, o.mail.acked = nil, false
	o.mail.waiting.Store(false)
	o.mail.mu.Unlock()
	if hello != nil && !o.ended {
		o.body = min(o.body, hello.MaxBody)
		o.batch = min(o.batch, batch, o.body/wire.RecordSize) // so that records alone always fit: see measure
		o.flow.Open(hello.Credit)
		o.established.Store(true)
		if o.p.peerSendOnly.Load() && o.onFreed.Load() != nil {
			o.p.fail(errPeerSendOnly) // it is no worker
		}
		o.freed.Notify() // also if the peer turns out to take nothing
		o.notify()
	}
	return ack, acked
}
