//go:build linux

package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"os/signal"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"example.com/fdpass/fastpass"
	"example.com/fdpass/internal/loopback"

	"golang.org/x/sys/unix"
)

// workerSpec says what a worker is like.
type workerSpec struct {
	ID       int
	Dir      string
	Spawned  bool   // by the front; else by the controller, and it dials
	Network  string // of the link
	Both     bool   // Config.Direction is Both: a goroutine of the link's own reads the socket
	Listener bool   // it takes connections from NetListener; else batches
	Batch    int    // of so many
	Shutdown bool   // it leaves with Shutdown; else with Close
	Sabotage string
}

func (s *workerSpec) String() string {
	words := []string{"dials", s.Network, fmt.Sprintf("RecvBatch of %d", s.Batch), "receive only"}
	if s.Spawned {
		words[0] = "spawned"
	}
	if s.Listener {
		words[2] = "NetListener"
	}
	if s.Both {
		words[3] = "both directions"
	}
	return strings.Join(words, ", ")
}

func (s *workerSpec) config(out bool) *fastpass.Config {
	c := &fastpass.Config{Network: s.Network, Direction: fastpass.RecvOnly}
	switch {
	case s.Both:
		c.Direction = fastpass.Both
	case out:
		c.Direction = fastpass.SendOnly
	}
	return c
}

// worker is a worker process.
type worker struct {
	workerSpec
	line   *line
	rand   *rand.Rand     // of the goroutine that takes connections
	open   sync.WaitGroup // connections
	flaps  sync.WaitGroup
	serial atomic.Uint64

	mu      sync.Mutex
	link    *fastpass.Passer   // the last one
	stop    context.CancelFunc // no other is to be made
	leaving bool
	over    bool // no flap may begin any more
}

func workerMain(arg string) int {
	// Ctrl-C goes to the whole process group, but it is the controller that decides when processes end.
	signal.Ignore(syscall.SIGINT, syscall.SIGHUP, syscall.SIGTERM)
	w := &worker{}
	if err := json.Unmarshal([]byte(arg), &w.workerSpec); err != nil {
		fmt.Fprintln(os.Stderr, "chaos worker:", err)
		return exitUsage
	}
	w.rand = rand.New(rand.NewPCG(uint64(w.ID), 1))
	var err error
	if w.line, err = dialLine(w.Dir); err != nil {
		fmt.Fprintln(os.Stderr, "chaos worker:", err)
		return exitFound
	}
	go w.obey()
	inherited := -1
	if w.Spawned {
		inherited, _ = strconv.Atoi(os.Getenv("FASTPASS_FD"))
	}
	before, err := takeStock(inherited)
	if err == nil && w.Spawned {
		w.link, err = fastpass.Inherit(w.config(false))
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "chaos worker:", err)
		return exitFound
	}
	w.line.hello(w.ID)
	if w.Spawned {
		w.serve(w.link)
	} else {
		w.dial()
	}
	w.open.Wait()
	w.mu.Lock()
	w.over = true
	w.mu.Unlock()
	w.flaps.Wait()
	n, what := leaks(before)
	w.line.say(note{Kind: noteBye, Worker: w.ID, Count: n, Text: what})
	return exitOK
}

// dial serves one link after the other, until the worker is to leave.
func (w *worker) dial() {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	w.mu.Lock()
	w.stop = cancel
	if w.leaving {
		cancel()
	}
	w.mu.Unlock()
	for ctx.Err() == nil {
		link, err := fastpass.Dial(ctx, linkPath(w.Dir, w.Network), w.config(false))
		if err != nil { // there is no front, or no descriptor left
			select {
			case <-ctx.Done():
			case <-time.After(20 * time.Millisecond):
			}
			continue
		}
		w.mu.Lock()
		w.link = link
		w.mu.Unlock()
		if ctx.Err() != nil { // part may not have seen the link
			link.Close()
		}
		w.serve(link)
	}
}

// serve takes connections until the link ends.
func (w *worker) serve(link *fastpass.Passer) {
	err := w.receive(link)
	switch {
	case errors.Is(err, io.EOF) || errors.Is(err, net.ErrClosed):
	case errors.Is(err, fastpass.ErrPeerGone) && !w.Spawned && link.Stats().Received == 0:
		// The front has closed its listener before it accepted this link.
	default:
		w.line.fail(w.ID, "its link ended after %d connections: %v", link.Stats().Received, err)
	}
	link.Close()
}

// receive takes connections until the link ends, and says why it did.
func (w *worker) receive(link *fastpass.Passer) error {
	if w.Listener {
		ln := link.NetListener()
		for {
			c, err := ln.Accept()
			if err != nil {
				return err
			}
			conn := c.(*fastpass.Conn)
			raw, _ := conn.SyscallConn()
			var label uint64
			raw.Control(func(fd uintptr) { label = loopback.PeerLabel(int(fd)) })
			w.take(label)
			w.check(label, conn)
			w.open.Add(1)
			go w.answer(conn, label, w.think())
		}
	}
	ds := make([]fastpass.Desc, w.Batch)
	labels := make([]uint64, 0, w.Batch)
	for {
		n, err := link.RecvBatch(ds)
		if n == 0 {
			return err
		}
		labels = labels[:0]
		for _, d := range ds[:n] {
			labels = append(labels, loopback.PeerLabel(d.FD))
		}
		w.take(labels...)
		for i, d := range ds[:n] {
			conn, err := fastpass.NewConn(d)
			if err != nil {
				w.line.say(note{Kind: noteRemark, Labels: labels[i : i+1], Text: fmt.Sprintf("worker %d: %v", w.ID, err)})
				unix.Close(d.FD)
				continue
			}
			w.check(labels[i], conn)
			w.open.Add(1)
			go w.answer(conn, labels[i], w.think())
		}
	}
}

// take notes that the application has been given connections, before it does anything with them.
func (w *worker) take(labels ...uint64) {
	w.line.say(note{Kind: noteTaken, Worker: w.ID, Labels: labels})
}

// check sees to it that the tag is that of this descriptor.
func (w *worker) check(label uint64, c *fastpass.Conn) {
	if c.Tag() != label {
		w.line.say(note{Kind: noteMixed, Worker: w.ID, Labels: []uint64{c.Tag(), label}})
	}
}

// think is how long the worker takes over a request: mostly not long, so that some have been taken when it is killed.
func (w *worker) think() time.Duration {
	switch w.rand.IntN(20) {
	case 0:
		return time.Duration(w.rand.IntN(200)) * time.Millisecond
	case 1, 2, 3, 4:
		return time.Duration(w.rand.IntN(20)) * time.Millisecond
	}
	return 0
}

// answer reads a token to its end, and sends it back with the name of this worker.
func (w *worker) answer(c net.Conn, label uint64, think time.Duration) {
	defer w.open.Done()
	defer c.Close()
	serial := w.serial.Add(1)
	c.SetDeadline(time.Now().Add(patience))
	got, err := bufio.NewReader(io.LimitReader(c, longestToken)).ReadString('\n')
	if err != nil {
		w.line.say(note{Kind: noteRemark, Labels: []uint64{label}, Text: fmt.Sprintf("worker %d reads %q: %v", w.ID, got, err)})
		return
	}
	time.Sleep(think)
	answer := fmt.Sprintf("%s %d %d %d\n", strings.TrimSuffix(got, "\n"), w.ID, os.Getpid(), serial)
	if serial == 20 {
		switch w.Sabotage {
		case "drop":
			return
		case "double":
			answer += answer
		case "leak":
			unix.Open("/dev/null", unix.O_RDONLY|unix.O_CLOEXEC, 0)
		}
	}
	if _, err := io.WriteString(c, answer); err != nil {
		w.line.say(note{Kind: noteRemark, Labels: []uint64{label}, Text: fmt.Sprintf("worker %d writes: %v", w.ID, err)})
	}
}

// obey does what the controller orders.
func (w *worker) obey() {
	for o := range w.line.orders {
		switch o.Do {
		case orderLeave:
			w.part(true)
		case orderRejoin:
			w.part(false)
		case orderFlap:
			w.mu.Lock()
			if !w.over {
				w.flaps.Go(func() { w.flap(o.For) })
			}
			w.mu.Unlock()
		}
	}
}

// part ends the link in order.
func (w *worker) part(forGood bool) {
	w.mu.Lock()
	w.leaving = w.leaving || forGood
	link := w.link
	if forGood && w.stop != nil {
		w.stop()
	}
	w.mu.Unlock()
	switch {
	case link == nil:
	case w.Shutdown:
		link.Shutdown(context.Background())
	default:
		link.Close()
	}
}

// flap opens descriptors until there is no place for more, and closes them, again and again.
func (w *worker) flap(last time.Duration) {
	null, err := unix.Open("/dev/null", unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return
	}
	defer unix.Close(null)
	fds := make([]int, 0, 300)
	for end := time.Now().Add(last); time.Now().Before(end); time.Sleep(time.Millisecond) {
		for len(fds) < cap(fds) {
			fd, err := unix.FcntlInt(uintptr(null), unix.F_DUPFD_CLOEXEC, 0)
			if err != nil {
				break
			}
			fds = append(fds, fd)
		}
		fastpass.CloseFDs(fds)
		fds = fds[:0]
	}
}
