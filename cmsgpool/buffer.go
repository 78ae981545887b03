package cmsgpool

// MaxFDs is how many descriptors one message can carry: Linux's SCM_MAX_FD, over
// all its SCM_RIGHTS control messages together.
const MaxFDs = 253

// bufferWords is the size of a Buffer in 64-bit words. Where headers are largest
// (NetBSD on arm64 aligns to 16) MaxFDs descriptors take 1,040 bytes, the widest
// credentials (sockcred and cmsgcred with 16 groups) 128, a pidfd 32, and 128 are
// spare: 1,328, rounded up to 1,408 bytes, which is the allocator's next size and
// whole cache lines.
const bufferWords = 1408 / 8

// A Buffer is the control buffer of one message: room for [MaxFDs] descriptors,
// credentials, a pidfd and 128 bytes of whatever else the kernel adds, so that no
// message is truncated for want of it. The words make it aligned for a cmsghdr.
//
// The zero Buffer is ready for use; one from a [Pool] has arbitrary contents. A
// Buffer has one owner at a time, is not safe for concurrent use, and must not be
// copied.
type Buffer struct {
	owned guard // the invariants tag's double-put detection; otherwise empty
	words [bufferWords]uint64
}

// Raw returns the whole buffer, to receive into: pass its start and length as
// msg_control and msg_controllen. After the system call only its first
// msg_controllen bytes, as the kernel returned it, mean anything.
//
// The slice is a view and valid until the Buffer is put back. Raw does not block.
func (b *Buffer) Raw() []byte {
	b.owned.check()
	return rawBytes(&b.words)
}

// Rights lays out one SCM_RIGHTS message for n descriptors at the start of the
// buffer and returns its slots, n of them, with arbitrary contents, for the caller
// to fill. What to send is then Raw()[:Space(n)]. The numbers are only copied: who
// owns the descriptors does not change, and no one closes them here.
//
// The slots are a view and valid until the next Rights, the next receive into the
// buffer or its return to the pool. Rights does not block, and panics unless
// 1 ≤ n ≤ [MaxFDs].
func (b *Buffer) Rights(n int) []int32 {
	if uint(n-1) >= MaxFDs {
		panic("cmsgpool: Rights: number of descriptors outside 1..253")
	}
	raw := b.Raw()
	end := host.data + 4*n
	host.put(raw, end, solSocket, scmRights)
	return int32s(raw[host.data:end])
}

// Space returns the length of the control data that [Buffer.Rights] lays out for n
// descriptors, to be passed as msg_controllen: CMSG_SPACE, or 0 for n = 0, which
// needs no control message. It panics unless 0 ≤ n ≤ [MaxFDs].
//
// Every system takes CMSG_SPACE for a single message. DragonFly takes nothing else;
// macOS wants CMSG_LEN, which is the same there, since a descriptor is as wide as
// its alignment. On Linux and FreeBSD either does.
func Space(n int) int {
	if uint(n) > MaxFDs {
		panic("cmsgpool: Space: number of descriptors outside 0..253")
	}
	if n == 0 {
		return 0
	}
	return host.space(host.data + 4*n)
}
