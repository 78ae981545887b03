//go:build unix

package fastpass

// queue is a FIFO of entries. It grows when it is full, and never shrinks.
type queue struct {
	reaper  *reaper // for close
	ring    []entry // its length is a power of two, or 0
	head, n int
}

func (q *queue) len() int { return q.n }

// at returns the i-th oldest entry.
func (q *queue) at(i int) *entry { return &q.ring[(q.head+i)&(len(q.ring)-1)] }

// add appends an entry and returns it for the caller to fill.
func (q *queue) add() *entry {
	if q.n == len(q.ring) {
		grown := make([]entry, max(2*len(q.ring), 64))
		for i := range q.n {
			grown[i] = *q.at(i)
		}
		q.ring, q.head = grown, 0
	}
	q.n++
	return q.at(q.n - 1)
}

// push appends d, with a copy of its payload.
func (q *queue) push(d *Desc) {
	e := q.add()
	e.set(d)
	queuePayloads.add(e, nil, d.Payload)
}

// drop removes the n oldest entries and returns their payload buffers.
func (q *queue) drop(n int) {
	for i := range n {
		queuePayloads.drop(q.at(i))
	}
	q.head, q.n = q.head+n, q.n-n
	if len(q.ring) > 0 {
		q.head &= len(q.ring) - 1
	}
}

// prepend puts ds in front of what is queued, with their payloads.
func (q *queue) prepend(ds []Desc) {
	for range ds {
		q.add()
	}
	for i := q.n - 1; i >= len(ds); i-- {
		*q.at(i) = *q.at(i - len(ds))
	}
	for i := range ds {
		e := q.at(i)
		e.buffer = nil
		e.set(&ds[i])
		queuePayloads.add(e, nil, ds[i].Payload)
	}
}

// close closes and removes everything that is queued.
func (q *queue) close() { q.closeFrom(0) }

// closeFrom closes and removes everything but the first n.
func (q *queue) closeFrom(n int) {
	for i := n; i < q.n; i++ {
		e := q.at(i)
		if e.fd >= 0 {
			q.reaper.add(e.fd)
		}
		queuePayloads.drop(e)
	}
	q.n = min(q.n, n)
}
