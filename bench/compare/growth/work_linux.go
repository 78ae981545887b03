package growth

import (
	"time"

	"example.com/fdpass/bench/limit"
	"example.com/fdpass/fastpass"
)

// work is one case, in the terms of whoever does it. What is 0 is as always: two processes, one link, no bytes.
type work struct {
	InFlight   int // one process sends so many and then receives them, turn about
	Open       int // descriptors open besides, in both processes
	Payload    int // bytes with each descriptor
	Workers    int // receivers behind a pool
	Goroutines int // that send one by one
}

// task is what a sending process is told.
type task struct {
	work
	Protocol fastpass.Protocol
	Policy   string // of the pool
	For      time.Duration
}

func (t *task) config(d fastpass.Direction) *fastpass.Config {
	c := &fastpass.Config{Protocol: t.Protocol, Direction: d, Window: limit.Window}
	if t.InFlight > 0 {
		c.Window = 2 * limit.Window // the acknowledgements of one turn may still be on their way when the next one begins
	}
	return c
}

// outcome is what a process did.
type outcome struct {
	N       int // descriptors
	Elapsed time.Duration
	CPU     time.Duration
}

const (
	batch    = 253
	messages = 8

	// body is how many bytes of records and payloads share a frame, and record what each descriptor takes besides its
	// payload.
	body, record = 16 << 10, 16
)

// limit returns the work as the C program's options.
func (w work) limit() limit.Options {
	o := limit.Options{
		Lend: true, InFlight: w.InFlight, Open: w.Open, Payload: w.Payload, Workers: w.Workers,
		Batch: batch, Messages: messages,
	}
	switch {
	case w.InFlight > 0:
		o.Batch = min(batch, w.InFlight)
	case w.Payload > 0:
		o.Batch = min(batch, body/(record+w.Payload)) // as many as share a frame
	case w.Workers > 0:
		o.Batch, o.Messages = (batch+w.Workers-1)/w.Workers, 1 // what each gets of a batch that was accepted, at most
	}
	return o
}
