package fastpass

import (
	"net"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// A connection that comes at the number of standard output into a table that is full otherwise is not lost.
func TestAConnectionAtTheNumberOfStandardOutputIntoAFullTable(t *testing.T) {
	for _, l := range everyLink[:3] {
		there := l.config()
		there.Direction = RecvOnly
		p, q := link(t, l.config(), there)
		fd, peer := connSocket(t, "tcp4")
		ln := q.NetListener()
		saved, err := unix.FcntlInt(1, unix.F_DUPFD_CLOEXEC, 3)
		if err != nil {
			t.Fatal(err)
		}
		accepted := make(chan net.Conn, 1)
		go func() {
			c, err := ln.Accept()
			if err == nil {
				accepted <- c
			}
		}()
		time.Sleep(20 * time.Millisecond)
		held := hog(0)
		unix.Close(1) // which is the only free one now
		if err := p.Send(Desc{FD: fd, Keep: true}); err != nil {
			t.Error(err)
		}
		var c net.Conn
		select {
		case c = <-accepted:
		case <-time.After(300 * time.Millisecond):
		}
		CloseFDs(held)
		if c == nil {
			select {
			case c = <-accepted:
			case <-time.After(time.Second):
			}
		}
		unix.Dup2(saved, 1)
		unix.Close(saved)
		unix.Close(fd)
		if c == nil {
			t.Errorf("%v: the connection is lost: %+v", l, q.Stats().Received)
			continue
		}
		c.Close()
		peer.Close()
	}
}
