//go:build !linux || fdpass_portable

package sys

// HasSeqpacket tells whether AF_UNIX sockets are to be had that keep messages whole and in order, and take as large
// ones as ours. macOS, illumos and Solaris have none, FreeBSD 15 joins messages, and those of NetBSD and FreeBSD up to
// 14 take less than 8 KiB.
const HasSeqpacket = false
