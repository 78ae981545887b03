//go:build linux

package main

import (
	"context"
	"net"
	"os"
	"slices"
	"time"

	"example.com/fdpass/fastpass"

	"golang.org/x/sys/unix"
)

const (
	million     = 1_000_000
	connections = 50_000 // over TCP: each costs the kernel 30 µs and more
	batch       = 253
	calls       = 2024 // descriptors in one call that fills a vector: 8 messages of 253
)

// paths are all the ways that are measured.
func paths() []path {
	var (
		framed = fastpass.Config{}
		bare   = fastpass.Config{Protocol: fastpass.Bare}
		single = fastpass.Config{Protocol: fastpass.Bare, Batch: 1, Messages: 1}
	)
	return []path{
		{name: "framed, batches, one way", descriptors: million, call: calls, open: batches(pair, oneWay(framed), plain)},
		{name: "framed, batches, both ways, Listen and Dial", descriptors: million, call: calls, open: batches(listened, both(framed), plain)},
		{name: "framed, batches, given away", descriptors: million, call: calls, open: batches(pair, oneWay(framed), given)},
		{name: "framed, batches, with payloads", descriptors: million, call: calls, open: batches(pair, oneWay(framed), loaded)},
		{name: "framed, singles, one way", descriptors: million, call: 1, open: singles(oneWay(framed))},
		{name: "framed, singles, both ways", descriptors: million, call: 1, open: singles(both(framed))},
		{name: "bare, batches, one way", descriptors: million, call: calls, open: batches(pair, oneWay(bare), plain)},
		{name: "bare, batches, both ways", descriptors: million, call: calls, open: batches(pair, both(bare), plain)},
		{name: "bare, batches, given away", descriptors: million, call: calls, open: batches(pair, oneWay(bare), given)},
		{name: "bare, singles, 1 per message", descriptors: million, call: 1, open: singles(oneWay(single))},
		{name: "bare, singles, both ways", descriptors: million, call: 1, open: singles(both(bare))},
		{name: "pool, batches, 3 workers", descriptors: million, call: batch, open: pool(fastpass.RoundRobin, batch)},
		{name: "pool, singles, least loaded", descriptors: million, call: 1, open: pool(fastpass.LeastLoaded, 1)},
		{name: "pool, singles, hash", descriptors: million, call: 1, open: pool(fastpass.Hash, 1)},
		{name: "Pool.Serve, TCP connections", descriptors: connections, call: wave, open: serve(overTCP)},
		{name: "Pool.Serve, Unix connections", descriptors: million, call: wave, open: serve(overUnix)},
		{
			name: "NetListener", descriptors: million, call: 32, open: netListener, // each becomes a net.Conn, which allocates
			byDesign: []string{"fastpass.newConn", "fastpass.(*Conn).Close"},
		},
	}
}

// oneWay and both are the configurations of the sending and the receiving end.
func oneWay(c fastpass.Config) [2]fastpass.Config {
	s, r := c, c
	s.Direction, r.Direction = fastpass.SendOnly, fastpass.RecvOnly
	return [2]fastpass.Config{s, r}
}

func both(c fastpass.Config) [2]fastpass.Config { return [2]fastpass.Config{c, c} }

// kind is what is sent.
type kind int

const (
	plain  kind = iota // the same descriptor, kept
	given              // a copy, closed by the library
	loaded             // kept, with a payload
)

// batches sends calls descriptors at a time.
func batches(connect func(s, r fastpass.Config) (p, q *fastpass.Passer, err error), cfg [2]fastpass.Config, what kind) func() (*lane, error) {
	return func() (*lane, error) {
		p, q, err := connect(cfg[0], cfg[1])
		if err != nil {
			return nil, err
		}
		null, err := os.Open(os.DevNull)
		if err != nil {
			return nil, err
		}
		l := newLane()
		l.stop = []func() error{p.Close, q.Close, null.Close}
		l.batchesFrom(q, calls)
		ds := make([]fastpass.Desc, calls)
		for i := range ds {
			ds[i] = fastpass.Desc{FD: int(null.Fd()), Tag: uint64(i), Keep: what != given}
			if what == loaded {
				ds[i].Payload = []byte("bytes that were read already")
			}
		}
		l.sendsFrom(ds, func(ds []fastpass.Desc) (int, error) {
			if what == given {
				if err := copies(ds, int(null.Fd())); err != nil {
					return 0, err
				}
			}
			return p.SendBatch(ds)
		})
		return l, nil
	}
}

// lent names fd so many times, for the sender to keep.
func lent(n, fd int) []fastpass.Desc {
	return slices.Repeat([]fastpass.Desc{{FD: fd, Keep: true}}, n)
}

// copies makes a copy of fd for each of ds.
func copies(ds []fastpass.Desc, fd int) (err error) {
	for i := range ds {
		if ds[i].FD, err = unix.FcntlInt(uintptr(fd), unix.F_DUPFD_CLOEXEC, 0); err != nil {
			return err
		}
	}
	return nil
}

// singles sends and receives one by one.
func singles(cfg [2]fastpass.Config) func() (*lane, error) {
	return func() (*lane, error) {
		p, q, err := pair(cfg[0], cfg[1])
		if err != nil {
			return nil, err
		}
		null, err := os.Open(os.DevNull)
		if err != nil {
			return nil, err
		}
		l := newLane()
		l.stop = []func() error{p.Close, q.Close, null.Close}
		l.singlesFrom(q)
		d := fastpass.Desc{FD: int(null.Fd()), Keep: true}
		l.sends(func(n int) error {
			for range n {
				if err := p.Send(d); err != nil {
					return err
				}
			}
			return nil
		})
		return l, nil
	}
}

// crew makes a pool with workers that take batches.
func crew(l *lane, cfg *fastpass.PoolConfig) (*fastpass.Pool, error) {
	p, err := fastpass.NewPool(cfg)
	if err != nil {
		return nil, err
	}
	l.stop = append(l.stop, func() error {
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		return p.Shutdown(ctx)
	})
	for range 3 {
		ends := oneWay(fastpass.Config{Window: 512}) // slots are made on first use: warming up reaches all of a small window
		w, q, err := pair(ends[0], ends[1])
		if err != nil {
			return nil, err
		}
		l.batchesFrom(q, batch)
		l.stop = append(l.stop, q.Close)
		if err := p.Add(w); err != nil {
			return nil, err
		}
	}
	return p, nil
}

// pool dispatches size descriptors at a time.
func pool(policy fastpass.Policy, size int) func() (*lane, error) {
	return func() (*lane, error) {
		l := newLane()
		p, err := crew(l, &fastpass.PoolConfig{Policy: policy})
		if err != nil {
			return nil, err
		}
		null, err := os.Open(os.DevNull)
		if err != nil {
			return nil, err
		}
		l.stop = append(l.stop, null.Close)
		l.sendsFrom(lent(size, int(null.Fd())), p.Dispatch)
		return l, nil
	}
}

// serve has Pool.Serve accept connections.
func serve(listen func() (net.Listener, *clients, error)) func() (*lane, error) {
	return func() (*lane, error) {
		l := newLane()
		p, err := crew(l, nil)
		if err != nil {
			return nil, err
		}
		ln, c, err := listen()
		if err != nil {
			return nil, err
		}
		served := make(chan error, 1)
		go func() { served <- p.Serve(ln) }()
		l.stop = append(l.stop, func() error { return <-served }, ln.Close)
		l.pass = func(n int) error { return c.connect(l, n) }
		return l, nil
	}
}

func overTCP() (net.Listener, *clients, error) {
	ln, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		return nil, nil, err
	}
	return ln, &clients{domain: unix.AF_INET, to: &unix.SockaddrInet4{Port: ln.Addr().(*net.TCPAddr).Port, Addr: [4]byte{127, 0, 0, 1}}}, nil
}

func overUnix() (net.Listener, *clients, error) {
	ln, err := net.Listen("unix", "@") // the kernel chooses a name
	if err != nil {
		return nil, nil, err
	}
	return ln, &clients{domain: unix.AF_UNIX, to: &unix.SockaddrUnix{Name: ln.Addr().String()}}, nil
}

// netListener has connections come out of a net.Listener.
func netListener() (*lane, error) {
	ends := oneWay(fastpass.Config{})
	p, q, err := pair(ends[0], ends[1])
	if err != nil {
		return nil, err
	}
	c, err := tcpConnection()
	if err != nil {
		return nil, err
	}
	l := newLane()
	ln := q.NetListener()
	l.stop = []func() error{p.Close, ln.Close, c.Close}
	l.take(func() (int, error) {
		conn, err := ln.Accept()
		if err != nil {
			return 0, err
		}
		return 1, conn.Close()
	})
	l.sendsFrom(lent(64, int(c.Fd())), p.SendBatch)
	return l, nil
}
