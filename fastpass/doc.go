// Package fastpass hands open descriptors, above all accepted TCP connections, from one process to others on the same
// machine, at the speed of the kernel, and loses none on the way.
//
// # How to begin
//
// A front accepts connections and spreads them over workers: [NewPool], then [Spawn] and [Pool.Add] for each worker,
// then [Pool.Serve]. See the example "front".
//
// A worker is a server like any other, but for its listener: [Inherit], then http.Serve(p.NetListener(), handler). See
// the example "worker", and that of [Passer.NetListener] for one that leaves while the others go on. Workers that
// connect by themselves are in the example of [Listener.Accept].
//
// To pass single descriptors, of whatever kind: [Listen] and [Dial], or [Pair] where one process starts the other; then
// [Passer.Send] and [Passer.Recv]. See the examples of Listen and Pair, and that of [Passer.RecvBatch] for many at a
// time.
//
// The other examples: [Pool.Dispatch] gives a connection away of which the front has read the beginning, Pool (Replace)
// is a front that hands over to its successor, [PolicyFunc] a policy of one's own, [Spawn] a program that starts itself
// again as its worker; [Passer.Undelivered] shows what comes back from a peer that has died.
//
// # When not to use it
//
// If all workers can accept from one listening socket that they inherit (prefork), or each can listen for itself
// (SO_REUSEPORT), no front is needed. Within one process a descriptor is a number: use a channel. Descriptors do not
// travel to other machines.
//
// # Who owns a descriptor
//
// The caller until Send, the library until the descriptor is acknowledged, and then the application of the peer. A copy
// here is closed when this end sees that, which may be a millisecond or two later (see Config.OnSent), unless
// Desc.Keep. Whatever ends the link, descriptors that no application has are the caller's again, by
// [Passer.Undelivered]. A receiver owns what Recv returns.
//
// # Who may take part
//
// Listen and Dial look at the credentials of the other end before the first byte; see Config.Authorize. An end that
// only sends has the kernel refuse descriptors (Config.Direction), and one that receives may limit their kinds
// (Config.Kinds). README.md says what is promised against whom.
//
// # How the data flows
//
// A [Passer] is one end of a link; a [Pool] spreads connections over the links of many workers and gives what a dead
// or stalled worker has not taken to the others. The data goes one way, through these functions:
//
//	Send ─► outbox.send ─► push (into the window) ─► flush ─► turn ─► sendSome ─► pack ─► transmit ─► sys.Kernel.Send ─► sendmmsg
//	Recv ─► inbox.recv ─► take ─► collect ─► readInto ─► fill ─► sys.Kernel.Recv ─► recvmmsg ─► takeFrame (Framed) or takeMessage (Bare)
//	page or ACK ─► readMail ─► release: slots freed, copies closed in runs
//
// In front of that, Pool.Serve accepts with accept4, and a Policy picks the worker; behind it, NetListener makes
// connections of what Recv returns.
//
// # From Send to sendmmsg
//
// Send pushes an entry into the window (a [example.com/fdpass/ring.Window]) and calls flush. The first caller of flush
// becomes the flusher; those that find one at work leave, and the flusher takes their entries along. It packs entries
// straight from the window into the control buffers of a vector and sends up to Config.Messages messages of up to 253
// descriptors with one system call. So a lone Send on an idle link is one system call on the caller's own goroutine,
// and under load batches form by themselves, with no timer. Entries stay in the window until the peer acknowledges
// them: the queue is the resend list. See outbox.go, flusher.go, pack.go, and internal/sys; release.go is what follows.
//
// What a Bare link has sent is delivered, so nothing has to be kept there: Send hands it straight to the socket, and
// only what the socket does not take goes into the window. See direct.go.
//
// The receiving half is inbox.go and fill.go. On an end that only receives, the caller of Recv reads the socket itself,
// straight into its own slice. On an end that also sends, a goroutine of the link (the pump) reads, because
// acknowledgements must be read even while Recv is not called; it gives the socket to callers of Recv while they are
// active. See reader.go.
//
// # How it is acknowledged
//
// Acknowledging must cost as little as passing. On Linux, over SOCK_SEQPACKET, the two ends of a Framed link share a
// page of memory for each direction, a sealed memfd that goes with HELLO. The receiver acknowledges there, with one
// compare-and-swap before it hands descriptors to the application; the sender takes back with one on the same word, so
// the end that comes first has them. The sender looks whenever it sends, and for a millisecond or two after that; where
// a caller waits it asks, in the page, for an ACK frame that wakes it. Everywhere else, and if the page does not
// arrive, acknowledgements are ACK frames, one for each call of Recv or RecvBatch. See page.go, await.go,
// ackpoll.go and internal/page.
package fastpass
