package fastpass

import (
	"net"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// saveStdout returns what gives this process its standard output back.
func saveStdout(t *testing.T) (restore func()) {
	t.Helper()
	saved, err := unix.FcntlInt(1, unix.F_DUPFD_CLOEXEC, 3)
	if err != nil {
		t.Fatal(err)
	}
	return func() {
		unix.Dup2(saved, 1)
		unix.Close(saved)
	}
}

// sendToStdout sends fd over p into a table of which only the number 1 is free, once the receiver waits, and returns
// what fills it.
func sendToStdout(t *testing.T, p *Passer, fd int) (held []int) {
	t.Helper()
	time.Sleep(20 * time.Millisecond)
	held = hog(0)
	unix.Close(1)
	if err := p.Send(Desc{FD: fd, Keep: true}); err != nil {
		t.Error(err)
	}
	return held
}

// A connection that comes at the number of standard output into a table that is full otherwise is not lost.
func TestAConnectionAtTheNumberOfStandardOutputIntoAFullTable(t *testing.T) {
	for _, l := range everyLink[:3] {
		there := l.config()
		there.Direction = RecvOnly
		p, q := link(t, l.config(), there)
		fd, peer := connSocket(t, "tcp4")
		ln := q.NetListener()
		restore := saveStdout(t)
		accepted := make(chan net.Conn, 1)
		go func() {
			c, err := ln.Accept()
			if err == nil {
				accepted <- c
			}
		}()
		held := sendToStdout(t, p, fd)
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
		restore()
		unix.Close(fd)
		if c == nil {
			t.Errorf("%v: the connection is lost: %+v", l, q.Stats().Received)
			continue
		}
		c.Close()
		peer.Close()
	}
}

// Nor is it lost if the link is closed meanwhile: it has been acknowledged.
func TestAConnectionAtTheNumberOfStandardOutputBesideClose(t *testing.T) {
	there := everyLink[0].config()
	there.Direction = RecvOnly
	p, q := link(t, everyLink[0].config(), there)
	fd, peer := connSocket(t, "tcp4")
	ln := q.NetListener()
	restore := saveStdout(t)
	accepted := make(chan net.Conn, 1)
	go func() {
		defer close(accepted)
		if c, err := ln.Accept(); err == nil {
			accepted <- c
		}
	}()
	held := sendToStdout(t, p, fd)
	for deadline := time.Now().Add(time.Second); p.Stats().Delivered == 0 && time.Now().Before(deadline); p.Flush() {
		time.Sleep(10 * time.Millisecond)
	}
	time.Sleep(50 * time.Millisecond)
	ln.Close()
	held = append(held, hog(0)...) // what Close has freed
	time.Sleep(300 * time.Millisecond)
	CloseFDs(held)
	c := <-accepted
	restore()
	unix.Close(fd)
	if c == nil {
		t.Error("the connection was acknowledged, and is closed")
	} else {
		c.Close()
	}
	peer.Close()
}

// A table that stays full does not keep Accept from ending when the link is closed.
func TestCloseEndsAcceptThoughTheTableStaysFull(t *testing.T) {
	there := everyLink[0].config()
	there.Direction = RecvOnly
	p, q := link(t, everyLink[0].config(), there)
	fd, peer := connSocket(t, "tcp4")
	ln := q.NetListener()
	restore := saveStdout(t)
	over := make(chan struct{})
	go func() {
		defer close(over)
		if c, err := ln.Accept(); err == nil {
			c.Close()
		}
	}()
	held := sendToStdout(t, p, fd)
	time.Sleep(100 * time.Millisecond)
	ln.Close()
	held = append(held, hog(0)...)
	ended := true
	select {
	case <-over:
	case <-time.After(4 * time.Second):
		ended = false
	}
	CloseFDs(held)
	<-over
	restore()
	unix.Close(fd)
	peer.Close()
	if !ended {
		t.Error("Accept goes on waiting")
	}
}
