package sys

// Stream is the socket of a connection, for calls that do not wait: they return EAGAIN where they would have to, even
// if another process has put the socket into blocking mode.
type Stream struct {
	FD int

	// Brief says that the Go runtime is not told of short calls, as it is of every system call that may block. In a
	// process that sleeps between connections that wakes the thread of the runtime's monitor, each time, which then
	// looks every 20 µs what goes on: a tenth of what a short connection costs a server.
	//
	// The price: these calls take the socket's lock, so they last as long as another process that has the socket holds
	// that, and all goroutines may have to wait. So it is for connections of BriefStream that only processes may have
	// that could stop this one anyhow. This process may hold it as well: for as long as a page takes to come, such as
	// one of a mapped file, that is written, whether the Write is short or a long one beside a Read.
	Brief bool
}
