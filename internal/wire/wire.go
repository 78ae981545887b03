// Package wire is the Framed protocol's format, version 1: what goes over the socket beside the descriptors.
//
// One SOCK_SEQPACKET message is one frame; on SOCK_STREAM the same frames go back to back. Integers are little-endian.
//
//	 0      2         3      4       6       8        16       20       24
//	+------+---------+------+-------+-------+--------+--------+--------+------
//	|magic |version  |type  |count  |flags  |seq     |length  |credit  |body …
//	|0x50FD|1        |      |       |       |        |        |        |
//	+------+---------+------+-------+-------+--------+--------+--------+------
//
// A DATA body is count records {tag u64, payload length u32, flags u32} and then the payloads in the same order. With
// FlagPlain there is none: no descriptor has a tag or a payload, and FlagShared says of all what RecordShared does of
// one. A HELLO body is a [Hello]. An ACK with FlagResend has a body of eight bytes: the number to resend from.
//
// With HELLO on SEQPACKET an end that sends may hand over a descriptor: a page of memory for acknowledgements
// (internal/page). Where the other end uses it, it says there what an ACK would, and ACK frames come only where the
// page asks for one, when there is room again after there was none, and with FlagResend; the numbers and the credit of
// the page count, not those of the frame.
package wire

import (
	"encoding/binary"
	"errors"
	"fmt"
)

// Sizes in bytes.
const (
	HeaderSize = 24
	RecordSize = 16
	HelloSize  = 24
	ResendSize = 8
)

// Limits that no valid frame exceeds.
const (
	MaxCount  = 253     // descriptors in a message: the kernel's SCM_MAX_FD
	MaxBody   = 1 << 20 // bytes after a header
	MaxCredit = 1 << 24 // descriptors in flight
)

const (
	magic   = 0x50FD
	version = 1
)

// Type is what a frame is for.
type Type uint8

// Frame types.
const (
	TypeHello Type = 1 + iota // first in both directions: roles and limits
	TypeData                  // descriptors
	TypeAck                   // what the application has taken, and how much more may come; with a page: look there
	TypeBye                   // the sender of BYE sends nothing more and acknowledges nothing more
)

func (t Type) String() string {
	if t < TypeHello || t > TypeBye {
		return fmt.Sprintf("type %d", uint8(t))
	}
	return [...]string{"HELLO", "DATA", "ACK", "BYE"}[t-1]
}

// Header flags.
const (
	FlagResend = 1 << iota // ACK: descriptors were lost on the way in; send again from the number in the body
	FlagPlain              // DATA: there is no body
	FlagShared             // DATA with FlagPlain: other processes may hold the descriptors a while longer
)

// Record flags.
const RecordShared = 1 // other processes may hold the descriptor a while longer

// Header is the start of every frame.
type Header struct {
	Type   Type
	Count  int    // DATA: descriptors attached. HELLO: the largest batch this end takes
	Flags  uint16 // FlagResend and so on
	Seq    uint64 // DATA: number of the first descriptor. ACK: every number below it has been taken
	Length int    // bytes after the header
	Credit int    // ACK: how many descriptors beyond Seq may be in flight
}

// Plain reports whether a DATA frame has no records.
func (h *Header) Plain() bool { return h.Flags&FlagPlain != 0 }

// Put writes h to the first HeaderSize bytes of b.
func (h *Header) Put(b []byte) {
	_ = b[HeaderSize-1]
	binary.LittleEndian.PutUint16(b[0:], magic)
	b[2], b[3] = version, byte(h.Type)
	binary.LittleEndian.PutUint16(b[4:], uint16(h.Count))
	binary.LittleEndian.PutUint16(b[6:], h.Flags)
	binary.LittleEndian.PutUint64(b[8:], h.Seq)
	binary.LittleEndian.PutUint32(b[16:], uint32(h.Length))
	binary.LittleEndian.PutUint32(b[20:], uint32(h.Credit))
}

// Parse reads a header and checks all that can be checked without knowing the link.
func (h *Header) Parse(b []byte) error {
	switch {
	case !Begins(b[:min(len(b), 2)]):
		return fmt.Errorf("a frame begins with %q, not with the magic number: the other end is no fastpass end, or a Bare one", b[:min(len(b), 4)])
	case !Begins(b):
		return fmt.Errorf("the other end speaks version %d, this one version %d", b[2], version)
	case len(b) < HeaderSize:
		return fmt.Errorf("a frame of %d bytes, shorter than its header: the other end is no fastpass end", len(b))
	}
	length, credit := binary.LittleEndian.Uint32(b[16:]), binary.LittleEndian.Uint32(b[20:])
	h.Type = Type(b[3])
	h.Count = int(binary.LittleEndian.Uint16(b[4:]))
	h.Flags = binary.LittleEndian.Uint16(b[6:])
	h.Seq = binary.LittleEndian.Uint64(b[8:])
	if length > MaxBody {
		return fmt.Errorf("%v frame with a body of %d bytes, over the limit of %d", h.Type, length, MaxBody)
	}
	if credit > MaxCredit {
		return fmt.Errorf("%v frame with a credit of %d, over the limit of %d", h.Type, credit, MaxCredit)
	}
	h.Length, h.Credit = int(length), int(credit)
	return h.check()
}

// Begins reports whether b, a frame or its first bytes, may be one of this version.
func Begins(b []byte) bool {
	start := [3]byte{2: version}
	binary.LittleEndian.PutUint16(start[:], magic)
	n := min(len(b), len(start))
	return string(b[:n]) == string(start[:n])
}

// check holds a header against the rules of its type.
func (h *Header) check() error {
	body, count, flags := 0, 0, uint16(0)
	switch h.Type {
	case TypeHello:
		body, count = HelloSize, h.Count
		if h.Count < 1 || h.Count > MaxCount {
			return fmt.Errorf("HELLO with a batch limit of %d, outside 1..%d", h.Count, MaxCount)
		}
	case TypeData:
		count = h.Count
		if h.Count < 1 || h.Count > MaxCount {
			return fmt.Errorf("DATA with %d descriptors, outside 1..%d", h.Count, MaxCount)
		}
		if h.Plain() {
			flags = FlagPlain | h.Flags&FlagShared
			break
		}
		if body = h.Length; body < h.Count*RecordSize {
			return fmt.Errorf("DATA with %d descriptors in a body of %d bytes, too short for their records", h.Count, h.Length)
		}
	case TypeAck:
		flags = h.Flags & FlagResend
		if flags != 0 {
			body = ResendSize
		}
	case TypeBye:
	default:
		return fmt.Errorf("a frame of unknown %v", h.Type)
	}
	if h.Length != body || h.Count != count || h.Flags != flags {
		return fmt.Errorf("%v with count %d, flags %#x and a body of %d bytes, which do not go together",
			h.Type, h.Count, h.Flags, h.Length)
	}
	return nil
}

// PutRecord writes the record of one descriptor to b.
func PutRecord(b []byte, tag uint64, payload int, flags uint32) {
	_ = b[RecordSize-1]
	binary.LittleEndian.PutUint64(b, tag)
	binary.LittleEndian.PutUint64(b[8:], uint64(uint32(payload))|uint64(flags)<<32)
}

// Record reads the record of one descriptor from b.
func Record(b []byte) (tag uint64, payload int, flags uint32) {
	_ = b[RecordSize-1]
	x := binary.LittleEndian.Uint64(b[8:])
	return binary.LittleEndian.Uint64(b), int(uint32(x)), uint32(x >> 32)
}

// CheckRecords holds the records at the start of a DATA body against its length: the payloads must fill the rest, and
// none may exceed maxPayload.
func CheckRecords(body []byte, count, maxPayload int) error {
	rest := len(body) - count*RecordSize
	for i := range count {
		_, n, flags := Record(body[i*RecordSize:])
		if n < 0 || n > maxPayload { // negative: over the limit, where int has 32 bits
			return fmt.Errorf("a payload of %d bytes, over the limit of %d", uint32(n), maxPayload)
		}
		if flags&^RecordShared != 0 {
			return fmt.Errorf("a record with unknown flags %#x", flags)
		}
		rest -= n
	}
	if rest != 0 {
		return errors.New("payload lengths that do not add up to the length of the frame")
	}
	return nil
}

// Hello is what one end says of itself.
type Hello struct {
	Sends, Receives bool
	MaxPayload      int  // bytes: receivers take, senders send, at most this much with one descriptor
	MaxBody         int  // bytes: the largest body this end takes
	Credit          int  // descriptors that may be in flight to this end from the start
	Page            bool // a descriptor is attached: memory for the acknowledgements of what this end sends
}

const (
	roleSends    = 1
	roleReceives = 2
)

const featurePage = 1

// Put writes h to the first HelloSize bytes of b.
func (h *Hello) Put(b []byte) {
	_ = b[HelloSize-1]
	role := uint32(0)
	if h.Sends {
		role |= roleSends
	}
	if h.Receives {
		role |= roleReceives
	}
	binary.LittleEndian.PutUint32(b, role)
	binary.LittleEndian.PutUint32(b[4:], uint32(h.MaxPayload))
	binary.LittleEndian.PutUint32(b[8:], uint32(h.MaxBody))
	binary.LittleEndian.PutUint32(b[12:], uint32(h.Credit))
	features := uint64(0)
	if h.Page {
		features |= featurePage
	}
	binary.LittleEndian.PutUint64(b[16:], features)
}

// Parse reads and checks a HELLO body. Features that this end does not know are none of its business.
func (h *Hello) Parse(b []byte) error {
	_ = b[HelloSize-1]
	role := binary.LittleEndian.Uint32(b)
	payload, body := binary.LittleEndian.Uint32(b[4:]), binary.LittleEndian.Uint32(b[8:])
	credit := binary.LittleEndian.Uint32(b[12:])
	if role == 0 || role > roleSends|roleReceives {
		return fmt.Errorf("HELLO with unknown role %d", role)
	}
	if credit > MaxCredit || payload > MaxBody || body > MaxBody || body < RecordSize {
		return fmt.Errorf("HELLO with limits out of range (payload %d, body %d, credit %d)", payload, body, credit)
	}
	*h = Hello{
		Sends: role&roleSends != 0, Receives: role&roleReceives != 0,
		MaxPayload: int(payload), MaxBody: int(body), Credit: int(credit),
		Page: binary.LittleEndian.Uint64(b[16:])&featurePage != 0,
	}
	return nil
}

// PutResend writes the body of an ACK with FlagResend.
func PutResend(b []byte, from uint64) { binary.LittleEndian.PutUint64(b, from) }

// Resend reads the body of an ACK with FlagResend.
func Resend(b []byte) uint64 { return binary.LittleEndian.Uint64(b) }
