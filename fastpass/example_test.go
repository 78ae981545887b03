//go:build unix

package fastpass_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"os"
	"os/exec"
	"os/signal"
	"slices"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"example.com/fdpass/fastpass"

	"golang.org/x/sys/unix"
)

// The front: it accepts connections and spreads them over four workers.
func Example_front() {
	pool, err := fastpass.NewPool(&fastpass.PoolConfig{
		Policy:       fastpass.LeastLoaded,
		StallTimeout: 5 * time.Second, // a worker that takes nothing for 5 s is dropped, and others get what it has not taken
		OnLeave: func(_ *fastpass.Passer, err error, back int) {
			log.Printf("a worker has left: %v; others get %d connections that it has not taken", err, back)
		},
	})
	if err != nil {
		log.Fatal(err)
	}
	var workers sync.WaitGroup
	for range 4 {
		cmd := exec.Command("./worker")
		cmd.Stderr = os.Stderr
		worker, err := fastpass.Spawn(cmd, &fastpass.Config{Direction: fastpass.SendOnly})
		if err == nil {
			err = pool.Add(worker)
		}
		if err != nil {
			log.Fatal(err)
		}
		workers.Go(func() { cmd.Wait() })
	}
	ln, err := net.Listen("tcp", ":8080")
	if err != nil {
		log.Fatal(err)
	}
	stop := make(chan os.Signal, 1)
	signal.Notify(stop, os.Interrupt, syscall.SIGTERM)
	go func() {
		<-stop
		signal.Stop(stop) // a second one ends this process at once
		ln.Close()
	}()
	if err := pool.Serve(ln); !errors.Is(err, net.ErrClosed) {
		log.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	if err := pool.Shutdown(ctx); err != nil { // delivers what has been accepted, and ends the links
		log.Print(err)
	}
	workers.Wait() // they serve what they have to the end
}

// The worker: a net/http server like any other, but for its listener. It ends when the front does, and drops no request
// then.
func Example_worker() {
	signal.Ignore(os.Interrupt, syscall.SIGTERM) // Ctrl-C and systemd tell the front as well, and this one ends with it
	front, err := fastpass.Inherit(&fastpass.Config{Direction: fastpass.RecvOnly})
	if err != nil {
		log.Fatal(err)
	}
	http.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprintln(w, "hello from process", os.Getpid())
	})
	var open sync.WaitGroup // the connections being served
	srv := &http.Server{ReadHeaderTimeout: 10 * time.Second, IdleTimeout: time.Minute}
	srv.ConnState = func(_ net.Conn, state http.ConnState) {
		switch state {
		case http.StateNew:
			open.Add(1)
		case http.StateClosed, http.StateHijacked:
			open.Done()
		}
	}
	err = srv.Serve(front.NetListener()) // returns when the front has ended, and all that it gave is being served
	if err != io.EOF && !errors.Is(err, fastpass.ErrPeerGone) {
		log.Fatal(err)
	}
	srv.SetKeepAlivesEnabled(false)
	open.Wait()
}

// A worker that also ends when it gets SIGTERM, without dropping a request. The link is closed first: what has been
// taken is still served, and the front gives the rest to others. http.Server.Shutdown is no help before that is done,
// as it drops connections from which no request has been read. Of clients that keep their connections, those that go on
// asking are told to connect anew; closing such a connection at once would break the request that is on its way then.
func ExamplePasser_NetListener() {
	term := make(chan os.Signal, 1)
	signal.Notify(term, syscall.SIGTERM) // before the front hears of this worker, and may tell it to end
	front, err := fastpass.Inherit(&fastpass.Config{Direction: fastpass.RecvOnly})
	if err != nil {
		log.Fatal(err)
	}
	ln := front.NetListener()
	go func() {
		<-term
		ln.Close()
	}()

	var leaving atomic.Bool
	handler := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if leaving.Load() {
			w.Header().Set("Connection", "close")
		}
		http.DefaultServeMux.ServeHTTP(w, r)
	})
	var open sync.WaitGroup // the connections being served
	srv := &http.Server{Handler: handler, ReadHeaderTimeout: 10 * time.Second, ConnState: func(_ net.Conn, state http.ConnState) {
		switch state {
		case http.StateNew:
			open.Add(1)
		case http.StateClosed, http.StateHijacked:
			open.Done()
		}
	}}
	err = srv.Serve(ln) // returns when everything that was taken has been handed out
	if err != io.EOF && !errors.Is(err, net.ErrClosed) && !errors.Is(err, fastpass.ErrPeerGone) {
		log.Fatal(err)
	}
	leaving.Store(true)
	time.AfterFunc(5*time.Second, func() { srv.SetKeepAlivesEnabled(false) }) // closes those that ask nothing more
	open.Wait()
}

// Both ends of a link in one process, to see what happens to a descriptor.
func ExamplePair() {
	here, file, err := fastpass.Pair(nil)
	if err != nil {
		log.Fatal(err)
	}
	conn, err := net.FileConn(file)
	if err != nil {
		log.Fatal(err)
	}
	file.Close()
	there, err := fastpass.New(conn.(*net.UnixConn), nil)
	if err != nil {
		log.Fatal(err)
	}

	r, w, err := os.Pipe()
	if err != nil {
		log.Fatal(err)
	}
	defer r.Close()
	// Keep, because w goes on owning its descriptor.
	err = here.Send(fastpass.Desc{FD: int(w.Fd()), Tag: 7, Payload: []byte("for the log"), Keep: true})
	if err != nil {
		log.Fatal(err)
	}
	d, err := there.Recv()
	if err != nil {
		log.Fatal(err)
	}
	fmt.Printf("tag %d, payload %q\n", d.Tag, d.Payload)

	if err := here.Shutdown(context.Background()); err != nil { // all is acknowledged
		log.Fatal(err)
	}
	w.Close()
	_, err = there.Recv()
	fmt.Println(err)
	there.Close()

	passed := os.NewFile(uintptr(d.FD), "pipe") // which owns the descriptor from now on
	passed.WriteString("through the passed descriptor")
	passed.Close()
	text, _ := io.ReadAll(r)
	fmt.Println(string(text))
	// Output:
	// tag 7, payload "for the log"
	// EOF
	// through the passed descriptor
}

// Many at a time: both ends use their slices again, that of RecvBatch with the memory for payloads in it.
func ExamplePasser_RecvBatch() {
	here, there := bothEnds()
	r, w, err := os.Pipe()
	if err != nil {
		log.Fatal(err)
	}
	defer r.Close()
	defer w.Close()
	go func() {
		ds := make([]fastpass.Desc, 100)
		for i := range ds {
			ds[i] = fastpass.Desc{FD: int(w.Fd()), Payload: []byte("input"), Keep: true}
		}
		for range 10 {
			if n, err := here.SendBatch(ds); err != nil {
				log.Fatal(err, ": the others are still ours: ", ds[n:])
			}
		}
		if err := here.Shutdown(context.Background()); err != nil {
			log.Fatal(err)
		}
	}()

	received, bytes := 0, 0
	ds, fds := make([]fastpass.Desc, 253), make([]int, 253)
	for {
		n, err := there.RecvBatch(ds)
		if err == io.EOF {
			break
		}
		if err != nil {
			log.Fatal(err)
		}
		for i, d := range ds[:n] {
			fds[i] = d.FD
			bytes += len(d.Payload) // the next call writes over it
		}
		fastpass.CloseFDs(fds[:n])
		received += n
	}
	there.Close()
	fmt.Println(received, "descriptors,", bytes, "bytes")
	// Output: 1000 descriptors, 5000 bytes
}

// bothEnds makes a link within this process, as the example of Pair does.
func bothEnds() (here, there *fastpass.Passer) {
	here, file, err := fastpass.Pair(nil)
	if err != nil {
		log.Fatal(err)
	}
	conn, err := net.FileConn(file)
	if err != nil {
		log.Fatal(err)
	}
	file.Close()
	if there, err = fastpass.New(conn.(*net.UnixConn), nil); err != nil {
		log.Fatal(err)
	}
	return here, there
}

// A front that reads the beginning of each connection before it chooses a worker.
func ExamplePool_Dispatch() {
	pool, err := fastpass.NewPool(&fastpass.PoolConfig{Policy: fastpass.Hash}) // workers join as in the first example
	if err != nil {
		log.Fatal(err)
	}
	ln, err := net.Listen("tcp", ":8080")
	if err != nil {
		log.Fatal(err)
	}
	for {
		c, err := ln.Accept()
		if err != nil {
			log.Fatal(err)
		}
		go func() {
			begin := make([]byte, 512)
			c.SetReadDeadline(time.Now().Add(10 * time.Second)) // or a client that sends nothing holds this goroutine for ever
			n, err := c.Read(begin)
			if err == nil {
				err = giveAway(pool, c.(*net.TCPConn), begin[:n])
			}
			if err != nil {
				log.Print(err)
				c.Close()
			}
		}()
	}
}

// giveAway hands c to a worker, whose Conn gives what was read first. C owns its descriptor and closes it, so the
// worker gets a duplicate.
func giveAway(pool *fastpass.Pool, c *net.TCPConn, read []byte) error {
	fd, err := duplicate(c)
	if err != nil {
		return err
	}
	if n, err := pool.Dispatch([]fastpass.Desc{{FD: fd, Tag: uint64(read[0]), Payload: read}}); n == 0 { // Hash goes by the tag
		fastpass.CloseFDs([]int{fd})
		return err
	}
	return c.Close() // the worker's copy keeps the connection
}

// duplicate returns a duplicate of the descriptor of c, which is the caller's.
func duplicate(c syscall.Conn) (fd int, err error) {
	raw, err := c.SyscallConn()
	if err != nil {
		return -1, err
	}
	cerr := raw.Control(func(s uintptr) { fd, err = unix.FcntlInt(s, unix.F_DUPFD_CLOEXEC, 0) })
	return fd, errors.Join(cerr, err)
}

// What a dead peer has not acknowledged comes back.
func ExamplePasser_Undelivered() {
	front, file, err := fastpass.Pair(nil)
	if err != nil {
		log.Fatal(err)
	}
	r, w, err := os.Pipe()
	if err != nil {
		log.Fatal(err)
	}
	defer r.Close()
	defer w.Close()
	for tag := range uint64(3) {
		if err := front.Send(fastpass.Desc{FD: int(r.Fd()), Tag: tag, Keep: true}); err != nil {
			log.Fatal(err)
		}
	}
	file.Close() // nobody has made this end a Passer: the peer is gone

	<-front.Done()
	fmt.Println(front.Err())
	for _, d := range front.Undelivered() {
		fmt.Println("tag", d.Tag, "is still ours")
	}
	front.Close()
	// Output:
	// fastpass: the peer is gone: it has ended, or has closed its socket
	// tag 0 is still ours
	// tag 1 is still ours
	// tag 2 is still ours
}

// A policy of one's own: worker 1 has the most memory, so it gets two of three, and its share of the rest.
func ExamplePolicyFunc() {
	policy := fastpass.PolicyFunc(func(d *fastpass.Desc, number uint64, workers []fastpass.Worker) int {
		first := slices.IndexFunc(workers, func(w fastpass.Worker) bool { return w.ID == 1 }) // -1: it is full, or gone
		if first >= 0 && number%3 < 2 {
			return first
		}
		return int(number/3) % len(workers)
	})
	workers := []fastpass.Worker{{ID: 1}, {ID: 2}, {ID: 3}}
	for number := range uint64(6) {
		fmt.Print(workers[policy.Pick(nil, number, workers)].ID, " ")
	}
	for number := range uint64(6) { // without worker 1
		fmt.Print(workers[1:][policy.Pick(nil, number, workers[1:])].ID, " ")
	}
	// Output: 1 1 1 1 1 2 2 2 2 3 3 3
}

func ExampleCloseFDs() {
	batch := make([]fastpass.Desc, 253)
	fds := make([]int, 0, len(batch))
	drop := func(p *fastpass.Passer) error { // receives descriptors and closes them
		n, err := p.RecvBatch(batch)
		fds = fds[:0]
		for _, d := range batch[:n] {
			fds = append(fds, d.FD)
		}
		fastpass.CloseFDs(fds)
		return err
	}
	_ = drop
}
