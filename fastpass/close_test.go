//go:build unix

package fastpass

import (
	"sync"
	"testing"
)

// Found by the demo: a receiver that closes while it receives must not acknowledge after its BYE, and the sender must
// read its last acknowledgement before it takes back the rest.
func TestCloseBesideRecvLeavesEachDescriptorOneOwner(t *testing.T) {
	const each = 400
	fd := null(t)
	defer CloseFDs([]int{fd})
	for round := range scaled(3000) {
		p, q := pairOf(t, &Config{Direction: SendOnly}, &Config{Direction: RecvOnly})
		owner := make([]string, each)
		own := func(d Desc, who string) {
			if owner[d.Tag] != "" {
				t.Fatalf("round %d: descriptor %d is %s and %s", round, d.Tag, owner[d.Tag], who)
			}
			owner[d.Tag] = who
		}
		first, sent := make(chan struct{}), 0
		var wg sync.WaitGroup
		wg.Go(func() {
			ds := make([]Desc, 4)
			for signal := first; ; {
				n, err := q.RecvBatch(ds)
				for _, d := range ds[:n] {
					own(d, "received")
					CloseFDs([]int{d.FD})
				}
				if signal != nil && n > 0 {
					close(signal)
					signal = nil
				}
				if err != nil {
					return
				}
			}
		})
		wg.Go(func() {
			for sent < each && p.TrySend(Desc{FD: fd, Tag: uint64(sent), Keep: true}) == nil {
				sent++
			}
		})
		<-first
		q.Close()
		wg.Wait()
		<-p.Done()
		for _, d := range p.Undelivered() {
			own(d, "given back")
		}
		for tag, who := range owner[:sent] {
			if who == "" {
				t.Fatalf("round %d: descriptor %d of %d has no owner", round, tag, sent)
			}
		}
		p.Close()
	}
}
