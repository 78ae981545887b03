package cmsgpool

import (
	"encoding/binary"
	"unsafe"
)

// rawBytes returns the memory of words as bytes.
func rawBytes(words *[bufferWords]uint64) []byte {
	// Any address is aligned for a byte, and the slice points into the array, so
	// it keeps it alive.
	return unsafe.Slice((*byte)(unsafe.Pointer(words)), bufferWords*8)
}

// int32s returns b as 32-bit integers of the machine's byte order, leaving out a
// trailing partial one. It is a view of b, unless b begins at an address that is no
// multiple of 4: then it is a copy, for some processors fault on such a load.
func int32s(b []byte) []int32 {
	n := len(b) / 4
	if n == 0 {
		return nil
	}
	p := unsafe.Pointer(unsafe.SliceData(b))
	if uintptr(p)%4 != 0 {
		c := make([]int32, n)
		for i := range c {
			c[i] = int32(binary.NativeEndian.Uint32(b[4*i:]))
		}
		return c
	}
	// Aligned as just checked, 4n ≤ len(b) bytes long, and the slice points into
	// the array of b, so it keeps it alive.
	return unsafe.Slice((*int32)(p), n)
}
