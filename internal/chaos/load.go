//go:build linux

package main

import (
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/netip"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"example.com/fdpass/internal/loopback"
)

const (
	// patience is how long a client waits in all: much longer than any fault lasts.
	patience     = 60 * time.Second
	longestToken = 4096
)

// token is what the client of connection c sends, without the end of the line: its name, and more bytes, some or many.
func token(c uint64) string {
	r := rand.New(rand.NewPCG(c, 2))
	n := r.IntN(100)
	if n == 0 {
		n = longestToken - 100
	}
	more := make([]byte, 4+n)
	for i := range more {
		more[i] = byte('a' + r.IntN(26))
	}
	return fmt.Sprintf("%012x-%s", c, more)
}

// load opens connections until it is stopped.
type load struct {
	*options
	target    string
	books     *books
	addresses *loopback.Addresses
	slots     chan struct{} // one for each client
	quit      chan struct{}
	over      chan struct{} // closed when the last client has gone
}

func newLoad(o *options, target string, b *books) *load {
	return &load{
		options: o, target: target, books: b, addresses: loopback.NewAddresses(o.duration),
		slots: make(chan struct{}, o.clients), quit: make(chan struct{}), over: make(chan struct{}),
	}
}

// run opens connections in bursts of all sizes, as many in a second as were asked for.
func (l *load) run() {
	var clients sync.WaitGroup
	defer close(l.over)
	defer clients.Wait()
	r := rand.New(rand.NewPCG(l.seed, 3))
	for next := time.Now(); ; {
		burst := 1 + r.IntN(8)
		if r.IntN(10) == 0 {
			burst = 1 + r.IntN(l.rate/4+1)
		}
		for range burst {
			select {
			case l.slots <- struct{}{}:
			case <-l.quit:
				return
			}
			address := l.addresses.Next()
			clients.Go(func() {
				l.visit(address)
				<-l.slots
			})
		}
		// After all clients had to wait, what was missed is not made up for.
		next = next.Add(time.Duration(burst) * time.Second / time.Duration(l.rate))
		if now := time.Now(); next.Before(now) {
			next = now
		}
		select {
		case <-time.After(time.Until(next)):
		case <-l.quit:
			return
		}
	}
}

// visit is a client.
func (l *load) visit(address netip.AddrPort) {
	c := loopback.Label(address)
	l.books.opening(c)
	d := net.Dialer{LocalAddr: net.TCPAddrFromAddrPort(address), Timeout: patience}
	conn, err := d.Dial("tcp", l.target)
	switch {
	case errors.Is(err, syscall.EADDRINUSE) || errors.Is(err, syscall.EADDRNOTAVAIL):
		l.books.unopened(c) // another process's
	case err != nil:
		l.books.ended(c, outcome{trouble: err.Error()})
	default:
		o := talk(conn, token(c), rand.New(rand.NewPCG(l.seed, c)))
		conn.Close()
		l.books.ended(c, o)
	}
}

// talk sends a token, reads all that comes until the connection ends, and says what that was.
func talk(conn net.Conn, token string, r *rand.Rand) outcome {
	conn.SetDeadline(time.Now().Add(patience))
	// What is sent at once waits unread in the connection while the front passes it on.
	cut := len(token) + 1
	pause := time.Duration(r.IntN(50)) * time.Millisecond
	switch r.IntN(10) {
	case 0, 1:
		cut = 0
	case 2, 3:
		cut = r.IntN(cut)
	}
	if r.IntN(50) == 0 {
		pause *= 10
	}
	message := token + "\n"
	_, err := io.WriteString(conn, message[:cut])
	if err == nil && cut < len(message) {
		time.Sleep(pause)
		_, err = io.WriteString(conn, message[cut:])
	}
	if err != nil {
		return outcome{trouble: err.Error()}
	}
	all, err := io.ReadAll(io.LimitReader(conn, 4*longestToken))
	o := outcome{}
	for answer := range strings.Lines(string(all)) {
		f := strings.Fields(answer)
		if len(f) != 4 || f[0] != token || !strings.HasSuffix(answer, "\n") {
			o.trouble = fmt.Sprintf("wrong answer %q", answer)
			return o
		}
		worker, _ := strconv.Atoi(f[1])
		o.answers = append(o.answers, worker)
	}
	switch {
	case err != nil:
		var timeout net.Error
		o.hung = errors.As(err, &timeout) && timeout.Timeout()
		o.trouble = fmt.Sprintf("after %d answers: %v", len(o.answers), err)
	case len(o.answers) == 0:
		o.trouble = "closed without an answer"
	}
	return o
}
