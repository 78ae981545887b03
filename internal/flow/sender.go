// Package flow holds the two state machines of the Framed protocol: what the sending half may put in flight, and what
// the receiving half may take. They are plain values driven by events, count in wire numbers (the first descriptor of a
// link is 0) and never call the kernel, so the same code runs on a real socket, in a table test and on a simulated
// kernel.
package flow

import (
	"fmt"
	"math"
)

// Sender is the sending half: how far the peer has acknowledged, how far was sent, how far may be sent.
//
//	acked        sent            limit
//	  |  in flight |  may be sent  |
type Sender struct {
	acked, sent, limit uint64
}

// Ack is an acknowledgement as it came over the wire.
type Ack struct {
	Seq    uint64 // every number below it has been taken
	Credit int    // how many beyond Seq may be in flight
	Resend bool   // From is valid: what was sent from there on was lost
	From   uint64
}

// Open is the peer's HELLO: credit descriptors may be in flight.
func (s *Sender) Open(credit int) { s.limit = uint64(credit) }

// Allowance is how many descriptors may be sent now.
func (s *Sender) Allowance() int {
	if s.sent >= s.limit {
		return 0
	}
	return int(min(s.limit-s.sent, math.MaxInt32))
}

// Seq is the number of the next descriptor to be sent.
func (s *Sender) Seq() uint64 { return s.sent }

// InFlight is how many descriptors are sent and not acknowledged.
func (s *Sender) InFlight() int { return int(s.sent - s.acked) }

// Sent notes that the kernel took n descriptors.
func (s *Sender) Sent(n int) { s.sent += uint64(n) }

// Acked takes in an acknowledgement. It returns how many descriptors have become the receiver's, oldest first, and how
// many of those still in flight must be sent again, newest last. An error ends the link.
func (s *Sender) Acked(a Ack) (taken, again int, err error) {
	switch {
	case a.Seq < s.acked:
		return 0, 0, fmt.Errorf("an acknowledgement that goes back from %d to %d", s.acked, a.Seq)
	case a.Seq > s.sent:
		return 0, 0, fmt.Errorf("an acknowledgement of %d, but only %d were sent", a.Seq, s.sent)
	case a.Resend && (a.From < a.Seq || a.From > s.sent):
		return 0, 0, fmt.Errorf("a request to resend from %d, outside what is in flight (%d to %d)", a.From, a.Seq, s.sent)
	}
	taken = int(a.Seq - s.acked)
	s.acked = a.Seq
	s.limit = a.Seq + uint64(a.Credit)
	if a.Resend {
		again = int(s.sent - a.From)
		s.sent = a.From
	}
	return taken, again, nil
}
