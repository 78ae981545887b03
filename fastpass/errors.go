package fastpass

import (
	"errors"
	"fmt"
	"syscall"
)

// Besides these, net.ErrClosed, os.ErrDeadlineExceeded and io.EOF keep their usual meaning.
var (
	// ErrFull means that the window has no room: TrySend and Push return it where Send would wait.
	ErrFull = errors.New("fastpass: the window is full")

	// ErrProtocol means that the peer does not speak the protocol, or broke it. The error that wraps it says how.
	ErrProtocol = errors.New("fastpass: protocol error")

	// ErrPeerGone means that the peer died, or closed the socket. Send returns it also if the peer has said goodbye
	// before; Recv returns io.EOF then, and on a Bare link, where nobody says goodbye, mostly in any case.
	ErrPeerGone = errors.New("fastpass: the peer is gone: it has ended, or has closed its socket")

	// ErrStalled means that a pool took the link's descriptors back because the worker did not take them in time, or
	// did not say HELLO (PoolConfig.StallTimeout and StartTimeout). The message says which.
	ErrStalled = errors.New("fastpass: the worker has stalled: it has taken nothing for PoolConfig.StallTimeout")
)

// DescError is the refusal of one descriptor; others of the same batch are not affected.
type DescError struct {
	FD  int   // as it was given; only OnRefused is told a negative number in place of one that no descriptor can have
	Err error // why it was refused
}

func (e *DescError) Error() string { return fmt.Sprintf("fastpass: descriptor %d: %v", e.FD, e.Err) }

// Unwrap returns why the descriptor was refused.
func (e *DescError) Unwrap() error { return e.Err }

// BatchError says how much of a batch was taken before it failed.
type BatchError struct {
	Taken int   // the first Taken descriptors belong to the library, the others to the caller
	Err   error // why the next one was not taken
}

func (e *BatchError) Error() string {
	return fmt.Sprintf("%v (%d descriptors of the batch were taken before)", e.Err, e.Taken)
}

// Unwrap returns the error that stopped the batch.
func (e *BatchError) Unwrap() error { return e.Err }

// tableError is what Recv returns when the descriptor table is too small for the next message, which stays queued. It
// is a temporary net.Error, so that net/http tells of it and goes on.
type tableError struct{ need, limit int }

func (e *tableError) Error() string {
	return fmt.Sprintf("fastpass: the next message needs room for %d descriptors or more, and RLIMIT_NOFILE is %d: raise it (ulimit -n) and receive again: %v",
		e.need, e.limit, syscall.EMFILE)
}

func (e *tableError) Unwrap() error   { return syscall.EMFILE }
func (e *tableError) Timeout() bool   { return false }
func (e *tableError) Temporary() bool { return true }

func protocolError(format string, args ...any) error {
	return fmt.Errorf("%w: %s", ErrProtocol, fmt.Sprintf(format, args...))
}
