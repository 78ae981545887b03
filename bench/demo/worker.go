//go:build unix

package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/signal"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"example.com/fdpass/fastpass"
)

// grace is how long a worker that ends waits for its clients, and the front for its workers.
const grace = 10 * time.Second

// workerMain answers the connections that come over the link from the front, until the link ends or SIGTERM asks it to
// drain.
func workerMain(args []string) int {
	// Ctrl-C goes to the whole process group, but it is the front that decides when workers end: by ending their links.
	signal.Ignore(syscall.SIGINT, syscall.SIGHUP)
	link, err := fastpass.Inherit(&fastpass.Config{Direction: fastpass.RecvOnly})
	if err != nil {
		fmt.Fprintln(os.Stderr, "demo worker:", err)
		return 1
	}
	ln := link.NetListener()

	drain := make(chan os.Signal, 1)
	signal.Notify(drain, syscall.SIGTERM)
	go func() {
		<-drain
		ln.Close()
	}()

	name := fmt.Sprintf("worker %s (process %d)", args[0], os.Getpid())
	var open sync.WaitGroup // connections
	var served atomic.Uint64
	srv := &http.Server{
		ReadHeaderTimeout: grace,
		Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			fmt.Fprintln(w, name, "answers", r.Method, r.URL)
		}),
		ConnState: func(_ net.Conn, s http.ConnState) {
			switch s {
			case http.StateNew:
				open.Add(1)
				served.Add(1)
			case http.StateClosed, http.StateHijacked:
				open.Done()
			}
		},
	}
	fmt.Println() // ready
	// Serve returns when the listener is closed and holds no connection any more, so that all that this process has
	// acknowledged count as open. They are waited for here, not by Shutdown: a request that net/http reads during
	// Shutdown is dropped, even if it is the first of its connection (server.go, since go.dev/issue/65802).
	err = srv.Serve(ln)
	srv.SetKeepAlivesEnabled(false)
	ctx, cancel := context.WithTimeout(context.Background(), grace/2)
	defer cancel()
	go func() {
		open.Wait()
		cancel()
	}()
	<-ctx.Done()
	srv.Close()
	fmt.Println(served.Load())
	if errors.Is(err, net.ErrClosed) || errors.Is(err, io.EOF) {
		return 0
	}
	fmt.Fprintln(os.Stderr, "demo worker:", err)
	return 1
}
