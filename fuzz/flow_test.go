package fuzz

import (
	"encoding/binary"
	"testing"

	"example.com/fdpass/internal/flow"
)

// events hands out the numbers of a fuzz input.
type events []byte

func (e *events) byte() byte {
	if len(*e) == 0 {
		return 0
	}
	b := (*e)[0]
	*e = (*e)[1:]
	return b
}

// near is a number near base, mostly, and sometimes any number.
func (e *events) near(base uint64) uint64 {
	switch b := e.byte(); {
	case b < 0xF0:
		return base + uint64(b%32) - 8
	default:
		var n [8]byte
		for i := range n {
			n[i] = e.byte()
		}
		return binary.LittleEndian.Uint64(n[:])
	}
}

// maxCredit is what the wire format lets through.
const maxCredit = 1 << 24

// FuzzSender gives the sending half arbitrary acknowledgements. It must never believe that more is in flight, or may
// be, than was sent or granted, and an error must leave it as it was.
func FuzzSender(f *testing.F) {
	f.Add([]byte{})
	f.Add([]byte{200, 0, 20, 1, 13, 20, 0, 0, 20, 1, 20, 30, 1})
	f.Add([]byte{10, 0, 10, 1, 10, 50, 1, 12, 0, 5, 1, 18, 10, 0})
	f.Fuzz(func(t *testing.T, in []byte) {
		e := events(in)
		var s flow.Sender
		s.Open(int(e.byte()))
		var sent, acked uint64 // as an observer counts
		for len(e) > 0 {
			if e.byte()%2 == 0 {
				n := min(s.Allowance(), int(e.byte()))
				s.Sent(n)
				sent += uint64(n)
				continue
			}
			a := flow.Ack{Seq: e.near(acked), Credit: int(e.near(20) % (maxCredit + 1))}
			if e.byte()%2 == 0 {
				a.Resend, a.From = true, e.near(a.Seq)
			}
			before := s
			taken, again, err := s.Acked(a)
			if err != nil {
				if s != before || taken != 0 || again != 0 {
					t.Fatalf("an error changed %+v to %+v", before, s)
				}
				return // the link has ended
			}
			if taken < 0 || again < 0 || uint64(taken) > sent-acked || uint64(again) > sent-acked-uint64(taken) {
				t.Fatalf("%+v: %d taken, %d again, with %d..%d in flight", a, taken, again, acked, sent)
			}
			acked += uint64(taken)
			sent -= uint64(again)
			if acked != a.Seq || s.Seq() != sent || s.InFlight() != int(sent-acked) {
				t.Fatalf("%+v, but acknowledged %d and sent %d", s, acked, sent)
			}
			if n := s.Allowance(); n < 0 || n > a.Credit || n > 0 && uint64(n) != a.Seq+uint64(a.Credit)-sent {
				t.Fatalf("may send %d with a credit of %d and %d in flight", n, a.Credit, s.InFlight())
			}
		}
	})
}

// FuzzReceiver gives the receiving half arbitrary messages. What it takes must continue the sequence without a gap,
// must have come, and must lie within the credit; what it acknowledges must be what it took.
func FuzzReceiver(f *testing.F) {
	f.Add([]byte{})
	f.Add([]byte{100, 0, 8, 10, 10, 0, 1, 5, 20, 1})
	f.Add([]byte{100, 0, 8, 10, 6, 1, 0, 18, 4, 4, 0, 0, 14, 10, 10, 0, 1, 3, 100, 1})
	f.Fuzz(func(t *testing.T, in []byte) {
		e := events(in)
		var r flow.Receiver
		credit := int(e.byte())
		r.Open(credit)
		next, given, granted := uint64(0), uint64(0), uint64(credit)
		for len(e) > 0 {
			if e.byte()%2 == 0 {
				seq, count := e.near(next), int(e.byte())%253+1
				got := int(e.near(uint64(count)) % 254)
				before := r
				take, err := r.Data(seq, count, got, e.byte()%2 == 0)
				if err != nil {
					if r != before || take != 0 {
						t.Fatalf("an error changed %+v to %+v", before, r)
					}
					return // the link has ended
				}
				if take != 0 && (take != got || take > count || seq != next || seq+uint64(count) > granted) {
					t.Fatalf("takes %d of %d from %d on, announced %d; expected %d, granted up to %d", take, got, seq, count, next, granted)
				}
				next += uint64(take)
			} else {
				n := min(int(e.byte()), r.Held())
				a := r.Ack(n, int(e.byte()))
				if a.Seq != given+uint64(n) || a.Credit < 0 || a.Resend && a.From != next {
					t.Fatalf("%+v after %d given and %d taken in", a, given, next)
				}
				if e.byte()%2 == 0 {
					continue // it could not be sent
				}
				r.Sent(a)
				given = a.Seq
				granted = max(granted, a.Seq+uint64(a.Credit))
			}
			if r.Held() != int(next-given) || uint64(max(r.Credit(), 0)) > granted {
				t.Fatalf("%+v: %d held, credit %d; given %d, taken in %d", r, r.Held(), r.Credit(), given, next)
			}
		}
	})
}
