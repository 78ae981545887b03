//go:build unix

package policy

import (
	"example.com/fdpass/fastpass"
	"example.com/fdpass/internal/loopback"
)

// Tagging is a policy that tags each connection with the label of its client: a pool shows its policy each connection
// before that is any worker's.
type Tagging struct{ fastpass.Policy }

// Pick shows the policy proper a connection without a tag: Hash would go by it.
func (t Tagging) Pick(d *fastpass.Desc, number uint64, workers []fastpass.Worker) int {
	client := d.Tag // not 0: redelivered
	d.Tag = 0
	i := t.Policy.Pick(d, number, workers)
	if client == 0 {
		client = loopback.PeerLabel(d.FD)
	}
	d.Tag = client
	return i
}
