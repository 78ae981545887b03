// Package simkernel is a simulated kernel, as far as a link of package fastpass sees one. A [Process] is a
// [example.com/fdpass/internal/sys.Kernel], a [Conn] what a link needs of its *net.UnixConn, so the real code of a link
// runs on it. Nothing here is left to chance: what happens follows from the calls and from [Kernel.Fault].
//
//	file        what is modelled
//	----        ----------------
//	kernel.go   open files, counted by the tables and queues that refer to them; what goes wrong with a call
//	process.go  descriptor tables with limits, probes and closing; SIGKILL, SIGSTOP, SIGCONT
//	socket.go   connected AF_UNIX pairs, SOCK_SEQPACKET and SOCK_STREAM: pending errors, shutdown, release
//	queue.go    what a message is, and how sending and receiving treat it: merging, cutting, MSG_PEEK
//	size.go     what a message takes of the send buffer
//	call.go     sendmmsg and recvmmsg, or one system call for each message: descriptors looked up, installed, truncated,
//	            destroyed; the limit on descriptors in flight; latched errors
//	conn.go     RawConn: the runtime's poller, and who waits for it
//
// It does what the sources of Linux say (net/unix/af_unix.c, net/core/scm.c, net/socket.c) and what Linux 6.18 was seen
// to do: agree_test.go makes the same calls, of a table and at random, here and on the kernel that it runs on, and
// compares. Not modelled, as no link uses them: SO_PEEK_OFF, datagram sockets, blocking calls, credentials and pidfds,
// and the garbage collection of sockets in flight. EINTR stays below sys.Kernel, which hides it; faults are injected
// above that.
package simkernel
