//go:build unix

package fastpass

import (
	"example.com/fdpass/cmsgpool"
	"example.com/fdpass/internal/wire"
)

// The functions of this file turn queued entries into messages, straight from the window's slots into the buffers of
// the flusher's vector. They move nothing on: what the kernel does not take is packed again.

// pack fills v with messages from the entries from sent on, as far as batch, credit and v allow, and until they make a
// full call. It returns how many they are.
func (o *outbox) pack(v *vector) (messages int) {
	pos, seq := o.sent, o.flow.Seq()
	room, isolate := o.flow.Allowance(), o.isolate
	count, bytes, full := 0, 0, callSize(!o.p.framed() && o.closes.Load())
	for i := 0; pos != o.end && i < o.p.cfg.Messages && room > 0 && count < full && bytes < fullBytes; i++ {
		most := min(room, o.batch)
		if isolate > 0 {
			most = 1
		}
		n, end := o.measure(pos, most)
		if n == 0 { // the rest was refused
			return messages
		}
		plain := o.packRights(v, i, pos, end, n)
		var length int
		if o.p.framed() {
			h := wire.Header{Type: wire.TypeData, Count: n, Seq: seq, Flags: plain}
			if !h.Plain() {
				h.Length = o.packRecords(v, i, pos, end, n)
			}
			h.Put(v.data[i])
			length = wire.HeaderSize + h.Length
		} else {
			length = o.packByte(v, i, pos)
		}
		v.ends[i] = end
		v.carry(i, length, n)
		messages++
		pos, seq = end, seq+uint64(n)
		room, isolate = room-n, isolate-n
		count, bytes = count+n, bytes+length
	}
	return messages
}

// callSize is how many descriptors make a full call. If copies are closed after each one, as a Bare link's are, there
// are fewer: the receiver has not reached for the same files yet, and neither end waits for memory that the other one
// has just written.
func callSize(closes bool) int {
	if closes {
		return cmsgpool.MaxFDs
	}
	return fullCall
}

// alike reports whether no entry has a payload, and none was refused.
func (o *outbox) alike() bool { return !o.payloads.Load() && o.refusals.total.Load() == 0 }

// measure returns how many descriptors the next message carries, which begins at pos, but no more than most, and the
// position behind the last of them. Refused entries that lie between do not count.
func (o *outbox) measure(pos uint64, most int) (n int, end uint64) {
	if o.alike() {
		n = min(most, int(o.end-pos))
		return n, pos + uint64(n)
	}
	body := 0
	for end = pos; end != o.end; {
		slots := o.window.Slots(end, int(o.end-end))
		for i := range slots {
			if n == most {
				return n, end
			}
			if e := &slots[i]; e.refused == 0 {
				if body += wire.RecordSize + e.size(); n > 0 && !o.joins(e, body) {
					return n, end
				}
				n++
			}
			end++
		}
	}
	return n, end
}

// joins reports whether e may share a message with others, the records and payloads of all of which would have so many
// bytes.
func (o *outbox) joins(e *entry, body int) bool {
	if o.p.framed() {
		return body <= o.body
	}
	return e.buffer == nil // a message of bytes has one payload, that of its first descriptor
}

// passRefused moves on behind refused entries that are next to be sent. They need no credit.
func (o *outbox) passRefused() {
	if o.alike() {
		return
	}
	from := o.sent
	for o.sent != o.end && o.window.Slots(o.sent, 1)[0].refused != 0 {
		o.sent++
	}
	if o.sent != from {
		o.release(0)
	}
}

// packRights packs the n descriptors that lie in pos..end-1 into the control buffer of message i. It returns the flags
// of a DATA frame without records for them, or 0 if it needs some: because of a tag, of a payload, or because not all
// that are to be said to be shared are.
func (o *outbox) packRights(v *vector, i int, pos, end uint64, n int) (flags uint16) {
	rights := v.control[i].Rights(n)
	var all content
	for pos != end {
		slots := o.window.Slots(pos, int(end-pos))
		pos += uint64(len(slots))
		rights = all.pack(rights, slots)
	}
	switch {
	case all.tags != 0 || all.payload || all.shared != 0 && all.shared != n:
		return 0
	case all.shared != 0:
		return wire.FlagPlain | wire.FlagShared
	}
	return wire.FlagPlain
}

// content is what there is in the entries of a message.
type content struct {
	tags    uint64 // 0 if none has one
	shared  int    // how many are to be said to be shared
	payload bool   // some have one
}

// pack puts the descriptors of slots into rights, of which it returns the rest, and adds what else there is. As in
// fill, nothing is called in this loop.
func (c *content) pack(rights []int32, slots []entry) []int32 {
	n := 0
	sum := *c
	for i := range slots {
		e := &slots[i]
		if e.refused != 0 {
			continue
		}
		rights[n] = e.fd
		n++
		sum.tags |= e.tag
		if e.shared {
			sum.shared++
		}
		if e.buffer != nil {
			sum.payload = true
		}
	}
	*c = sum
	return rights[n:]
}

// packRecords packs what belongs to the n descriptors that lie in pos..end-1 into message i as the body of a DATA
// frame, and returns the length of the body.
func (o *outbox) packRecords(v *vector, i int, pos, end uint64, n int) int {
	body := v.data[i][wire.HeaderSize:]
	records := body
	length := n * wire.RecordSize
	for pos != end {
		slots := o.window.Slots(pos, int(end-pos))
		pos += uint64(len(slots))
		for j := range slots {
			e := &slots[j]
			if e.refused != 0 {
				continue
			}
			var flags uint32
			if e.shared {
				flags = wire.RecordShared
			}
			payload := e.payload()
			wire.PutRecord(records, e.tag, len(payload), flags)
			records = records[wire.RecordSize:]
			length += copy(body[length:], payload)
		}
	}
	return length
}

// packByte packs the data of message i in the Bare protocol and returns its length: the payload of the first
// descriptor, at pos or behind refused ones, or one byte, since the kernel drops descriptors that come with no data.
func (o *outbox) packByte(v *vector, i int, pos uint64) int {
	data := v.data[i]
	data[0] = 0
	if o.alike() {
		return 1
	}
	e := &o.window.Slots(pos, 1)[0]
	for e.refused != 0 {
		pos++
		e = &o.window.Slots(pos, 1)[0]
	}
	return max(1, copy(data, e.payload()))
}
