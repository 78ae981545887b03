//go:build unix

package main

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"os"
	"os/signal"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"example.com/fdpass/internal/loopback"
)

const (
	answerTimeout = 20 * time.Second // longer than a worker is stopped
	keptEvery     = 10               // one connection in so many is kept alive
	keptRequests  = 10               // for so many requests
)

// message is what the load process tells the front, on its standard output.
type message struct {
	Failure *failure `json:",omitempty"` // at once
	Totals  *totals  `json:",omitempty"` // at the end
}

// failure is a connection with a request that got no answer.
type failure struct {
	Client  netip.AddrPort
	Retried bool // it was kept alive, and closed before the answer began; the request was made again on a new one
	Error   string
}

type totals struct {
	Opened, Answered uint64  // connections, requests
	Seconds          float64 // how long it took
	P50, P99, Max    time.Duration
}

// load makes requests from several goroutines until its standard input ends, which also happens if the front dies.
type load struct {
	target    string
	addresses *loopback.Addresses
	stop      chan struct{}
	opened    atomic.Uint64
	answered  atomic.Uint64
	latency   latency // of the first request of a connection, from connect to the last byte of the answer

	mu  sync.Mutex
	out *json.Encoder
}

func loadMain(args []string) int {
	signal.Ignore(syscall.SIGINT, syscall.SIGHUP) // the front ends the load
	target := args[0]
	clients, _ := strconv.Atoi(args[1])
	seconds, _ := strconv.Atoi(args[2])
	l := &load{
		target: target, addresses: loopback.NewAddresses(time.Duration(seconds) * time.Second),
		stop: make(chan struct{}), out: json.NewEncoder(os.Stdout),
	}
	go func() {
		io.Copy(io.Discard, os.Stdin)
		close(l.stop)
	}()
	start := time.Now()
	var wg sync.WaitGroup
	for range clients {
		wg.Go(l.run)
	}
	wg.Wait()
	l.say(message{Totals: &totals{
		Opened: l.opened.Load(), Answered: l.answered.Load(), Seconds: time.Since(start).Seconds(),
		P50: l.latency.quantile(0.50), P99: l.latency.quantile(0.99), Max: l.latency.max(),
	}})
	return 0
}

func (l *load) say(m message) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.out.Encode(m) != nil {
		os.Exit(1) // the front is gone
	}
}

// run is one client: it opens one connection after the other.
func (l *load) run() {
	for {
		select {
		case <-l.stop:
			return
		default:
		}
		requests := 1
		if l.opened.Add(1)%keptEvery == 0 {
			requests = keptRequests
		}
		l.visit(requests)
	}
}

// visit opens a connection and makes requests on it.
func (l *load) visit(requests int) {
	c, err := l.dial()
	if err != nil {
		l.fail(c.address, err, false)
		return
	}
	defer c.Close()
	for i := range requests {
		err := c.ask(i, i == requests-1)
		if errors.Is(err, errLeft) && i > 0 {
			// What every HTTP client does (RFC 9112, 9.3.1): a server may close an idle connection at any moment.
			l.fail(c.address, err, true)
			l.opened.Add(1)
			l.visit(1)
			return
		}
		if err != nil {
			l.fail(c.address, err, false)
			return
		}
		if l.answered.Add(1); i == 0 {
			l.latency.add(c.answered.Sub(c.opened))
		}
		if c.over {
			break
		}
	}
	if err := c.ended(); err != nil {
		l.fail(c.address, err, false)
	}
}

func (l *load) fail(a netip.AddrPort, err error, retried bool) {
	l.say(message{Failure: &failure{Client: a, Retried: retried, Error: err.Error()}})
	if !retried {
		time.Sleep(10 * time.Millisecond) // whatever it is, asking faster does not help
	}
}

// client is a connection of the load's.
type client struct {
	net.Conn
	address  netip.AddrPort
	opened   time.Time
	answered time.Time
	over     bool // the answer said that it was the last
	in       *bufio.Reader
}

// dial connects from an address that was not used before.
func (l *load) dial() (*client, error) {
	for {
		c := &client{address: l.addresses.Next(), opened: time.Now()}
		d := net.Dialer{LocalAddr: net.TCPAddrFromAddrPort(c.address), Timeout: answerTimeout}
		var err error
		c.Conn, err = d.Dial("tcp", l.target)
		if errors.Is(err, syscall.EADDRINUSE) || errors.Is(err, syscall.EADDRNOTAVAIL) {
			continue // another process's
		}
		if err == nil {
			c.in = bufio.NewReaderSize(c.Conn, 1024)
		}
		return c, err
	}
}

// errLeft means that the connection ended before the answer began.
var errLeft = errors.New("closed without an answer")

// ask makes a request and reads its answer, which must be the answer to this request.
func (c *client) ask(i int, last bool) error {
	c.SetDeadline(time.Now().Add(answerTimeout))
	id := fmt.Sprintf("/%v/%d", c.address, i)
	end := "\r\n"
	if last {
		end = "Connection: close\r\n\r\n"
	}
	if _, err := io.WriteString(c, "GET "+id+" HTTP/1.1\r\nHost: demo\r\n"+end); err != nil {
		return left(err)
	}
	if _, err := c.in.Peek(1); err != nil {
		return left(err)
	}
	r, err := http.ReadResponse(c.in, nil)
	if err != nil {
		return err
	}
	body, err := io.ReadAll(r.Body)
	c.answered, c.over = time.Now(), r.Close
	switch {
	case err != nil:
		return err
	case r.StatusCode != http.StatusOK || !strings.HasSuffix(string(body), id+"\n"):
		return fmt.Errorf("the answer to %s is %s: %q", id, r.Status, body)
	}
	return nil
}

func left(err error) error {
	if errors.Is(err, io.EOF) || errors.Is(err, syscall.ECONNRESET) || errors.Is(err, syscall.EPIPE) {
		return fmt.Errorf("%w: %v", errLeft, err)
	}
	return err
}

// ended waits until the other end closes the connection after the last answer: that it does proves that no other
// process has kept a copy of it.
func (c *client) ended() error {
	_, err := c.in.ReadByte()
	if errors.Is(err, io.EOF) || errors.Is(err, syscall.ECONNRESET) {
		return nil
	}
	return fmt.Errorf("answered, but not closed then: %v", err)
}
