package fastpass

import (
	"fmt"
	"net"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// Whoever holds a duplicate may make the socket blocking at any time: neither deadlines nor Close depend on it.
func TestConnHoldsToItsDeadlineAndClosesAlthoughAnotherProcessHasMadeItBlock(t *testing.T) {
	for how, pair := range map[string]func(*testing.T) (*Conn, net.Conn){
		"told":  func(t *testing.T) (*Conn, net.Conn) { return connPair(t, "tcp4") },
		"brief": func(t *testing.T) (*Conn, net.Conn) { return connBrief(t, "tcp4") },
	} {
		for _, polled := range []bool{false, true} {
			for _, write := range []bool{false, true} {
				t.Run(fmt.Sprintf("%s, polled: %v, write: %v", how, polled, write), func(t *testing.T) {
					c, peer := pair(t)
					connBlockedElsewhere(t, c, peer, polled, write)
				})
			}
		}
	}
}

func connBlockedElsewhere(t *testing.T, c *Conn, peer net.Conn, polled, write bool) {
	if polled {
		c.SetReadDeadline(time.Now().Add(time.Millisecond))
		c.Read(make([]byte, 1))
	}
	dup := connDup(t, (*rawConn)(c))
	defer unix.Close(dup)
	unix.SetNonblock(dup, false) // as in the other process
	c.SetDeadline(time.Now().Add(20 * time.Millisecond))
	done := make(chan error, 1)
	go func() {
		var err error
		if write {
			_, err = c.Write(make([]byte, 64<<20))
		} else {
			_, err = c.Read(make([]byte, 1))
		}
		done <- err
	}()
	select {
	case err := <-done:
		connWantTimeout(t, err)
	case <-time.After(2 * time.Second):
		t.Error("the deadline ends nothing")
	}
	closed := make(chan struct{})
	go func() { c.Close(); close(closed) }()
	select {
	case <-closed:
	case <-time.After(2 * time.Second):
		t.Error("Close does not return")
	}
	peer.Close()
	<-closed
}
