//go:build linux

package fastpass

import (
	"fmt"
	"math/rand/v2"
	"sync"
	"syscall"
	"testing/synctest"
	"time"

	"example.com/fdpass/internal/simkernel"
	"example.com/fdpass/internal/sys"

	"golang.org/x/sys/unix"
)

// sim is one run of the simulation: a front process that hands descriptors to worker processes, all on a simulated
// kernel, driven by one goroutine that makes every choice with one source of random numbers. Time is that of a synctest
// bubble.
//
// The real code runs, with these exceptions: the driver calls the pump's step when the socket would wake it, and what
// the pool's goroutines do when they would be woken; a call of Recv that would park returns a deadline error instead,
// and where there is a pump it may keep the reader's role as if it waited. The few goroutines that are left (timers,
// the writer of a full socket, Close) move only while the driver rests, and use a socket only when it lets them, one at
// a time.
//
//	sim_world_test.go     the run and what it begins with
//	sim_link_test.go      processes, links and the pool
//	sim_fault_test.go     what goes wrong with a call
//	sim_steps_test.go     random steps
//	sim_calm_test.go      what goes on by itself, and the end of a run
//	sim_traffic_test.go   sending, receiving, taking back
//	sim_stranger_test.go  peers that are not this library
//	sim_oracle_test.go    what must hold between two steps
//	sim_settled_test.go   what must hold when all has come to rest
//	sim_mutation_test.go  kernels that lie, to see that the oracle notices
//	sim_fuzz_test.go      choices that a fuzzer makes
type sim struct {
	simOptions
	rng     *rand.Rand
	k       *simkernel.Kernel
	wrap    func(e *simEnd, k sys.Kernel) sys.Kernel // mutations; may be nil
	front   *simProc
	workers []*simProc
	links   []*simLink
	odd     *simStranger // nil: all are of this library
	descs   []*simDesc   // by the ID of their file
	pool    *Pool        // nil: the front sends over the links themselves
	back    []Desc       // then: what came back from links that have ended
	cancel  func()       // ends the wait of the pool's Shutdown
	down    chan error   // what that returned

	calm    bool // nothing goes wrong any more
	orderly bool // the run is in its last part: all end in order
	kills   int  // how many more processes may die
	fuse    fuse // of the next one that dies in the middle of a call

	tracing bool
	trace   []string
	hash    uint64
	counts  simCounts
	bad     string // what the oracle did not like, first
}

// simOptions are what is chosen first.
type simOptions struct {
	Config
	kind       int // of sockets
	worker     Direction
	pooled     bool
	policy     Policy
	payloads   bool
	untagged   bool // descriptors have no tag, so that messages go without records
	bad        bool // descriptors that are not open
	refusing   bool // the kernel refuses descriptors that are open
	broken     bool // calls fail with an errno that nobody has heard of
	threads    bool // others in the process open and close descriptors in the middle of a call
	faults     int  // per mille of calls
	buffer     int
	privileged bool
	oneByOne   bool
	stranger   bool
	steps      int
	workers    int
}

// simCounts are what many runs have seen.
type simCounts struct {
	runs, steps, calls, faults, deaths, passed, back int
}

func (c *simCounts) add(o simCounts) {
	c.runs += o.runs
	c.steps += o.steps
	c.calls += o.calls
	c.faults += o.faults
	c.deaths += o.deaths
	c.passed += o.passed
	c.back += o.back
}

func (c simCounts) String() string {
	return fmt.Sprintf("%d runs, %d steps, %d calls, %d faults in calls, %d deaths; %d descriptors passed, %d came back",
		c.runs, c.steps, c.calls, c.faults, c.deaths, c.passed, c.back)
}

const (
	simLimit = 600     // descriptors, when all is well
	notOpen  = 1 << 20 // the numbers from here on are not open
)

func newSim(choices rand.Source) *sim {
	s := &sim{rng: rand.New(choices)}
	s.choose()
	s.kills = s.rng.IntN(4)
	s.counts.runs = 1
	s.k = &simkernel.Kernel{SendBuffer: s.buffer, OneByOne: s.oneByOne, Fault: s.fault, Trace: s.called}
	s.front = s.process("front")
	s.front.Exempt = s.privileged
	return s
}

func (o *simOptions) pick(r *rand.Rand) {
	pick := func(n ...int) int { return n[r.IntN(len(n))] }
	one := func(in int) bool { return r.IntN(in) == 0 }
	o.kind = pick(unix.SOCK_SEQPACKET, unix.SOCK_STREAM)
	o.Window = pick(4, 8, 16, 32, 64)
	o.Batch = pick(1, 2, 3, 5, 8, 16)
	o.Messages = pick(1, 2, 4)
	o.MaxPayload = 64
	switch r.IntN(4) {
	case 0:
		o.Direction, o.worker = SendOnly, RecvOnly
	case 1:
		o.Direction, o.worker = SendOnly, Both
	case 2:
		o.Direction, o.worker = Both, RecvOnly
	}
	if one(4) {
		o.Protocol = Bare
	}
	o.policy = []Policy{RoundRobin, LeastLoaded, Hash}[r.IntN(3)]
	o.pooled, o.payloads, o.bad, o.refusing = one(2), one(2), one(3), one(6)
	o.broken = one(8)
	o.threads = o.Protocol == Framed && one(3) // a Bare end is told to leave room for others
	o.privileged, o.oneByOne, o.stranger = !one(3), one(3), one(4)
	o.faults = pick(0, 10, 50, 150)
	o.buffer = pick(2304, 4608, 9000, simkernel.DefaultSendBuffer)
	o.steps = 50 + r.IntN(200)
	o.untagged = o.steps%3 == 0
	o.workers = 1 + r.IntN(3)
}

func (s *sim) choose() { s.simOptions.pick(s.rng) }

// run is the whole run, which s.bad tells the outcome of. It runs in a bubble.
func (s *sim) run() {
	s.begin()
	s.after()
	for i := 0; i < s.steps && s.bad == ""; i++ {
		s.step()
		s.after()
	}
	if s.bad == "" {
		s.heal()
	}
	if s.bad == "" {
		s.finish()
	}
	s.count()
	s.cleanUp()
}

// begin starts the pool and the first workers.
func (s *sim) begin() {
	s.note("%+v", s.simOptions)
	if s.pooled {
		var err error
		s.pool, err = assemblePool(&PoolConfig{
			Backlog: 32, MaxPayload: s.MaxPayload, StallTimeout: 20 * time.Millisecond, Policy: s.policy,
		})
		if err != nil {
			panic(err)
		}
		s.pool.write.expired.Store(true) // Dispatch must not wait
	}
	for range s.simOptions.workers {
		s.addWorker()
	}
	if s.stranger {
		s.addStranger()
	}
}

// after ends a step: everything that it has started comes to rest, time moves on a little, so that no two timers ever
// end at the same moment, and the oracle looks.
func (s *sim) after() {
	s.counts.steps++
	s.sleep(time.Duration(1 + s.rng.IntN(100_000)))
	s.collect()
	s.check()
}

// settle lets the other goroutines run until all of them wait.
func (s *sim) settle() { s.k.Rest(synctest.Wait, s.rng.IntN) }

// wake lets the goroutine that has waited longest for e's socket to take something go on, and nobody beside it.
func (s *sim) wake(e *simEnd) {
	s.note("%s wakes", e.name)
	wake := sync.OnceFunc(e.conn.Wake)
	s.k.Rest(func() {
		wake()
		synctest.Wait()
	}, s.rng.IntN)
}

// sleep lets time pass.
func (s *sim) sleep(d time.Duration) {
	s.settle()
	s.k.Rest(func() {
		time.Sleep(d)
		d = 0
		synctest.Wait()
	}, s.rng.IntN)
}

// note writes a step down.
func (s *sim) note(format string, args ...any) {
	s.mix(uint64(len(format)))
	if s.tracing {
		s.trace = append(s.trace, fmt.Sprintf(format, args...))
	}
}

// called writes a call down. Calls come one at a time.
func (s *sim) called(c simkernel.Call, n int, errno syscall.Errno) {
	e, ok := c.Label.(*simEnd)
	if !ok {
		return
	}
	s.counts.calls++
	s.mix(uint64(e.number)<<48 | uint64(c.Op)<<40 | uint64(uint16(n))<<16 | uint64(errno))
	if s.tracing {
		what := fmt.Sprintf("    %s %v %d: %d", e.name, c, c.Messages, n)
		if errno != 0 {
			what += " " + unix.ErrnoName(errno)
		}
		s.trace = append(s.trace, what)
	}
}

// mix makes x a part of the hash of the run (FNV).
func (s *sim) mix(x uint64) { s.hash = (s.hash ^ x) * 1099511628211 }

// violation notes the first thing that is wrong.
func (s *sim) violation(format string, args ...any) {
	if s.bad == "" {
		s.bad = fmt.Sprintf(format, args...)
		s.note("VIOLATION: %s", s.bad)
	}
}

// count takes in what the run has seen.
func (s *sim) count() {
	for _, d := range s.descs {
		if d != nil && d.got != nil {
			s.counts.passed++
		}
	}
}

// cleanUp lets all goroutines of the run end.
func (s *sim) cleanUp() {
	s.k.Fault, s.k.Trace = nil, nil
	if s.cancel != nil {
		s.cancel()
	}
	for _, p := range s.processes() {
		p.Kill()
	}
	s.settle()
	for _, e := range s.all() {
		s.unpark(e)
		e.p.in.readerLeft()
		e.conn.Close()
		go e.p.Close()
		s.settle()
		for i := 0; e.pumping && i < 10; i++ {
			e.pumping = e.p.in.pumpSome()
		}
		s.settle()
	}
	s.leave()
	s.sleep(time.Minute) // for who waits until then
}
