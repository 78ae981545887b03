//go:build linux

package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"example.com/fdpass/fastpass"
)

// lane is a link, or several, set up within this process so that one profile holds both ends.
type lane struct {
	pass func(n int) error // passes n descriptors, and returns when the receiving ends have them all
	got  countdown         // receivers count here
	stop []func() error    // in order
	ends sync.WaitGroup    // the receivers
	err  chan error        // the first receiver that failed
}

// sends makes a lane of send, which hands n descriptors to the library.
func (l *lane) sends(send func(n int) error) {
	l.pass = func(n int) error {
		l.got.start(n)
		if err := send(n); err != nil {
			return err
		}
		return l.arrived()
	}
}

// sendsFrom makes a lane of send, which is given ds over and over, and at the end as many of them as are left to pass.
func (l *lane) sendsFrom(ds []fastpass.Desc, send func(ds []fastpass.Desc) (int, error)) {
	l.sends(func(n int) error {
		for n > 0 {
			some := ds[:min(n, len(ds))]
			if _, err := send(some); err != nil {
				return err
			}
			n -= len(some)
		}
		return nil
	})
}

// arrived waits until as many have come as the countdown was started with.
func (l *lane) arrived() error {
	select {
	case <-l.got.zero:
		return nil
	case err := <-l.err:
		return err
	}
}

// close ends the links and waits for the receivers.
func (l *lane) close() error {
	var errs []error
	for _, stop := range l.stop {
		if err := stop(); err != nil && !errors.Is(err, net.ErrClosed) {
			errs = append(errs, err)
		}
	}
	l.ends.Wait()
	return errors.Join(errs...)
}

// countdown tells one waiter when so many have been counted.
type countdown struct {
	left atomic.Int64
	zero chan struct{}
}

func (c *countdown) start(n int) { c.left.Store(int64(n)) }

func (c *countdown) count(n int) {
	if c.left.Add(int64(-n)) == 0 {
		c.zero <- struct{}{}
	}
}

// take runs f, which counts what it receives, until the link ends.
func (l *lane) take(f func() (n int, err error)) {
	l.ends.Add(1)
	go func() {
		defer l.ends.Done()
		for {
			n, err := f()
			if n > 0 {
				l.got.count(n)
			}
			if err != nil {
				if err != io.EOF && !errors.Is(err, net.ErrClosed) && !errors.Is(err, fastpass.ErrPeerGone) {
					l.err <- err
				}
				return
			}
		}
	}()
}

func newLane() *lane {
	return &lane{got: countdown{zero: make(chan struct{}, 1)}, err: make(chan error, 8)} // more than there are receivers
}

// batchesFrom takes batches from q and closes them.
func (l *lane) batchesFrom(q *fastpass.Passer, size int) {
	ds, fds := make([]fastpass.Desc, size), make([]int, size)
	for i := range ds {
		ds[i].Payload = make([]byte, 0, 64)
	}
	l.take(func() (int, error) {
		n, err := q.RecvBatch(ds)
		for i := range ds[:n] {
			fds[i] = ds[i].FD
		}
		fastpass.CloseFDs(fds[:n])
		return n, err
	})
}

// singlesFrom takes one at a time.
func (l *lane) singlesFrom(q *fastpass.Passer) {
	one := make([]int, 1)
	l.take(func() (int, error) {
		d, err := q.Recv()
		if err != nil {
			return 0, err
		}
		one[0] = d.FD
		fastpass.CloseFDs(one)
		return 1, nil
	})
}

// pair makes a link within the process.
func pair(sender, receiver fastpass.Config) (p, q *fastpass.Passer, err error) {
	p, file, err := fastpass.Pair(&sender)
	if err != nil {
		return nil, nil, err
	}
	defer file.Close()
	c, err := net.FileConn(file)
	if err == nil {
		q, err = fastpass.New(c.(*net.UnixConn), &receiver)
	}
	if err != nil {
		p.Close()
	}
	return p, q, err
}

// listened makes the same link through Listen and Dial.
func listened(sender, receiver fastpass.Config) (p, q *fastpass.Passer, err error) {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	path := fmt.Sprintf("@fdpass-alloc-%d", os.Getpid())
	ln, err := fastpass.Listen(path, &receiver)
	if err != nil {
		return nil, nil, err
	}
	defer ln.Close()
	if p, err = fastpass.Dial(ctx, path, &sender); err != nil {
		return nil, nil, err
	}
	if q, err = ln.Accept(ctx); err != nil {
		p.Close()
	}
	return p, q, err
}
