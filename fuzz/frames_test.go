package fuzz

import (
	"bytes"
	"testing"

	"example.com/fdpass/internal/wire"
)

// FuzzFrames gives the parser arbitrary frames. What it takes must be within the limits, so that whoever acts on it
// needs to look no further, and must come out again as the same bytes.
func FuzzFrames(f *testing.F) {
	frame := func(h wire.Header, body []byte) []byte {
		b := make([]byte, wire.HeaderSize)
		h.Length = len(body)
		h.Put(b)
		return append(b, body...)
	}
	hello := make([]byte, wire.HelloSize)
	h := wire.Hello{Sends: true, Receives: true, MaxPayload: 4096, MaxBody: 16 << 10, Credit: 1024}
	h.Put(hello)
	records := make([]byte, 2*wire.RecordSize)
	wire.PutRecord(records, 7, 5, 0)
	wire.PutRecord(records[wire.RecordSize:], 8, 0, wire.RecordShared)
	f.Add([]byte(nil), uint16(0))
	f.Add([]byte("GET / HTTP/1.1\r\nHost: localhost\r\n\r\n"), uint16(4096))
	f.Add(frame(wire.Header{Type: wire.TypeHello, Count: 253}, hello), uint16(4096))
	f.Add(frame(wire.Header{Type: wire.TypeData, Count: 2, Seq: 9}, append(records, "hello"...)), uint16(4096))
	f.Add(frame(wire.Header{Type: wire.TypeData, Count: 2, Seq: 9}, append(records, "hello"...)), uint16(4))
	f.Add(frame(wire.Header{Type: wire.TypeData, Count: 2, Seq: 9, Flags: wire.FlagPlain | wire.FlagShared}, nil), uint16(4096))
	f.Add(frame(wire.Header{Type: wire.TypeAck, Seq: 9, Credit: 100}, nil), uint16(0))
	f.Add(frame(wire.Header{Type: wire.TypeAck, Flags: wire.FlagResend, Seq: 9}, make([]byte, wire.ResendSize)), uint16(0))
	f.Add(frame(wire.Header{Type: wire.TypeBye}, nil), uint16(0))

	f.Fuzz(func(t *testing.T, in []byte, maxPayload uint16) {
		var h wire.Header
		if err := h.Parse(in); err != nil {
			if err.Error() == "" {
				t.Fatal("an error that says nothing")
			}
			return
		}
		if h.Length < 0 || h.Length > wire.MaxBody || h.Credit < 0 || h.Credit > wire.MaxCredit ||
			h.Count < 0 || h.Count > wire.MaxCount || h.Type.String() == "" {
			t.Fatalf("out of range: %+v", h)
		}
		again := make([]byte, wire.HeaderSize)
		h.Put(again)
		if !bytes.Equal(again, in[:wire.HeaderSize]) {
			t.Fatalf("%x comes out as %x", in[:wire.HeaderSize], again)
		}
		body := in[wire.HeaderSize:]
		if len(body) != h.Length {
			return // refused where the frame's length is known
		}
		switch h.Type {
		case wire.TypeHello:
			checkHello(t, body)
		case wire.TypeData:
			if !h.Plain() {
				checkData(t, body, h.Count, int(maxPayload))
			} else if len(body) > 0 {
				t.Fatalf("a body of %d bytes where there are no records", len(body))
			}
		case wire.TypeAck:
			if h.Flags&wire.FlagResend != 0 {
				wire.Resend(body)
			}
		}
	})
}

func checkHello(t *testing.T, body []byte) {
	var h wire.Hello
	if h.Parse(body) != nil {
		return
	}
	if h.Credit < 0 || h.Credit > wire.MaxCredit || h.MaxPayload < 0 || h.MaxPayload > wire.MaxBody ||
		h.MaxBody < wire.RecordSize || h.MaxBody > wire.MaxBody || !h.Sends && !h.Receives {
		t.Fatalf("out of range: %+v", h)
	}
	again := make([]byte, wire.HelloSize)
	h.Put(again)
	var back wire.Hello
	if err := back.Parse(again); err != nil || back != h {
		t.Fatalf("%+v comes back as %+v: %v", h, back, err)
	}
}

// checkData splits a body that was found to be good, as a receiver does.
func checkData(t *testing.T, body []byte, count, maxPayload int) {
	if wire.CheckRecords(body, count, maxPayload) != nil {
		return
	}
	payloads := body[count*wire.RecordSize:]
	for i := range count {
		_, n, flags := wire.Record(body[i*wire.RecordSize:])
		if n < 0 || n > maxPayload || n > len(payloads) || flags&^wire.RecordShared != 0 {
			t.Fatalf("record %d: %d bytes of %d, flags %#x", i, n, len(payloads), flags)
		}
		payloads = payloads[n:]
	}
	if len(payloads) != 0 {
		t.Fatalf("%d bytes behind the payloads", len(payloads))
	}
}
