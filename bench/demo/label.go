//go:build unix

package main

import (
	"example.com/fdpass/fastpass"
	"example.com/fdpass/internal/loopback"
)

// How the front tells lost from broken
//
// The load process never uses a client address (IP and port) twice in a run, so the address names the connection. The front
// puts it into the connection's tag. The library calls OnSent with the tag once a worker has acknowledged the
// connection, which is the moment from which the connection is that worker's, and the worker's link is read to its end before it
// counts as ended. So when a client reports its address for want of an answer, the front knows which worker,
// if any, had taken the connection. It need not ask a worker, least of all a dead one.

// labelling is a policy that tags each connection with its client. It is where a pool shows each connection, before
// the connection is any worker's.
type labelling struct{ fastpass.Policy }

// Pick shows the policy proper a connection without a tag: Hash would go by it.
func (l labelling) Pick(d *fastpass.Desc, number uint64, workers []fastpass.Worker) int {
	client := d.Tag // not 0: redelivered
	d.Tag = 0
	i := l.Policy.Pick(d, number, workers)
	if client == 0 {
		client = loopback.PeerLabel(d.FD)
	}
	d.Tag = client
	return i
}
