//go:build linux

package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"os/signal"
	"sync"
	"syscall"
	"time"

	"example.com/fdpass/fastpass"
	"example.com/fdpass/internal/policy"

	"golang.org/x/sys/unix"
)

// frontSpec says what a front is like.
type frontSpec struct {
	Dir     string
	Policy  string
	Stall   time.Duration
	Backlog int  // of the pool; 0: the default, which is more than there are clients as a rule
	Hasty   bool // it shuts the pool down while Serve is running
}

// listenerFD is where a front finds the listening socket, which is the controller's: clients that connect
// while one front ends and the next begins wait in its queue.
const listenerFD = 3

// front is a front process.
type front struct {
	frontSpec
	program string
	line    *line
	ledger  *ledger
	ln      net.Listener
	pool    *fastpass.Pool
	links   []*fastpass.Listener
	joining sync.WaitGroup // goroutines that accept links
	workers sync.WaitGroup // processes
	serving chan struct{}  // closed when Serve has returned
}

func frontMain(arg string) int {
	signal.Ignore(syscall.SIGINT, syscall.SIGHUP, syscall.SIGTERM)
	if err := runFront(arg); err != nil {
		fmt.Fprintln(os.Stderr, "chaos front:", err)
		return exitFound
	}
	return exitOK
}

func runFront(arg string) (err error) {
	f := &front{serving: make(chan struct{})}
	if err := json.Unmarshal([]byte(arg), &f.frontSpec); err != nil {
		return err
	}
	if f.program, err = os.Executable(); err != nil {
		return err
	}
	if f.line, err = dialLine(f.Dir); err != nil {
		return err
	}
	leaving := make(chan struct{})
	go func() { // as long as the process, and so before stock is taken
		<-leaving
		for o := range f.line.orders { // whom no front will start any more
			f.line.say(note{Kind: noteUnborn, Worker: o.Worker.ID, Text: "the front is leaving"})
		}
	}()
	before, err := takeStock(listenerFD)
	if err != nil {
		return err
	}
	file := os.NewFile(listenerFD, "listener")
	if f.ln, err = net.FileListener(file); err != nil {
		return err
	}
	file.Close()
	f.ledger = newLedger(policy.ByName(f.Policy), f.line)
	go f.ledger.write()
	if err := f.open(); err != nil {
		return err
	}
	go f.serve()
	f.line.hello(0)
	for o := range f.line.orders {
		if o.Do == orderLeave {
			break
		}
		f.spawn(o.Worker)
	}
	close(leaving)
	f.leave()
	f.workers.Wait()
	f.ledger.close()
	n, what := leaks(before)
	f.line.say(note{Kind: noteBye, Count: n, Text: what})
	return nil
}

func (f *front) serve() {
	defer close(f.serving)
	err := f.pool.Serve(f.ln)
	for errors.Is(err, unix.EMFILE) { // it could not begin
		time.Sleep(10 * time.Millisecond)
		err = f.pool.Serve(f.ln)
	}
	if !errors.Is(err, net.ErrClosed) {
		f.line.fail(0, "Serve: %v", err)
	}
}

// open makes the pool, and the listeners where workers join it.
func (f *front) open() (err error) {
	f.pool, err = fastpass.NewPool(&fastpass.PoolConfig{Policy: f.ledger, StallTimeout: f.Stall, Backlog: f.Backlog, OnLeave: f.left})
	if err != nil {
		return err
	}
	f.links = nil
	for _, network := range []string{"unixpacket", "unix"} {
		l, err := fastpass.Listen(linkPath(f.Dir, network), &fastpass.Config{
			Network: network, Direction: fastpass.SendOnly, OnSent: f.ledger.sent,
		})
		if err != nil {
			f.close()
			return err
		}
		f.links = append(f.links, l)
		f.joining.Go(func() {
			for {
				link, err := l.Accept(context.Background())
				if errors.Is(err, net.ErrClosed) {
					return
				}
				if err != nil {
					f.line.fail(0, "Listener.Accept: %v", err)
					return
				}
				f.add(link, party{pid: link.Peer().PID})
			}
		})
	}
	return nil
}

// spawn starts a worker. It is called on the main thread only: see init.
func (f *front) spawn(s *workerSpec) {
	cmd := roleCommand(f.program, "worker", s)
	cfg := s.config(true)
	cfg.OnSent = f.ledger.sent
	link, err := fastpass.Spawn(cmd, cfg)
	if err != nil { // for want of descriptors, as a rule
		f.line.say(note{Kind: noteUnborn, Worker: s.ID, Text: err.Error()})
		return
	}
	f.workers.Go(func() { cmd.Wait() })
	f.add(link, party{worker: s.ID})
}

func (f *front) add(link *fastpass.Passer, p party) {
	f.ledger.join(link, p)
	if err := f.pool.Add(link); err != nil { // the pool is shut down
		f.ledger.leave(link)
		link.Close()
	}
}

// left is PoolConfig.OnLeave.
func (f *front) left(link *fastpass.Passer, err error, back int) {
	p := f.ledger.leave(link)
	why := "in order"
	if err != nil {
		why = err.Error()
	}
	f.line.say(note{Kind: noteLeft, Worker: p.worker, PID: p.pid, Count: back, Text: why})
}

// leave ends in order. What no worker has when the pool has ended goes through a new one: a client must not notice.
func (f *front) leave() {
	if !f.Hasty {
		f.ln.Close()
		<-f.serving
	}
	ds := f.close()
	f.ln.Close()
	<-f.serving
	for len(ds) > 0 {
		f.line.say(note{Kind: noteRemark, Text: fmt.Sprintf("%d were undelivered when the pool had ended", len(ds))})
		for err := f.open(); err != nil; err = f.open() {
			if !errors.Is(err, unix.EMFILE) {
				f.line.fail(0, "no second pool: %v", err)
				return
			}
			time.Sleep(10 * time.Millisecond)
		}
		if _, err := f.pool.Dispatch(ds); err != nil {
			f.line.fail(0, "Dispatch: %v", err)
		}
		for f.pool.Stats().Ready == 0 {
			time.Sleep(10 * time.Millisecond)
		}
		ds = f.close()
	}
	for f.ledger.size() > 0 { // OnLeave has goroutines of its own
		time.Sleep(time.Millisecond)
	}
}

// close ends the pool and returns what no worker would have.
func (f *front) close() []fastpass.Desc {
	for _, l := range f.links {
		l.Close()
	}
	f.joining.Wait()
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	f.pool.Shutdown(ctx)
	return f.pool.Undelivered()
}
