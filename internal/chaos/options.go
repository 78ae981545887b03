//go:build linux

package main

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"math/rand/v2"
	"time"
)

const help = `make chaos: pass connections between real processes, break what can be broken, and lose none

  make chaos
  make chaos DURATION=1h SEED=7
  make chaos ARGS="--rate 2000 --workers 8 --verbose"

A front accepts TCP connections and spreads them with fastpass.Pool over worker processes. Some workers are started by it
(fastpass.Spawn), some come by themselves (fastpass.Dial), over seqpacket and stream sockets, taking batches or single
connections from a net.Listener. Each client sends a token, at once or in pieces, and expects it back once, with the name of
the worker, and then the end of the connection. Meanwhile, at random but from the seed, faults happen.

  --duration D   how long, such as 90s or 1h (default 1m): as long as new connections are opened
  --seed N       which faults, when, what workers and clients (default: a random one, which is printed). Which of the workers
                 a fault hits depends on who is there
  --rate N       connections per second, on average, 1 to 2000 (default 800)
  --workers N    worker processes, 1 to 32 (default 5); who ends is replaced
  --clients N    connections open at a time, at most, 1 to 4000 (default 1000)
  --faults N     faults per minute, 0 to 1200 (default 150)
  --stall D      PoolConfig.StallTimeout, at least 50ms (default 300ms)
  --verbose      a line for each fault
  --help         this

Faults:
  kill         a worker gets SIGKILL, at any moment, also while it is stopped or leaves
  stop         a worker gets SIGSTOP for longer than the stall timeout, then SIGCONT
  pause        the same for less than the stall timeout
  squeeze      prlimit(2): the worker's descriptor table shrinks to about what is open, sometimes below, and wavers
  flap         the worker opens and closes descriptors of its own as fast as it can, with a small table
  drain        a worker leaves in order and ends
  rejoin       a worker that has dialled leaves in order and comes back
  outage       all workers go at once, in order or not, and nobody comes for a while
  front full   prlimit(2): the front's descriptor table shrinks to about what is open, or below
  front pause  the front gets SIGSTOP, and then SIGCONT: to it all workers seem to have stalled
  front        the front leaves in order, what it has accepted is delivered, and another one takes over
  ambush       a worker is stopped, continued while the front is stopped, and killed when it has taken something: what it has
               acknowledged lies behind the reset of its link

The front is never killed: what it has accepted and not delivered would die with it, whatever a library does.

Words of the table:
  passed        answered once, by the worker that had acknowledged it and by no other
  redelivered   taken back by the front from workers that did not acknowledge in time, or not at all, and given to others
  broken        no answer, as the worker that had acknowledged the connection was killed: it was that worker's own
  lost          no answer, a wrong one, or bytes that were not the client's, with no such excuse
  doubled       given to the applications of two workers, or answered twice
  leaked        descriptors and goroutines that a front or a worker had more at its end than at its start, connections that were
                still open when all clients had gone, sockets left in the kernel

Exit status: 0; 1 if any of the last three is not 0 (each case is told), or if a process failed; 2 if the options make no sense.
`

type options struct {
	duration time.Duration
	seed     uint64
	rate     int
	workers  int
	clients  int
	faults   int
	stall    time.Duration
	verbose  bool
	help     bool
	sabotage string // for the test that chaos can fail: what workers do wrong
}

// sabotages are what a worker can be made to do wrong.
var sabotages = map[string]bool{"": true, "drop": true, "double": true, "leak": true}

// parse reads the command line. Its errors fit on one line.
func parse(args []string) (*options, error) {
	o := &options{}
	set := flag.NewFlagSet("chaos", flag.ContinueOnError)
	set.SetOutput(io.Discard)
	set.DurationVar(&o.duration, "duration", time.Minute, "")
	set.Uint64Var(&o.seed, "seed", rand.Uint64N(1_000_000), "")
	set.IntVar(&o.rate, "rate", 800, "")
	set.IntVar(&o.workers, "workers", 5, "")
	set.IntVar(&o.clients, "clients", 1000, "")
	set.IntVar(&o.faults, "faults", 150, "")
	set.DurationVar(&o.stall, "stall", 300*time.Millisecond, "")
	set.BoolVar(&o.verbose, "verbose", false, "")
	set.StringVar(&o.sabotage, "sabotage", "", "")
	err := set.Parse(args)
	if errors.Is(err, flag.ErrHelp) {
		return &options{help: true}, nil
	}
	between := func(name string, n, low, high int) error {
		if n < low || n > high {
			return fmt.Errorf("--%s is %d, outside %d to %d", name, n, low, high)
		}
		return nil
	}
	switch {
	case err != nil:
		return nil, err
	case set.NArg() > 0:
		return nil, fmt.Errorf("%q is no option", set.Arg(0))
	case o.duration < time.Second:
		return nil, fmt.Errorf("--duration is %v, less than a second", o.duration)
	case o.stall < 50*time.Millisecond || o.stall > time.Second:
		return nil, fmt.Errorf("--stall is %v, outside 50ms to 1s", o.stall)
	case !sabotages[o.sabotage]:
		return nil, fmt.Errorf("--sabotage is %q, none of drop, double and leak", o.sabotage)
	}
	return o, errors.Join(
		between("rate", o.rate, 1, 2000),
		between("workers", o.workers, 1, 32),
		between("clients", o.clients, 1, 4000),
		between("faults", o.faults, 0, 1200),
	)
}
