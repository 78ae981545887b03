package fastpass

import (
	"fmt"
	"time"
)

// PoolConfig says how a pool works. A nil *PoolConfig, and every zero value in one, means the documented default.
type PoolConfig struct {
	// Policy decides which worker gets a descriptor, among those that have room: RoundRobin by default,
	// LeastLoaded, Hash, or one of the user's own.
	Policy Policy

	// StallTimeout is how long a worker may have descriptors on their way to it without acknowledging any. After that
	// the pool takes them back, ends the worker's link with ErrStalled, and gives them to others. Time in which this
	// process itself is stopped does not count.
	//
	// Set it: the default, 0, means for ever, and with RoundRobin a worker that is stuck then holds its share of the
	// clients for ever. It should be many milliseconds, as a worker may wait so long for a processor on a busy machine;
	// 5 s are a good choice.
	//
	// A worker whose table of descriptors is full has not stalled: it takes the rest when it has room. It says so where
	// acknowledgements go through memory (see README), every 50 ms, which is the least that makes sense then; elsewhere
	// it is taken for stalled.
	//
	// A worker with a Bare link acknowledges nothing: it has stalled when its socket takes no more, some hundreds of
	// messages later, and what the kernel has taken by then cannot be taken back.
	StallTimeout time.Duration

	// StartTimeout is how long a worker may take from Add until it has said HELLO, a minute by default. Then its link
	// ends with an error that wraps ErrStalled: the process may not call Inherit, or have another Protocol. Nothing
	// waits for it meanwhile. A Bare link has no HELLO.
	StartTimeout time.Duration

	// Backlog is how many descriptors wait in the pool at most while no worker has room for them, 1024 by default.
	// While it is full, Dispatch blocks, and the clients of Serve wait in the listening socket's queue.
	Backlog int

	// MaxPayload is how many bytes may come with one descriptor, 4096 by default. Workers must take as much.
	MaxPayload int

	// OnLeave is called when a worker's link has ended, with its Err and how many descriptors the pool took back from
	// it. It is called once for every worker: err is nil if the worker left in order, and workers that Pool.Shutdown
	// ends are among them. Each call has a goroutine of its own: it may block and may call the pool, may overlap with
	// others, and may come after Shutdown has returned.
	//
	// It is the place to start another worker. During Shutdown Pool.Add returns net.ErrClosed: close the new link then.
	// A map from *Passer to *exec.Cmd, filled before Add, tells which process has left: nothing else does (Passer.Peer
	// is this process, after Spawn).
	OnLeave func(w *Passer, err error, back int)
}

const (
	defaultBacklog      = 1024
	defaultStartTimeout = time.Minute
)

// PoolStats are counts since the pool was made.
type PoolStats struct {
	Workers     int    // now
	Ready       int    // of them, those that have said HELLO
	Waiting     int    // descriptors in the backlog now
	Placed      uint64 // descriptors given to workers; one that is given to another worker again counts again
	Redelivered uint64 // descriptors taken back from workers
	Refused     uint64 // descriptors that the kernel would not pass: see Config.OnRefused
	Accepted    uint64 // connections that Serve has accepted
	Pauses      uint64 // how often Serve has paused because this process or the system was short of descriptors or memory
}

// withDefaults returns a checked copy of c in which no field is left to its default.
func (c *PoolConfig) withDefaults() (PoolConfig, error) {
	var r PoolConfig
	if c != nil {
		r = *c
	}
	if r.Policy == nil {
		r.Policy = RoundRobin
	}
	if r.Backlog == 0 {
		r.Backlog = defaultBacklog
	}
	if r.StartTimeout == 0 {
		r.StartTimeout = defaultStartTimeout
	}
	if r.MaxPayload == 0 {
		r.MaxPayload = defaultMaxPayload
	}
	switch {
	case r.Backlog < 0:
		return r, fmt.Errorf("fastpass: PoolConfig.Backlog is %d, less than 0", r.Backlog)
	case r.StallTimeout < 0:
		return r, fmt.Errorf("fastpass: PoolConfig.StallTimeout is %v, less than 0", r.StallTimeout)
	case r.StartTimeout < 0:
		return r, fmt.Errorf("fastpass: PoolConfig.StartTimeout is %v, less than 0", r.StartTimeout)
	case r.MaxPayload < 1 || r.MaxPayload > maxMaxPayload:
		return r, fmt.Errorf("fastpass: PoolConfig.MaxPayload is %d, outside 1..%d", r.MaxPayload, maxMaxPayload)
	}
	return r, nil
}
