// Package cmsgpool holds control-message buffers for passing descriptors over
// AF_UNIX sockets: buffers of one fixed size that a bounded [Pool] reuses, an
// encoder that lays out SCM_RIGHTS in place ([Buffer.Rights]) and a decoder that
// reads whatever the kernel returned in place ([Parse]). Nothing on these paths
// allocates, and nothing here makes a system call: the package neither opens nor
// closes a descriptor, so ownership of the numbers it carries is the caller's
// throughout.
//
// # Layout
//
// A control buffer is a sequence of messages, each a struct cmsghdr with its data.
// The drawing is one SCM_RIGHTS message with three descriptors as 64-bit Linux lays
// it out; offsets in bytes:
//
//	0               8       12      16      20      24      28      32
//	┌───────────────┬───────┬───────┬───────┬───────┬───────┬───────┬─ ─ ─
//	│ cmsg_len = 28 │ level │ type  │ fd 0  │ fd 1  │ fd 2  │ pad   │ next
//	└───────────────┴───────┴───────┴───────┴───────┴───────┴───────┴─ ─ ─
//	├───────── cmsghdr ─────────────┤                       │       │
//	├───────── CMSG_LEN(12) ────────────────────────────────┤       │
//	├───────── CMSG_SPACE(12) ──────────────────────────────────────┤
//
// cmsg_len counts the header but not the padding. What differs between systems is
// the width of cmsg_len (8 bytes on 64-bit Linux, 4 elsewhere), the offset of the
// data (12 or 16) and the alignment of the next message (4, 8 or 16). The numbers
// come from golang.org/x/sys/unix for the running system.
//
// # Trust
//
// The kernel writes the control buffer of a received message, not the peer; still
// the decoder believes no length: it stays within the buffer, ends on every input,
// and gives every descriptor that lies in the buffer, also where the system leaves
// cmsg_len longer than what it copied (macOS). It must be given exactly the bytes
// that the system call reported (msg_controllen), for a reused buffer still holds
// the numbers of earlier descriptors behind them.
//
// # When not to use it
//
// For a descriptor now and then, [golang.org/x/sys/unix.UnixRights] and
// [golang.org/x/sys/unix.ParseSocketControlMessage] do; they allocate per message.
// To build control messages other than SCM_RIGHTS, use x/sys too.
//
// # Platforms
//
// All Unix systems. Elsewhere (windows, plan9, wasm) there is no SCM_RIGHTS: the
// package builds and works on the layout drawn above, and no system call will take
// the result.
//
// The build tag invariants makes misuse of a [Pool] panic; see [Pool.Put].
package cmsgpool
