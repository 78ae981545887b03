package wire

import (
	"bytes"
	"encoding/hex"
	"math"
	"strings"
	"testing"
)

// The bytes on the wire are a promise to other versions of this library.
func TestTheFormatIsAsPublished(t *testing.T) {
	for _, c := range []struct {
		name string
		h    Header
		hex  string
	}{
		{"HELLO", Header{Type: TypeHello, Count: 253, Length: HelloSize}, "fd5001 01 fd00 0000 0000000000000000 18000000 00000000"},
		{
			"DATA",
			Header{Type: TypeData, Count: 2, Seq: 0x0102030405060708, Length: 32},
			"fd5001 02 0200 0000 0807060504030201 20000000 00000000",
		},
		{
			"DATA without records",
			Header{Type: TypeData, Count: 2, Seq: 3, Flags: FlagPlain},
			"fd5001 02 0200 0200 0300000000000000 00000000 00000000",
		},
		{
			"DATA without records, shared",
			Header{Type: TypeData, Count: 2, Seq: 3, Flags: FlagPlain | FlagShared},
			"fd5001 02 0200 0600 0300000000000000 00000000 00000000",
		},
		{"ACK", Header{Type: TypeAck, Seq: 7, Credit: 0x4000}, "fd5001 03 0000 0000 0700000000000000 00000000 00400000"},
		{
			"ACK, resend",
			Header{Type: TypeAck, Flags: FlagResend, Seq: 7, Length: ResendSize},
			"fd5001 03 0000 0100 0700000000000000 08000000 00000000",
		},
		{"BYE", Header{Type: TypeBye}, "fd5001 04 0000 0000 0000000000000000 00000000 00000000"},
	} {
		t.Run(c.name, func(t *testing.T) {
			b := make([]byte, HeaderSize)
			c.h.Put(b)
			if want := strings.ReplaceAll(c.hex, " ", ""); hex.EncodeToString(b) != want {
				t.Errorf("%x, want %s", b, want)
			}
			var back Header
			if err := back.Parse(b); err != nil || back != c.h {
				t.Errorf("%+v comes back as %+v: %v", c.h, back, err)
			}
		})
	}
	b := make([]byte, RecordSize)
	PutRecord(b, 0x0102030405060708, 0x0A0B, RecordShared)
	if got := hex.EncodeToString(b); got != "08070605040302010b0a000001000000" {
		t.Errorf("a record is %s", got)
	}
	if tag, n, flags := Record(b); tag != 0x0102030405060708 || n != 0x0A0B || flags != RecordShared {
		t.Errorf("a record comes back as %#x, %#x, %#x", tag, n, flags)
	}
	PutResend(b, 1<<63)
	if Resend(b) != 1<<63 {
		t.Errorf("resend from %d", Resend(b))
	}
}

func TestHelloComesBackAsItWasSent(t *testing.T) {
	for _, h := range []Hello{
		{Sends: true, MaxBody: RecordSize},
		{Receives: true, MaxPayload: 4096, MaxBody: 16 << 10, Credit: 1024},
		{Sends: true, Receives: true, MaxPayload: MaxBody, MaxBody: MaxBody, Credit: MaxCredit},
	} {
		b := bytes.Repeat([]byte{0xFF}, HelloSize)
		h.Put(b)
		var back Hello
		if err := back.Parse(b); err != nil || back != h {
			t.Errorf("%+v comes back as %+v: %v", h, back, err)
		}
		copy(b[16:], "features")
		if err := back.Parse(b); err != nil || back != h {
			t.Errorf("features of a later version: %+v, %v", back, err)
		}
	}
}

func TestHelloOutOfRangeIsRefused(t *testing.T) {
	good := Hello{Sends: true, MaxPayload: 1, MaxBody: RecordSize, Credit: 1}
	for _, c := range []struct {
		name string
		at   int
		to   []byte
		want string
	}{
		{"no role", 0, []byte{0}, "role 0"},
		{"an unknown role", 0, []byte{4}, "role 4"},
		{"a role of many bits", 3, []byte{0x80}, "role"},
		{"a payload over any limit", 4, []byte{1, 0, 16, 0}, "payload 1048577"},
		{"a payload that is negative where int has 32 bits", 4, []byte{0xFF, 0xFF, 0xFF, 0xFF}, "payload 4294967295"},
		{"a body over any limit", 8, []byte{1, 0, 16, 0}, "body 1048577"},
		{"a body of no size", 8, []byte{15, 0, 0, 0}, "body 15"},
		{"too much credit", 12, []byte{1, 0, 0, 1}, "credit 16777217"},
	} {
		t.Run(c.name, func(t *testing.T) {
			b := make([]byte, HelloSize)
			good.Put(b)
			copy(b[c.at:], c.to)
			h := Hello{Credit: 77}
			if err := h.Parse(b); err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("%v, want an error with %q", err, c.want)
			}
			if h != (Hello{Credit: 77}) {
				t.Errorf("a bad HELLO was taken: %+v", h)
			}
		})
	}
}

func TestHeadersThatBreakTheRulesAreRefused(t *testing.T) {
	put := func(h Header) []byte {
		b := make([]byte, HeaderSize)
		h.Put(b)
		return b
	}
	patch := func(b []byte, at int, to ...byte) []byte { copy(b[at:], to); return b }
	bye := func() []byte { return put(Header{Type: TypeBye}) }
	for _, c := range []struct {
		name string
		b    []byte
		want string
	}{
		{"nothing", nil, "0 bytes"},
		{"a byte too few", bye()[:23], "23 bytes"},
		{"HTTP", []byte("GET / HTTP/1.1\r\nHost: x\r\n"), `"GET "`},
		{"the magic number the other way round", patch(bye(), 0, 0x50, 0xFD), "magic"},
		{"version 0", patch(bye(), 2, 0), "version 0"},
		{"version 2", patch(bye(), 2, 2), "version 2"},
		{"type 0", patch(bye(), 3, 0), "type 0"},
		{"type 5", patch(bye(), 3, 5), "type 5"},
		{"type 255", patch(bye(), 3, 255), "type 255"},
		{"a body over any limit", patch(put(Header{Type: TypeData, Count: 1}), 16, 1, 0, 16, 0), "1048577"},
		{"the largest body", patch(put(Header{Type: TypeData, Count: 1}), 16, 255, 255, 255, 255), "4294967295"},
		{"too much credit", patch(put(Header{Type: TypeAck}), 20, 1, 0, 0, 1), "credit of 16777217"},
		{"HELLO without a batch", put(Header{Type: TypeHello, Length: HelloSize}), "batch limit of 0"},
		{"HELLO with a batch of 254", put(Header{Type: TypeHello, Count: 254, Length: HelloSize}), "batch limit of 254"},
		{"HELLO without a body", put(Header{Type: TypeHello, Count: 1}), "do not go together"},
		{"HELLO with flags", put(Header{Type: TypeHello, Count: 1, Length: HelloSize, Flags: 1}), "do not go together"},
		{"DATA without descriptors", put(Header{Type: TypeData}), "0 descriptors"},
		{"DATA with 254", put(Header{Type: TypeData, Count: 254, Length: 254 * RecordSize}), "254 descriptors"},
		{"DATA without records", put(Header{Type: TypeData, Count: 2, Length: 31}), "too short"},
		{"DATA with flags", put(Header{Type: TypeData, Count: 1, Length: 16, Flags: FlagResend}), "do not go together"},
		{"DATA that shares all, with records", put(Header{Type: TypeData, Count: 1, Length: 16, Flags: FlagShared}), "do not go together"},
		{"DATA without records, with a body", put(Header{Type: TypeData, Count: 1, Length: 16, Flags: FlagPlain}), "do not go together"},
		{"DATA without records, with flags", put(Header{Type: TypeData, Count: 1, Flags: FlagPlain | FlagResend}), "do not go together"},
		{"ACK with a count", put(Header{Type: TypeAck, Count: 1}), "do not go together"},
		{"ACK with a body", put(Header{Type: TypeAck, Length: 8}), "do not go together"},
		{"ACK with unknown flags", put(Header{Type: TypeAck, Flags: 2}), "do not go together"},
		{"a resend without a number", put(Header{Type: TypeAck, Flags: FlagResend}), "do not go together"},
		{"BYE with a body", put(Header{Type: TypeBye, Length: 1}), "do not go together"},
		{"BYE with a count", put(Header{Type: TypeBye, Count: 1}), "do not go together"},
		{"BYE with flags", put(Header{Type: TypeBye, Flags: 0x8000}), "0x8000"},
	} {
		t.Run(c.name, func(t *testing.T) {
			var h Header
			if err := h.Parse(c.b); err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("%v, want an error with %q", err, c.want)
			}
		})
	}
}

func TestRecordsMustAddUp(t *testing.T) {
	body := func(payload int, lengths ...int) []byte {
		b := make([]byte, len(lengths)*RecordSize+payload)
		for i, n := range lengths {
			PutRecord(b[i*RecordSize:], 1, n, 0)
		}
		return b
	}
	flagged := body(0, 0)
	PutRecord(flagged, 1, 0, 2)
	many := make([]int, MaxCount)
	for i := range many {
		many[i] = 3
	}
	for _, c := range []struct {
		name  string
		body  []byte
		count int
		want  string // part of the error; "": none
	}{
		{"no payload", body(0, 0, 0), 2, ""},
		{"payloads", body(15, 10, 5), 2, ""},
		{"as many as there can be", body(3*MaxCount, many...), MaxCount, ""},
		{"the largest payload", body(100, 100), 1, ""},
		{"a byte too many", body(16, 10, 5), 2, "add up"},
		{"a byte too few", body(14, 10, 5), 2, "add up"},
		{"over the limit", body(101, 101), 1, "101 bytes, over the limit of 100"},
		{"negative where int has 32 bits", body(0, -1), 1, "payload"},
		{"the sum wraps", body(0, math.MinInt32, math.MinInt32), 2, "payload"},
		{"unknown flags", flagged, 1, "flags 0x2"},
	} {
		t.Run(c.name, func(t *testing.T) {
			err := CheckRecords(c.body, c.count, 100)
			if c.want == "" && err != nil || c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)) {
				t.Errorf("%v, want %q", err, c.want)
			}
		})
	}
}
