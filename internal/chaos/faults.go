//go:build linux

package main

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// fault is something that goes wrong. Do returns false if it cannot, as things are.
type fault struct {
	name   string
	weight int
	do     func(c *controller, r *rand.Rand) bool
}

var faults = []fault{
	{"kill", 8, (*controller).kill},
	{"stop", 5, (*controller).stop},
	{"pause", 5, (*controller).pause},
	{"squeeze", 6, (*controller).squeeze},
	{"flap", 4, (*controller).flap},
	{"drain", 4, (*controller).drain},
	{"rejoin", 3, (*controller).rejoin},
	{"outage", 1, (*controller).outage},
	{"front full", 3, (*controller).fillFront},
	{"front pause", 2, (*controller).pauseFront},
	{"ambush", 3, (*controller).ambush},
	{"front", 1, (*controller).replaceFront},
}

// act makes a fault when it is time for one. Each has random numbers of its own, so that the faults to come do not
// depend on what this one finds.
func (c *controller) act() {
	if c.options.faults == 0 || time.Now().Before(c.next) {
		return
	}
	c.struck++
	r := c.random(faultNumbers, c.struck)
	mean := time.Minute / time.Duration(c.options.faults)
	c.next = c.next.Add(time.Duration(r.ExpFloat64() * float64(mean)))
	sum := 0
	for _, f := range faults {
		sum += f.weight
	}
	n := r.IntN(sum)
	for _, f := range faults {
		if n -= f.weight; n < 0 {
			if f.do(c, r) {
				c.injected[f.name]++
			}
			return
		}
	}
}

// Kinds of random numbers.
const (
	faultNumbers = 4 + iota
	workerNumbers
	frontNumbers
)

// random returns the random numbers of the i-th thing of a kind.
func (c *controller) random(kind uint64, i int) *rand.Rand {
	return rand.New(rand.NewPCG(c.seed, kind<<32|uint64(i)))
}

func (c *controller) faultCounts() string {
	var counts []string
	for _, f := range faults {
		if n := c.injected[f.name]; n > 0 {
			counts = append(counts, fmt.Sprintf("%d %s", n, f.name))
		}
	}
	return strings.Join(counts, ", ")
}

// pick returns one of the workers that are so, nil if none is.
func (c *controller) pick(r *rand.Rand, so func(*child) bool) *child {
	var some []*child
	for _, w := range c.workers {
		if w.ready && !w.killed && so(w) {
			some = append(some, w)
		}
	}
	if len(some) == 0 {
		return nil
	}
	return some[r.IntN(len(some))]
}

// between returns a time from low to high.
func between(r *rand.Rand, low, high time.Duration) time.Duration {
	return low + time.Duration(r.Int64N(int64(high-low)))
}

func (c *controller) kill(r *rand.Rand) bool {
	w := c.pick(r, func(*child) bool { return true })
	if w == nil {
		return false
	}
	c.killOne(w)
	return true
}

func (c *controller) killOne(w *child) {
	c.books.killing(w.ID)
	w.killed = true
	c.log(w, "is killed")
	w.signal(syscall.SIGKILL)
}

// stop stops a worker until the pool has given its connections to others.
func (c *controller) stop(r *rand.Rand) bool {
	return c.stopFor(c.pick(r, running), between(r, c.stall*3/2, c.stall*6))
}

// pause stops a worker and continues it before that.
func (c *controller) pause(r *rand.Rand) bool {
	return c.stopFor(c.pick(r, running), between(r, c.stall/20, c.stall*4/5))
}

func running(w *child) bool { return !w.stopped }

func (c *controller) stopFor(w *child, d time.Duration) bool {
	if w == nil || !w.ready || w.stopped {
		return false
	}
	w.stopped = true
	c.log(w, "is stopped for %v", d)
	w.signal(syscall.SIGSTOP)
	c.after(d, func() {
		w.stopped = false
		c.log(w, "is continued")
		w.signal(syscall.SIGCONT)
	})
	return true
}

func roomy(w *child) bool { return !w.small }

func (c *controller) squeeze(r *rand.Rand) bool {
	w := c.pick(r, roomy)
	if w == nil {
		return false
	}
	c.shrink(w, r, 1+r.IntN(8), 6, 14)
	return true
}

// shrink makes a table about as large as what is open in it, some times, and then large again.
func (c *controller) shrink(w *child, r *rand.Rand, times, below, above int) {
	w.small = times > 0
	if times == 0 {
		c.limit(w, -1)
		return
	}
	if n, err := countDescriptors(w.pid); err == nil && w.ready {
		c.limit(w, max(n-below+r.IntN(below+above), 3))
	}
	c.after(between(r, 20*time.Millisecond, 200*time.Millisecond), func() { c.shrink(w, r, times-1, below, above) })
}

// limit sets the size of a child's table; -1: as large as may be.
func (c *controller) limit(w *child, n int) {
	if !w.ready || unix.PidfdSendSignal(w.pidfd, 0, nil, 0) != nil {
		return // it has ended
	}
	var l unix.Rlimit
	if unix.Prlimit(w.pid, unix.RLIMIT_NOFILE, nil, &l) != nil {
		return
	}
	l.Cur = l.Max
	if n >= 0 {
		l.Cur = min(uint64(n), l.Max)
	}
	if err := unix.Prlimit(w.pid, unix.RLIMIT_NOFILE, &l, nil); err == nil {
		c.log(w, "may open %d descriptors", l.Cur)
	}
}

func (c *controller) flap(r *rand.Rand) bool {
	w := c.pick(r, roomy)
	if w == nil {
		return false
	}
	d := between(r, 200*time.Millisecond, time.Second)
	w.order(order{Do: orderFlap, For: d})
	c.log(w, "flaps for %v", d)
	if n, err := countDescriptors(w.pid); err == nil {
		w.small = true
		c.limit(w, n+r.IntN(200))
		c.after(d, func() {
			w.small = false
			c.limit(w, -1)
		})
	}
	return true
}

func staying(w *child) bool { return !w.leaving }

func (c *controller) drain(r *rand.Rand) bool {
	w := c.pick(r, staying)
	if w == nil {
		return false
	}
	w.leave(c)
	return true
}

func (c *controller) rejoin(r *rand.Rand) bool {
	w := c.pick(r, func(w *child) bool { return staying(w) && !w.Spawned })
	if w == nil {
		return false
	}
	c.log(w, "is told to rejoin")
	w.order(order{Do: orderRejoin})
	return true
}

func (c *controller) outage(r *rand.Rand) bool {
	d := between(r, 200*time.Millisecond, 1500*time.Millisecond)
	c.hiring = time.Now().Add(d)
	for _, w := range c.workers {
		if r.IntN(2) == 0 {
			w.leave(c)
		} else if w.ready {
			c.killOne(w)
		}
	}
	return true
}

func (c *controller) fillFront(r *rand.Rand) bool {
	if f := c.front; f == nil || !f.ready || f.small || f.leaving {
		return false
	}
	c.shrink(c.front, r, 1+r.IntN(8), 6, 30)
	return true
}

// pauseFront stops the front: when it goes on, all workers seem to have stalled.
func (c *controller) pauseFront(r *rand.Rand) bool {
	return c.stopFor(c.front, between(r, c.stall/2, c.stall*2))
}

// ambush has a worker acknowledge what the front cannot see, and kills it with more in its queue: the front finds the
// reset of the link before the acknowledgements.
func (c *controller) ambush(r *rand.Rand) bool {
	w := c.pick(r, (*child).able)
	if w == nil {
		return false
	}
	w.stopped = true
	c.log(w, "is stopped, for an ambush")
	w.signal(syscall.SIGSTOP)
	c.after(c.stall*4/5, func() {
		w.stopped = false
		if !w.ready || w.killed || c.front == nil || !c.stopFor(c.front, 20*time.Millisecond) {
			w.signal(syscall.SIGCONT)
			return
		}
		before := c.books.givenTo(w.ID)
		c.log(w, "is continued")
		w.signal(syscall.SIGCONT)
		for end := time.Now().Add(20 * time.Millisecond); c.books.givenTo(w.ID) == before && time.Now().Before(end); {
			time.Sleep(10 * time.Microsecond)
		}
		c.killOne(w)
	})
	return true
}

func (c *controller) replaceFront(*rand.Rand) bool {
	if f := c.front; f == nil || !f.ready || f.leaving {
		return false
	}
	c.front.leave(c)
	return true
}
