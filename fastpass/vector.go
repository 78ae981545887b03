//go:build unix

package fastpass

import (
	"math/bits"
	"sync"
	"sync/atomic"

	"example.com/fdpass/cmsgpool"
	"example.com/fdpass/internal/sys"
	"example.com/fdpass/internal/wire"
)

// vector is a sys.Vector with its buffers. One is needed only for the length of a system call, so all links of the
// process share a few, and an idle link holds none.
type vector struct {
	*sys.Vector
	data    [][]byte          // one slice of the same array for each message
	control []cmsgpool.Buffer // one for each message
	counts  []int             // sending: descriptors in the message
	ends    []uint64          // sending: the window position behind its last descriptor
	lengths []int             // sending: bytes of data
	home    *vectorPool
	bit     uint32 // its own in home.free; 0: it is not kept
}

// vectorPool is the free list of the vectors of one shape. Unlike a sync.Pool it survives garbage collection. Unlike a
// ring it finds each one that is free: a ring may look empty while another goroutine is in the middle of a call, and a
// vector is too large to be made because of that.
type vectorPool struct {
	messages, body int
	free           atomic.Uint32        // bit i: vectors[i] is free; whoever clears the bit owns it
	vectors        [vectorsKept]*vector // each made when it is needed first
}

// vectorsKept is how many idle vectors of one shape are kept: as many as can be in system calls at once on a machine of
// usual size.
const vectorsKept = 16

var (
	vectorPoolsMu sync.Mutex
	vectorPools   = map[[2]int]*vectorPool{} // by messages and body
)

// vectorsOf returns the pool of vectors with the given number of messages, each with room for body bytes.
func vectorsOf(messages, body int) *vectorPool {
	vectorPoolsMu.Lock()
	defer vectorPoolsMu.Unlock()
	shape := [2]int{messages, body}
	p := vectorPools[shape]
	if p == nil {
		p = &vectorPool{messages: messages, body: body}
		p.free.Store(1<<vectorsKept - 1)
		vectorPools[shape] = p
	}
	return p
}

func (p *vectorPool) get() *vector {
	for {
		free := p.free.Load()
		if free == 0 {
			return p.make()
		}
		if !p.free.CompareAndSwap(free, free&(free-1)) {
			continue
		}
		v := &p.vectors[bits.TrailingZeros32(free)]
		if *v == nil {
			*v = p.make()
			(*v).bit = free &^ (free - 1)
		}
		return *v
	}
}

// make makes a vector, which is not kept unless the caller gives it a place.
func (p *vectorPool) make() *vector {
	size := wire.HeaderSize + p.body
	slab := make([]byte, p.messages*size)
	v := &vector{
		Vector:  sys.NewVector(p.messages),
		data:    make([][]byte, p.messages),
		control: make([]cmsgpool.Buffer, p.messages),
		counts:  make([]int, p.messages),
		ends:    make([]uint64, p.messages),
		lengths: make([]int, p.messages),
		home:    p,
	}
	for i := range v.data {
		v.data[i] = slab[i*size : (i+1)*size : (i+1)*size]
		v.Set(i, v.data[i], v.control[i].Raw())
	}
	return v
}

// put gives v back. One that is not kept has no bit to set, and is left to the garbage collector.
func (v *vector) put() { v.home.free.Or(v.bit) }

// carry has message i carry the first length bytes of its data, and the n descriptors that are in its control buffer.
func (v *vector) carry(i, length, n int) {
	v.Limit(i, len(v.data[i][:length]), cmsgpool.Space(n))
	v.counts[i], v.lengths[i] = n, length
}

// prepare prepares the first n messages for receiving.
func (v *vector) prepare(n int) {
	for i := range n {
		v.Limit(i, len(v.data[i]), len(v.control[i].Raw()))
	}
}

// received is what message i brought: its data and its control bytes.
func (v *vector) received(i int) (data, control []byte) {
	return v.data[i][:v.Bytes(i)], v.control[i].Raw()[:v.Control(i)]
}
