package front

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"example.com/fdpass/bench/compare/role"
	"example.com/fdpass/fastpass"
	"example.com/fdpass/internal/policy"

	"golang.org/x/sys/unix"
)

// The processes here accept at descriptor 4 and pass to workers, and obey orders that come over descriptor 3, as
// front.c does: a message with a descriptor brings the link of the worker whose number is its byte, and replaces the
// one before, whose worker is to finish; a message without one asks for a report.

// acceptorTask is what an acceptor is told.
type acceptorTask struct {
	Policy   string
	Protocol fastpass.Protocol
	Workers  int
}

// accepted is what an acceptor has done so far.
type accepted struct {
	CPU      time.Duration `json:"cpu_ns"`
	Passed   int64         `json:"passed"`
	Messages int64         `json:"messages"`
}

func (a accepted) since(b accepted) accepted {
	return accepted{a.CPU - b.CPU, a.Passed - b.Passed, a.Messages - b.Messages}
}

// obey serves orders until they end.
func obey(replace func(slot int, link *net.UnixConn) error, report func() accepted) error {
	orders, err := role.UnixConn(os.NewFile(3, "orders"))
	if err != nil {
		return err
	}
	defer orders.Close()
	b, control := make([]byte, 1), make([]byte, unix.CmsgSpace(4))
	for {
		n, oobn, _, _, err := orders.ReadMsgUnix(b, control)
		if n == 0 || errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		if oobn == 0 {
			a := report()
			a.CPU = role.CPUTime()
			text, _ := json.Marshal(a)
			if _, err := orders.Write(text); err != nil {
				return err
			}
			continue
		}
		link, err := linkIn(control[:oobn])
		if err == nil {
			err = replace(int(b[0]), link)
		}
		if err != nil {
			return err
		}
	}
}

func linkIn(control []byte) (*net.UnixConn, error) {
	ms, err := unix.ParseSocketControlMessage(control)
	if err != nil || len(ms) != 1 {
		return nil, fmt.Errorf("%d control messages with an order: %w", len(ms), err)
	}
	fds, err := unix.ParseUnixRights(&ms[0])
	if err != nil || len(fds) != 1 {
		return nil, fmt.Errorf("%d links with an order: %w", len(fds), err)
	}
	unix.CloseOnExec(fds[0])
	return role.UnixConn(os.NewFile(uintptr(fds[0]), "link"))
}

// listener is descriptor 4.
func listener() (net.Listener, error) {
	f := os.NewFile(4, "listener")
	defer f.Close()
	return net.FileListener(f)
}

// acceptWithPool is the front that this library is for.
func acceptWithPool(task acceptorTask) error {
	ln, err := listener()
	if err != nil {
		return err
	}
	pool, err := fastpass.NewPool(&fastpass.PoolConfig{Policy: policy.ByName(task.Policy)})
	if err != nil {
		return err
	}
	links := make([]*fastpass.Passer, task.Workers)
	var past int64 // messages over links that were replaced
	replace := func(slot int, c *net.UnixConn) error {
		link, err := fastpass.New(c, &fastpass.Config{Protocol: task.Protocol, Direction: fastpass.SendOnly})
		if err == nil {
			err = pool.Add(link)
		}
		if before := links[slot]; err == nil && before != nil {
			past += int64(before.Stats().SendCalls)
			err = before.Shutdown(context.Background())
		}
		links[slot] = link
		return err
	}
	report := func() accepted {
		a := accepted{Passed: int64(pool.Stats().Placed), Messages: past}
		for _, l := range links {
			if l != nil {
				a.Messages += int64(l.Stats().SendCalls)
			}
		}
		return a
	}
	serving := make(chan error, 1)
	go func() { serving <- pool.Serve(ln) }()
	if err := obey(replace, report); err != nil {
		return err
	}
	if err := pool.Shutdown(context.Background()); err != nil {
		return err
	}
	if err := <-serving; !errors.Is(err, net.ErrClosed) {
		return err
	}
	return nil
}

// acceptWithNet is the front that one writes first.
func acceptWithNet(task acceptorTask) error {
	ln, err := listener()
	if err != nil {
		return err
	}
	f := netAcceptor{links: make([]atomic.Pointer[net.UnixConn], task.Workers)}
	serving := make(chan error, 1)
	var begin sync.Once
	replace := func(slot int, link *net.UnixConn) error {
		if before := f.links[slot].Swap(link); before != nil {
			return before.Close()
		}
		if slot == task.Workers-1 {
			begin.Do(func() { go func() { serving <- f.serve(ln) }() })
		}
		return nil
	}
	report := func() accepted { return accepted{Passed: f.passed.Load(), Messages: f.passed.Load()} }
	if err := obey(replace, report); err != nil {
		return err
	}
	ln.Close()
	if err := <-serving; !errors.Is(err, net.ErrClosed) {
		return err
	}
	return nil
}

// netAcceptor passes with package net alone.
type netAcceptor struct {
	links  []atomic.Pointer[net.UnixConn]
	passed atomic.Int64
}

func (f *netAcceptor) serve(ln net.Listener) error {
	for turn := 0; ; turn++ {
		c, err := ln.Accept()
		if err != nil {
			return err
		}
		if err := f.pass(&f.links[turn%len(f.links)], c.(*net.TCPConn)); err != nil {
			return err
		}
		f.passed.Add(1)
	}
}

func (f *netAcceptor) pass(link *atomic.Pointer[net.UnixConn], c *net.TCPConn) error {
	defer c.Close()
	file, err := c.File()
	if err != nil {
		return err
	}
	defer file.Close()
	rights := unix.UnixRights(int(file.Fd()))
	for {
		_, _, err := link.Load().WriteMsgUnix([]byte{0}, rights, nil)
		if !errors.Is(err, net.ErrClosed) { // or else the link was replaced meanwhile
			return err
		}
	}
}
