//go:build linux

package main

import (
	"sync"

	"example.com/fdpass/fastpass"
	"example.com/fdpass/internal/policy"
)

// party is a worker as the front knows it: by its number if it has started it, else by its process.
type party struct{ worker, pid int }

// ledger is where the front keeps who has what until the controller is told. Config.OnSent of a listener's links does
// not say which link has acknowledged, so the ledger is the pool's Policy, too: it remembers with whom each connection
// was placed last.
type ledger struct {
	tagging policy.Tagging
	line    *line

	mu      sync.Mutex
	parties map[*fastpass.Passer]party
	placed  map[uint64]party
	acked   map[party][]uint64
	again   map[party][]uint64 // placed again
	wake    chan struct{}
	written chan struct{} // closed when all is told
}

func newLedger(picks fastpass.Policy, l *line) *ledger {
	return &ledger{
		tagging: policy.Tagging{Policy: picks}, line: l, parties: map[*fastpass.Passer]party{}, placed: map[uint64]party{},
		acked: map[party][]uint64{}, again: map[party][]uint64{}, wake: make(chan struct{}, 1), written: make(chan struct{}),
	}
}

// join names a link, before the pool gets it.
func (l *ledger) join(link *fastpass.Passer, p party) {
	l.mu.Lock()
	l.parties[link] = p
	l.mu.Unlock()
	l.line.say(note{Kind: noteJoined, Worker: p.worker, PID: p.pid})
}

// leave forgets a link that has ended.
func (l *ledger) leave(link *fastpass.Passer) party {
	l.mu.Lock()
	defer l.mu.Unlock()
	p := l.parties[link]
	delete(l.parties, link)
	return p
}

// size is how many links there are.
func (l *ledger) size() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.parties)
}

// Pick remembers with whom each connection is placed, by the tag that it has then.
func (l *ledger) Pick(d *fastpass.Desc, number uint64, workers []fastpass.Worker) int {
	i := l.tagging.Pick(d, number, workers)
	label := d.Tag
	l.mu.Lock()
	defer l.mu.Unlock()
	_, before := l.placed[label]
	p := l.parties[workers[i].Passer]
	l.placed[label] = p
	if before {
		l.again[p] = append(l.again[p], label)
		l.poke()
	}
	return i
}

// sent is Config.OnSent of all links.
func (l *ledger) sent(d fastpass.Desc) {
	l.mu.Lock()
	defer l.mu.Unlock()
	p := l.placed[d.Tag]
	delete(l.placed, d.Tag)
	l.acked[p] = append(l.acked[p], d.Tag)
	l.poke()
}

func (l *ledger) poke() {
	select {
	case l.wake <- struct{}{}:
	default:
	}
}

// write tells the controller, until close.
func (l *ledger) write() {
	defer close(l.written)
	for range l.wake {
		l.tell()
	}
	l.tell()
}

func (l *ledger) tell() {
	l.mu.Lock()
	acked, again := l.acked, l.again
	l.acked, l.again = map[party][]uint64{}, map[party][]uint64{}
	l.mu.Unlock()
	for p, labels := range again {
		l.line.say(note{Kind: noteRemark, Worker: p.worker, PID: p.pid, Labels: labels, Text: "placed again"})
	}
	for p, labels := range acked {
		l.line.say(note{Kind: noteAcked, Worker: p.worker, PID: p.pid, Labels: labels})
	}
}

// close is called when no link is left.
func (l *ledger) close() {
	close(l.wake)
	<-l.written
}
