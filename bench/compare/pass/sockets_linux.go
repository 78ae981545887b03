package pass

import (
	"fmt"
	"os"

	"example.com/fdpass/bench/limit"
	"example.com/fdpass/internal/loopback"

	"golang.org/x/sys/unix"
)

// connections are the accepted TCP connections that senders inherit and pass on, the kind of descriptor that the
// library is for. There are as many as in the C limit.
type connections struct {
	accepted []*os.File // blocking, so that the runtime's poller does not know them
	inodes   []uint64   // of the accepted ends
	clients  []int      // the other ends, which only have to stay open
}

var sockets connections

// get returns the connections, which are made once.
func (c *connections) get() (*connections, error) {
	if c.accepted != nil {
		return c, nil
	}
	if err := c.make(); err != nil {
		c.close()
		return nil, fmt.Errorf("making %d TCP connections: %w", limit.Sockets, err)
	}
	return c, nil
}

func (c *connections) make() error {
	if err := raiseLimit(); err != nil {
		return err
	}
	return loopback.Connections(limit.Sockets, 0, func(client, accepted int) error {
		c.clients = append(c.clients, client)
		c.accepted = append(c.accepted, os.NewFile(uintptr(accepted), "connection"))
		var st unix.Stat_t
		err := unix.Fstat(accepted, &st)
		c.inodes = append(c.inodes, st.Ino)
		return err
	})
}

func (c *connections) close() {
	for _, f := range c.accepted {
		f.Close()
	}
	for _, fd := range c.clients {
		unix.Close(fd)
	}
	*c = connections{}
}

// need is how many descriptors a process may have to open: both ends of the connections, and the rest.
const need = 2*limit.Sockets + 256

// raiseLimit makes room for both ends of the connections here. The senders inherit the limit, and hold copies as well.
func raiseLimit() error {
	var r unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &r); err != nil {
		return err
	}
	if r.Max < need {
		return fmt.Errorf("%d descriptors are needed, the hard limit is %d (ulimit -Hn)", need, r.Max)
	}
	r.Cur = r.Max
	return unix.Setrlimit(unix.RLIMIT_NOFILE, &r) // and from now on the runtime leaves it so for the processes that are started
}
