package fastpass

import (
	"slices"

	"example.com/fdpass/internal/sys"
)

// Policy decides which worker of a pool gets a descriptor. One value may serve several pools, which call it at the same
// time: those of this package have no state, and one that has some must lock it.
type Policy interface {
	// Pick returns the index in workers, which is never empty, of the one that d goes to; any other number ends the
	// pool's work, with an error of Dispatch and Serve. It is called with the pool locked, so by one goroutine at a
	// time for each pool: it must be quick and must not call the pool. It is called for each descriptor, again if the
	// worker turns out to have no room (for so many bytes of payload). Number counts the descriptors that the pool has
	// placed. The slice is valid during the call, and only has workers with room: an index means another worker next
	// time, Worker.ID does not. Pick may sort it, and set d.Tag, which travels, and stands in the slice given to
	// Dispatch then. The bytes of d.Payload are valid only during the call.
	Pick(d *Desc, number uint64, workers []Worker) int
}

// Worker is what a Policy may know of a worker that has room.
type Worker struct {
	ID       uint64  // its own for as long as the pool lives; workers count from 1 as they join
	Ready    bool    // it has said HELLO: what Pick sees is always ready
	InFlight int     // descriptors on their way to it: queued, or not acknowledged yet
	Open     int     // connections that its Passer.NetListener has handed out and that are not closed; 0 unless every worker tells
	Passed   uint64  // descriptors placed with it so far
	Passer   *Passer // its link

	member *member
	idle   bool // every worker tells, and this one has nothing to do
}

// PolicyFunc is a Policy of the user's own.
type PolicyFunc func(d *Desc, number uint64, workers []Worker) int

// Pick calls f.
func (f PolicyFunc) Pick(d *Desc, number uint64, workers []Worker) int { return f(d, number, workers) }

var (
	// RoundRobin gives the workers equal shares. Of descriptors that come one by one each worker in turn gets one. What
	// comes at once, as Serve and Dispatch bring it, is cut into as many pieces as there are workers: numbers that lie
	// next to each other are closed with one system call.
	RoundRobin Policy = roundRobin{}

	// LeastLoaded prefers the worker that has the fewest connections, open or on their way to it: the one that keeps up
	// best. Those that are open count if every worker tells of them, as one does that serves Passer.NetListener over a
	// Framed link of Linux ("unixpacket") and has had one. Of workers that tell that they have nothing to do, the first
	// that joined gets it: where there is little to do, few have warm caches instead of all having cold ones. Others
	// that are equal take turns. Over a Bare link only what the worker's socket takes no more of is on its way, so to
	// this policy such workers are mostly equal.
	LeastLoaded Policy = PolicyFunc(leastLoaded)

	// Hash sends descriptors with the same Tag to the same worker. With Tag 0 the address of a socket's peer counts,
	// without the port, so that the connections of one client go to one worker. When a worker joins or leaves, only
	// descriptors that go to it or went to it change their worker (rendezvous hashing: Thaler and Ravishankar, 1998).
	// The kernel is asked for the address once, before the pool is locked: another process that has the socket, such as
	// a worker from which it was taken back, can make the answer take as long as it likes. A policy that calls Hash
	// asks while the pool is locked.
	Hash Policy = rendezvous{}
)

// roundRobin and rendezvous are no PolicyFuncs: a pool compares its policy with them, and functions cannot be compared.
type roundRobin struct{}

// Pick takes turns.
func (roundRobin) Pick(_ *Desc, number uint64, workers []Worker) int {
	return int(number % uint64(len(workers)))
}

func leastLoaded(_ *Desc, number uint64, workers []Worker) int {
	if first := slices.IndexFunc(workers, func(w Worker) bool { return w.idle }); first >= 0 {
		return first
	}
	n := uint64(len(workers))
	best := int(number % n)
	for i := range n {
		if k := int((number + i) % n); workers[k].load() < workers[best].load() {
			best = k
		}
	}
	return best
}

func (w *Worker) load() int { return w.InFlight + w.Open }

type rendezvous struct{}

// Pick goes by Tag, or by the peer.
func (rendezvous) Pick(d *Desc, _ uint64, workers []Worker) int {
	key := d.Tag
	if key == 0 {
		identify(d)
		key = uint64(d.client)
	}
	best, top := 0, uint64(0)
	for i := range workers {
		if score := mix(key ^ mix(workers[i].ID)); i == 0 || score > top {
			best, top = i, score
		}
	}
	return best
}

// identify finds out what Hash goes by where there is no Tag: a few bits of the peer's address, scattered.
func identify(d *Desc) {
	if d.client == 0 {
		d.client = uint16(mix(sys.PeerAddress(sys.Stream{FD: d.FD, Brief: d.brief && !d.Shared}))) | 1
	}
}

// mix is the finalizer of SplitMix64 (Steele, Lea and Flood, 2014): every bit of x changes every bit of the result.
func mix(x uint64) uint64 {
	x += 0x9e3779b97f4a7c15
	x = (x ^ x>>30) * 0xbf58476d1ce4e5b9
	x = (x ^ x>>27) * 0x94d049bb133111eb
	return x ^ x>>31
}
