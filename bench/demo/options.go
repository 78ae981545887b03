//go:build unix

package main

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"strings"
	"time"

	"example.com/fdpass/internal/policy"

	"golang.org/x/sys/unix"
)

const help = `make demo: accept connections in one process, answer them in others, and lose none

  make demo
  make demo ARGS="--seconds 30 --policy least-loaded"
  make demo ARGS=--json > result.json
  make demo ARGS="--listen :8080"            then: curl -i localhost:8080/hello
                                             or:   wrk -c 100 -d 10 http://localhost:8080/
  make demo ARGS="--listen :8080 --faults"   the same while workers are killed

A front process listens on loopback, accepts connections and hands them in batches to worker processes, which answer
them with net/http. A load process makes requests, nine of ten connections for one request each and the tenth for ten. One
worker is killed (SIGKILL), one is stopped (SIGSTOP) until the pool has given its connections to others, one is asked
to drain; each is replaced. A table at the end says what became of the connections.

  --workers N     worker processes, 1 to 64 (default 4)
  --seconds S     how long the load lasts, 1 to 600 (default 10); with --listen, the time over which faults are spread
  --policy NAME   which worker gets a connection: round-robin (default), least-loaded, or hash (by the client's address)
  --listen ADDR   serve on ADDR, such as :8080 or 127.0.0.1:0, until Ctrl-C, for clients of your own; no load process
  --faults        kill, stop and drain workers: on by default, off by default with --listen (--faults=false: off)
  --json          print the result as one JSON object on standard output instead of the table
  --help          this

Words of the table:
  redelivered   not acknowledged by a worker that was killed or stopped, or that left: given to another one
  broken        no answer, as a killed worker had already taken the connection
  lost          no answer, though no killed worker had taken the connection
  retried       a worker that left closed a kept-alive connection while the next request was on its way; asked again on a
                new connection and answered, as every HTTP client does

Exit status: 0; 1 if a connection was lost, or delivered twice; 2 if the options make no sense or the system does not allow it.
`

type options struct {
	workers int
	seconds int
	policy  string
	listen  string // "": loopback, with a load process
	faults  bool
	json    bool
	help    bool
	clients int // of the load process; not the user's to set
}

// parse reads the command line. Its errors fit on one line.
func parse(args []string) (*options, error) {
	o := &options{}
	set := flag.NewFlagSet("demo", flag.ContinueOnError)
	set.SetOutput(io.Discard)
	set.IntVar(&o.workers, "workers", 4, "")
	set.IntVar(&o.seconds, "seconds", 10, "")
	set.StringVar(&o.policy, "policy", "round-robin", "")
	set.StringVar(&o.listen, "listen", "", "")
	set.BoolVar(&o.faults, "faults", false, "")
	set.BoolVar(&o.json, "json", false, "")
	err := set.Parse(args)
	if errors.Is(err, flag.ErrHelp) {
		return &options{help: true}, nil
	}
	given := map[string]bool{}
	set.Visit(func(f *flag.Flag) { given[f.Name] = true })
	switch {
	case err != nil:
		return nil, err
	case set.NArg() > 0:
		return nil, fmt.Errorf("%q is no option", set.Arg(0))
	case o.workers < 1 || o.workers > 64:
		return nil, fmt.Errorf("--workers is %d, outside 1 to 64", o.workers)
	case o.seconds < 1 || o.seconds > 600:
		return nil, fmt.Errorf("--seconds is %d, outside 1 to 600", o.seconds)
	case policy.ByName(o.policy) == nil:
		return nil, fmt.Errorf("--policy is %q, none of round-robin, least-loaded and hash", o.policy)
	case given["listen"] && o.listen == "":
		return nil, errors.New("--listen needs an address, such as :8080")
	case given["listen"] && !strings.Contains(o.listen, ":"):
		return nil, fmt.Errorf("--listen is %q, which has no port; such as :8080", o.listen)
	}
	if !given["faults"] {
		o.faults = o.listen == ""
	}
	return o, o.fit()
}

// fit bounds the load by how many descriptors a process may open. (The Go runtime has raised the limit as far as it
// may.)
func (o *options) fit() error {
	const most, own, each = 64, 24, 4 // clients; descriptors of a process's own; those of a worker in the front
	var limit unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &limit); err != nil {
		return err
	}
	// In the front, a connection may wait in the accepting batch while its predecessor's copy waits for its
	// acknowledgement.
	o.clients = most
	if room := int64(limit.Cur) - own - int64(each*o.workers); limit.Cur < 1<<20 && room < 2*most {
		o.clients = int(room / 2)
	}
	if o.clients < 1 {
		return fmt.Errorf("a process may open %d descriptors (ulimit -n), %d workers need %d", limit.Cur, o.workers, own+each*o.workers+2)
	}
	return nil
}

// stallTimeout is how long a stopped worker keeps its connections.
func (o *options) stallTimeout() time.Duration {
	return min(500*time.Millisecond, time.Duration(o.seconds)*time.Second/10)
}
