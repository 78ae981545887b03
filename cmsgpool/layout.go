package cmsgpool

import "encoding/binary"

// layout is the geometry of control messages on one system. It is a value, not a
// set of constants, so that the tests run every system's layout on one machine.
type layout struct {
	header int // sizeof(struct cmsghdr): cmsg_len, then two 4-byte integers
	data   int // where a message's data begins, CMSG_LEN(0)
	align  int // messages begin at multiples of it, from the buffer's start
}

// space rounds n bytes of message up to where the next message begins.
func (l *layout) space(n int) int { return (n + l.align - 1) &^ (l.align - 1) }

// get reads the header at the start of b, which holds one. Going through
// NativeEndian rather than a pointer makes the address of b irrelevant.
func (l *layout) get(b []byte) (length uint64, level, typ int32) {
	if l.header == 16 {
		_ = b[15]
		return binary.NativeEndian.Uint64(b), int32(binary.NativeEndian.Uint32(b[8:])), int32(binary.NativeEndian.Uint32(b[12:]))
	}
	_ = b[11]
	return uint64(binary.NativeEndian.Uint32(b)), int32(binary.NativeEndian.Uint32(b[4:])), int32(binary.NativeEndian.Uint32(b[8:]))
}

// put writes a header at the start of b, which has room for it.
func (l *layout) put(b []byte, length int, level, typ int32) {
	if l.header == 16 {
		_ = b[15]
		binary.NativeEndian.PutUint64(b, uint64(length))
		binary.NativeEndian.PutUint32(b[8:], uint32(level))
		binary.NativeEndian.PutUint32(b[12:], uint32(typ))
		return
	}
	_ = b[11]
	binary.NativeEndian.PutUint32(b, uint32(length))
	binary.NativeEndian.PutUint32(b[4:], uint32(level))
	binary.NativeEndian.PutUint32(b[8:], uint32(typ))
}
