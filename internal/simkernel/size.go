//go:build linux

package simkernel

// Sizes of what the allocator gives (x86-64).
const (
	pageSize = 4096
	skb      = 256                  // an sk_buff
	shared   = 320                  // its skb_shared_info, behind the data
	maxAlloc = 4*pageSize - shared  // SKB_MAX_ALLOC
	maxHead  = pageSize - shared    // SKB_MAX_HEAD(0)
	maxPiece = maxHead + 8*pageSize // of a stream, in one sk_buff
	maxPages = 17 * pageSize        // in one sk_buff: MAX_SKB_FRAGS
)

// slab is what kmalloc gives for the linear part of a message with n bytes in it.
func slab(n int) int {
	size := 512
	for size < (n+63)&^63+shared {
		size *= 2
	}
	return skb + size
}

// packetSize is the truesize of a message of n bytes on SEQPACKET: unix_dgram_sendmsg.
func packetSize(n int) int {
	if n <= maxAlloc {
		return slab(n)
	}
	pages := (min(n-maxAlloc, maxPages) + pageSize - 1) &^ (pageSize - 1)
	return slab(n-pages) + pages
}

// pieceSize is the truesize of n bytes on STREAM: unix_stream_sendmsg.
func pieceSize(n int) int {
	pages := (max(0, n-maxHead) + pageSize - 1) &^ (pageSize - 1)
	return slab(n-min(n, pages)) + pages
}
