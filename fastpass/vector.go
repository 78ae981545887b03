//go:build unix

package fastpass

import (
	"sync"

	"example.com/fdpass/cmsgpool"
	"example.com/fdpass/internal/sys"
	"example.com/fdpass/internal/wire"
)

// vector is a sys.Vector with its buffers. One is needed only for the length of a system call, so all links of the
// process share a few, and an idle link holds none.
type vector struct {
	*sys.Vector
	data    [][]byte           // one slice of the same array for each message
	control []*cmsgpool.Buffer // likewise
	counts  []int              // sending: descriptors in the message
	ends    []uint64           // sending: the window position behind its last descriptor
	lengths []int              // sending: bytes of data
	home    *vectorPool
}

// vectorPool is the free list of the vectors of one shape. It survives garbage collection, unlike a sync.Pool, and has a
// lock, unlike a ring, which may look empty while another goroutine is in the middle of a call: a vector is too large to
// be made because of that.
type vectorPool struct {
	messages, body int
	mu             sync.Mutex
	free           []*vector
}

// vectorsKept is how many idle vectors of one shape are kept: as many as can be in system calls at once on a machine of
// usual size.
const vectorsKept = 16

var (
	controlBuffers = cmsgpool.New(4 * maxMessages)

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
		p = &vectorPool{messages: messages, body: body, free: make([]*vector, 0, vectorsKept)}
		vectorPools[shape] = p
	}
	return p
}

func (p *vectorPool) get() *vector {
	p.mu.Lock()
	if n := len(p.free); n > 0 {
		v := p.free[n-1]
		p.free = p.free[:n-1]
		p.mu.Unlock()
		return v
	}
	p.mu.Unlock()
	size := wire.HeaderSize + p.body
	slab := make([]byte, p.messages*size)
	v := &vector{
		Vector:  sys.NewVector(p.messages),
		data:    make([][]byte, p.messages),
		control: make([]*cmsgpool.Buffer, p.messages),
		counts:  make([]int, p.messages),
		ends:    make([]uint64, p.messages),
		lengths: make([]int, p.messages),
		home:    p,
	}
	for i := range v.data {
		v.data[i] = slab[i*size : (i+1)*size : (i+1)*size]
		v.control[i] = controlBuffers.Get()
	}
	return v
}

func (v *vector) put() {
	p := v.home
	p.mu.Lock()
	if len(p.free) < cap(p.free) {
		p.free = append(p.free, v)
		p.mu.Unlock()
		return
	}
	p.mu.Unlock()
	for _, b := range v.control {
		controlBuffers.Put(b)
	}
}

// room prepares the first n messages for receiving.
func (v *vector) room(n int) {
	for i := range n {
		v.Set(i, v.data[i], v.control[i].Raw())
	}
}

// received is what message i brought: its data and its control bytes.
func (v *vector) received(i int) (data, control []byte) {
	return v.data[i][:v.Bytes(i)], v.control[i].Raw()[:v.Control(i)]
}
