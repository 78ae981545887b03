package front

import (
	"bufio"
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"io"
	"net"
	"net/http"
	"os"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"example.com/fdpass/bench/compare/role"
	"example.com/fdpass/fastpass"

	"golang.org/x/sys/unix"
)

// source is how a worker gets its connections.
type source string

const (
	framed    source = "framed"    // descriptor 3 is a link from a fastpass pool
	bare      source = "bare"      // descriptor 3 is a socket over which plain SCM_RIGHTS comes
	inherited source = "inherited" // descriptor 3 is a listening socket that all the workers share
	own       source = "own"       // it listens with SO_REUSEPORT
)

// workerTask is what a worker is told.
type workerTask struct {
	Source  source
	Address string // to listen at
}

// done is what a worker has done so far.
type done struct {
	Connections, Units uint64 // Units: of work
	CPU                time.Duration
}

func (d done) since(e done) done {
	return done{d.Connections - e.Connections, d.Units - e.Units, d.CPU - e.CPU}
}

// work serves HTTP until its source ends or it is ordered to drain. It says a first line when it is ready, and one with
// what it has done for each order to report.
func work(task workerTask) error {
	ln, err := task.listen()
	if err != nil {
		return err
	}
	var w worker
	says := json.NewEncoder(os.Stdout)
	go func() {
		for in := bufio.NewScanner(os.Stdin); in.Scan(); {
			switch in.Text() {
			case "report":
				_ = says.Encode(w.done())
			case "drain":
				ln.Close()
			}
		}
		os.Exit(0) // whoever started it is gone, or wants it gone
	}()
	if err := says.Encode(w.done()); err != nil {
		return err
	}
	if err := w.serve(ln); !errors.Is(err, net.ErrClosed) && !errors.Is(err, io.EOF) {
		return err
	}
	return nil
}

func (t workerTask) listen() (net.Listener, error) {
	switch t.Source {
	case own:
		c := net.ListenConfig{Control: reusePort, KeepAlive: -1} // or else Accept sets four options of each connection
		return c.Listen(context.Background(), "tcp", t.Address)
	case inherited:
		f := os.NewFile(3, "listener")
		defer f.Close()
		return net.FileListener(f)
	}
	link, err := takeLink(t.Source)
	if err != nil {
		return nil, err
	}
	return link.NetListener(), nil
}

// takeLink makes the receiving end of descriptor 3.
func takeLink(s source) (*fastpass.Passer, error) {
	c, err := role.UnixConn(os.NewFile(3, "link"))
	if err != nil {
		return nil, err
	}
	cfg := fastpass.Config{Direction: fastpass.RecvOnly}
	if s == bare {
		cfg.Protocol = fastpass.Bare
	}
	return fastpass.New(c, &cfg)
}

// worker counts what it does.
type worker struct {
	connections, units atomic.Uint64
	open               sync.WaitGroup // connections
}

func (w *worker) done() done { return done{w.connections.Load(), w.units.Load(), role.CPUTime()} }

// serve answers until ln ends, and then what is open. It does not call http.Server.Shutdown, which drops a request that
// is being read meanwhile (net/http since go.dev/issue/65802): Serve has returned, so all that was accepted is counted
// as open, and is waited for. That is the best that any of the contenders can do.
func (w *worker) serve(ln net.Listener) error {
	srv := &http.Server{Handler: w, ConnState: func(_ net.Conn, s http.ConnState) {
		switch s {
		case http.StateNew:
			w.open.Add(1)
			w.connections.Add(1)
		case http.StateClosed:
			w.open.Done()
		}
	}}
	err := srv.Serve(ln)
	w.open.Wait()
	return err
}

// ServeHTTP does the work that is asked for, GET /units/token, and answers with the token.
func (w *worker) ServeHTTP(out http.ResponseWriter, r *http.Request) {
	units, token, _ := strings.Cut(strings.TrimPrefix(r.URL.Path, "/"), "/")
	n, err := strconv.Atoi(units)
	if err != nil {
		http.Error(out, err.Error(), http.StatusBadRequest)
		return
	}
	for range n {
		unit()
	}
	w.units.Add(uint64(n))
	_, _ = io.WriteString(out, token)
}

var block [32 << 10]byte

// unit is the work of a light request, some 20 µs of it.
func unit() { _ = sha256.Sum256(block[:]) }

// kept is how many connections a greeter keeps: more than it takes before an acceptor to which no more clients come
// looks for what has been acknowledged.
const kept = 2048

// greet takes connections over descriptor 3, sends each a byte, and closes it when so many others have come that its
// client has left: a worker that costs little, and leaves the acceptor's copy never the last one, whose closing would
// be the worker's work done by the acceptor.
func greet(task workerTask) error {
	link, err := takeLink(task.Source)
	if err != nil {
		return err
	}
	if err := json.NewEncoder(os.Stdout).Encode(done{}); err != nil {
		return err
	}
	ds, fds := make([]fastpass.Desc, 253), make([]int, 0, 2*kept)
	for {
		n, err := link.RecvBatch(ds)
		if errors.Is(err, io.EOF) {
			fastpass.CloseFDs(fds)
			return nil
		}
		if err != nil {
			return err
		}
		for _, d := range ds[:n] {
			_ = unix.Send(d.FD, []byte{'!'}, unix.MSG_NOSIGNAL) // a client that is gone fails by itself
			fds = append(fds, d.FD)
		}
		if old := len(fds) - kept; old >= 253 {
			fastpass.CloseFDs(fds[:old])
			fds = append(fds[:0], fds[old:]...)
		}
	}
}

// reusePort is a net.ListenConfig.Control.
func reusePort(_, _ string, c syscall.RawConn) (err error) {
	cerr := c.Control(func(fd uintptr) {
		err = errors.Join(unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_REUSEPORT, 1),
			unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_KEEPALIVE, 1)) // connections inherit that
	})
	return errors.Join(cerr, err)
}
