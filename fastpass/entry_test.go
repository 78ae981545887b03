//go:build unix

package fastpass

import (
	"bytes"
	"testing"

	"github.com/valyala/bytebufferpool"
)

// The payloads of a run lie in few buffers, whole, until their entry is dropped; a buffer is given back with the last
// of its payloads.
func TestPayloadsOfARunShareBuffers(t *testing.T) {
	const entries = 700
	size := func(i int) int {
		switch i % 7 {
		case 0:
			return 0
		case 1:
			return 1 + i%5
		case 2:
			return 64 << 10 // more than is enough for a buffer
		}
		return i
	}
	var pool payloadPool
	run, bytesIn := make([]entry, entries), map[*bytebufferpool.ByteBuffer]int{}
	var b *bytebufferpool.ByteBuffer
	total := 0
	for i := range run {
		b = pool.add(&run[i], b, bytes.Repeat([]byte{byte(i)}, size(i)))
		total += size(i)
	}
	last := map[*bytebufferpool.ByteBuffer]int{}
	for i := range run {
		if e := &run[i]; e.buffer != nil {
			last[e.buffer] = i
			bytesIn[e.buffer] += e.size()
		}
	}
	if most := total/fullBuffer + 1; len(last) > most {
		t.Errorf("%d bytes lie in %d buffers, want at most %d", total, len(last), most)
	}
	for b, n := range bytesIn {
		if n != len(b.B) {
			t.Errorf("a buffer of %d bytes has payloads of %d", len(b.B), n)
		}
	}
	for i := range run {
		e := &run[i]
		if e.size() != size(i) || !bytes.Equal(e.payload(), bytes.Repeat([]byte{byte(i)}, size(i))) {
			t.Fatalf("payload %d: %d bytes %.20q", i, e.size(), e.payload())
		}
		b := e.buffer
		pool.drop(e)
		if e.buffer != nil || e.size() != 0 || e.payload() != nil {
			t.Errorf("payload %d is still there: %q", i, e.payload())
		}
		if back := b != nil && len(b.B) == 0; back != (b != nil && last[b] == i) { // who has it back resets it
			t.Errorf("payload %d: its buffer was given back: %v, the last one in it is %d", i, back, last[b])
		}
	}
}
