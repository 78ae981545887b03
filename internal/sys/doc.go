// Package sys is the operating system as the passer sees it: messages sent and received in vectors, descriptors
// closed in runs, the free slots of the descriptor table, and who the peer is.
//
// On Linux a [Vector] is one sendmmsg(2) or recvmmsg(2); elsewhere, and on Linux under the build tag
// fdpass_portable, it is a loop of sendmsg(2) and recvmsg(2) with the same meaning. Messages never block: every call
// passes MSG_DONTWAIT, whatever the socket's own mode is, and reports EAGAIN. To wait is what a [Conn] is for.
//
// Errors on these paths are bare errno values: small ones convert to an error without an allocation.
package sys
