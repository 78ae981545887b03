//go:build !fdpass_portable

package sys

// HasSeqpacket tells whether AF_UNIX sockets are to be had that keep messages whole and in order, and take as large
// ones as ours.
const HasSeqpacket = true
