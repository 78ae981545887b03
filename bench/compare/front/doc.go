// Package front measures a front: connections come in at one port and are answered by worker processes, and the
// contenders differ only in how they get there.
//
//	fastpass            Pool.Serve accepts, and passes to workers that serve Passer.NetListener: one row per policy
//	SO_REUSEPORT        no front: each worker listens by itself, and the kernel spreads
//	prefork             no front: the workers inherit one listening socket
//	WriteMsgUnix        what one writes first in Go: Accept, File, WriteMsgUnix, one connection per message
//	C front             front.c: accept4, 253 per message, close_range; the limit
//
// The workers are one program with net/http in all of them, and drain in the same way. Those of WriteMsgUnix and of the
// C front receive with this library's Bare protocol, which costs less than ReadMsgUnix and net.FileConn would: what
// those two rows lack in speed is the front's doing, not the receiver's.
//
// The load is a process of our own ([load]): hey and wrk connect from one address only, by which the Hash policy would
// send everything to one worker, they know no mixture of light and heavy requests, and hey takes more processor time
// for a connection than all the contenders do. It opens a connection, asks once, checks that the answer is the one to
// its question, waits for the other end to close, and opens the next.
package front
