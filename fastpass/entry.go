//go:build unix

package fastpass

import "github.com/valyala/bytebufferpool"

// entry is a descriptor in the window of a sender, or in the queue of a receiver.
type entry struct {
	buffer  *bytebufferpool.ByteBuffer // with the payload; nil: there is none
	tag     uint64
	fd      int32
	to      uint32 // where in buffer the payload ends
	from    uint16 // and begins: it is full before that is more
	client  uint16 // as in Desc
	refused uint8  // errno with which the kernel would not pass it; not 0: it takes no part any more
	keep    bool   // leave fd open here
	brief   bool   // or close it with CloseBriefly
	shared  bool   // other processes may hold it a while longer
}

// set makes e that of d, but for the payload. It is inlined.
func (e *entry) set(d *Desc) {
	e.tag, e.fd, e.refused, e.client = d.Tag, int32(d.FD), 0, d.client
	e.keep, e.brief, e.shared = d.Keep, d.brief, d.Keep || d.Shared
}

// payloadPool is a pool of the buffers in which payloads lie. Those of entries that are added in a run share buffers,
// to be had and given back once for many of them: the entry whose payload is the last in a buffer gives it back. So a
// run is dropped in its order.
type payloadPool struct{ pool bytebufferpool.Pool }

// A bytebufferpool keeps what is of the usual size, so runs in windows, and queues, where each payload has a buffer,
// have one each.
var windowPayloads, queuePayloads payloadPool

// fullBuffer is how many bytes of payloads are enough for a buffer.
const fullBuffer = 32 << 10

// add makes a copy of p the payload of e, where there was none. It goes into b, if that is not nil, and there is room.
// Add returns the buffer for the next one of the run.
func (l *payloadPool) add(e *entry, b *bytebufferpool.ByteBuffer, p []byte) *bytebufferpool.ByteBuffer {
	if len(p) == 0 {
		return b
	}
	if b == nil || len(b.B) >= fullBuffer {
		b = l.pool.Get()
	}
	e.buffer, e.from = b, uint16(len(b.B))
	b.Write(p) // never fails
	e.to = uint32(len(b.B))
	return b
}

// drop takes e its payload, if it has one.
func (l *payloadPool) drop(e *entry) {
	if e.buffer == nil {
		return
	}
	if int(e.to) == len(e.buffer.B) {
		l.pool.Put(e.buffer)
	}
	e.buffer = nil
}

// size is the length of the payload.
func (e *entry) size() int {
	if e.buffer == nil {
		return 0
	}
	return int(e.to) - int(e.from)
}

func (e *entry) payload() []byte {
	if e.buffer == nil {
		return nil
	}
	return e.buffer.B[e.from:e.to]
}

// desc returns the entry with a payload of the caller's own.
func (e *entry) desc() Desc {
	d := e.view()
	d.Payload = append([]byte(nil), d.Payload...)
	return d
}

// view returns the entry with its payload where it lies.
func (e *entry) view() Desc {
	payload := e.payload()
	return Desc{
		FD: int(e.fd), Tag: e.tag, Keep: e.keep, Shared: e.shared && !e.keep, client: e.client, brief: e.brief,
		Payload: payload[:len(payload):len(payload)],
	}
}
