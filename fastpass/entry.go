//go:build unix

package fastpass

import "github.com/valyala/bytebufferpool"

// entry is a descriptor in the window of a sender, or in the queue of a receiver.
type entry struct {
	payload *bytebufferpool.ByteBuffer // nil: none
	tag     uint64
	fd      int32
	refused uint8 // errno with which the kernel would not pass it; not 0: it takes no part any more
	keep    bool  // leave fd open here
	brief   bool  // or close it with CloseBriefly
	shared  bool  // other processes may hold it a while longer
}

// set makes e that of d, but for the payload. It is inlined, and so is setPayload.
func (e *entry) set(d *Desc) {
	e.tag, e.fd, e.refused = d.Tag, int32(d.FD), 0
	e.keep, e.brief, e.shared = d.Keep, d.brief, d.Keep || d.Shared
}

// setPayload makes b the payload. Few have one: nothing is written then.
func (e *entry) setPayload(b []byte) {
	if len(b) > 0 || e.payload != nil {
		e.copyPayload(b)
	}
}

func (e *entry) copyPayload(b []byte) {
	if e.payload = nil; len(b) > 0 {
		e.payload = bytebufferpool.Get()
		e.payload.Set(b)
	}
}

func (e *entry) payloadBytes() []byte {
	if e.payload == nil {
		return nil
	}
	return e.payload.B
}

func (e *entry) dropPayload() {
	if e.payload != nil {
		bytebufferpool.Put(e.payload)
		e.payload = nil
	}
}

// desc returns the entry with a payload of the caller's own.
func (e *entry) desc() Desc {
	return Desc{
		FD: int(e.fd), Tag: e.tag, Keep: e.keep, Shared: e.shared && !e.keep,
		Payload: append([]byte(nil), e.payloadBytes()...),
	}
}

// queue is a FIFO of entries that grows to what it once held, and stays.
type queue struct {
	reaper  *reaper // for close
	ring    []entry // its length is a power of two, or 0
	head, n int
}

func (q *queue) len() int { return q.n }

// at returns the i-th oldest entry.
func (q *queue) at(i int) *entry { return &q.ring[(q.head+i)&(len(q.ring)-1)] }

// add appends an entry and returns it for the caller to fill.
func (q *queue) add() *entry {
	if q.n == len(q.ring) {
		grown := make([]entry, max(2*len(q.ring), 64))
		for i := range q.n {
			grown[i] = *q.at(i)
		}
		q.ring, q.head = grown, 0
	}
	q.n++
	return q.at(q.n - 1)
}

// push appends d, with a copy of its payload.
func (q *queue) push(d *Desc) {
	e := q.add()
	e.set(d)
	e.setPayload(d.Payload)
}

// drop removes the n oldest entries and returns their payload buffers.
func (q *queue) drop(n int) {
	for i := range n {
		q.at(i).dropPayload()
	}
	q.head, q.n = q.head+n, q.n-n
	if len(q.ring) > 0 {
		q.head &= len(q.ring) - 1
	}
}

// prepend puts ds in front of what is queued, with their payloads.
func (q *queue) prepend(ds []Desc) {
	for range ds {
		q.add()
	}
	for i := q.n - 1; i >= len(ds); i-- {
		*q.at(i) = *q.at(i - len(ds))
	}
	for i := range ds {
		e := q.at(i)
		e.set(&ds[i])
		e.setPayload(ds[i].Payload)
	}
}

// close closes and removes everything that is queued.
func (q *queue) close() { q.closeFrom(0) }

// closeFrom closes and removes everything but the first n.
func (q *queue) closeFrom(n int) {
	for i := n; i < q.n; i++ {
		e := q.at(i)
		if e.fd >= 0 {
			q.reaper.add(e.fd)
		}
		e.dropPayload()
	}
	q.n = min(q.n, n)
}
