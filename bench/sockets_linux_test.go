package bench

import (
	"fmt"
	"sync"
	"testing"

	"example.com/fdpass/bench/limit"
	"example.com/fdpass/fastpass"
	"example.com/fdpass/internal/loopback"

	"golang.org/x/sys/unix"
)

// sockets are accepted TCP connections, the kind of descriptor that the library is for, as many as the limit program
// passes round.
type sockets struct {
	once    sync.Once
	err     error
	fds     []int // the accepted ends
	clients []int // the other ends, open and out of the way of the low numbers
	next    int
}

var lent sockets

// get returns the sockets, which are made once per process.
func (s *sockets) get(tb testing.TB) *sockets {
	tb.Helper()
	if s.once.Do(func() { s.err = s.make() }); s.err != nil {
		tb.Fatalf("making %d TCP connections: %v", limit.Sockets, s.err)
	}
	return s
}

func (s *sockets) make() error {
	var r unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &r); err != nil {
		return err
	}
	const need = 5 * limit.Sockets // what is lent, the other ends, and a window of copies
	if r.Cur < need {
		return fmt.Errorf("%d descriptors are needed, the limit is %d (ulimit -n)", need, r.Cur)
	}
	above := int(min(r.Cur, 1<<20)) - limit.Sockets - 64 // out of the way of a window full of copies
	return loopback.Connections(limit.Sockets, unix.SOCK_NONBLOCK, func(client, accepted int) error {
		defer unix.Close(client)
		s.fds = append(s.fds, accepted)
		high, err := unix.FcntlInt(uintptr(client), unix.F_DUPFD_CLOEXEC, above)
		s.clients = append(s.clients, high)
		return err
	})
}

func (s *sockets) close() {
	fastpass.CloseFDs(s.fds)
	fastpass.CloseFDs(s.clients)
	s.fds, s.clients = nil, nil
}

// load fills ds with the next sockets: themselves, to be kept open here, or a copy of each to give away.
func (s *sockets) load(ds []fastpass.Desc, give bool) error {
	for i := range ds {
		if s.next == len(s.fds) {
			s.next = 0
		}
		fd := s.fds[s.next]
		if give {
			var err error
			if fd, err = loopback.Copy(fd); err != nil {
				return err
			}
		}
		ds[i].FD, ds[i].Keep = fd, !give
		s.next++
	}
	return nil
}
