package flow

import "fmt"

// Receiver is the receiving half: it puts messages that may have lost descriptors on the way back into one sequence.
//
//	acked              next                limit
//	  | held, not acked  | expected next     |
//
// A message whose last descriptors were lost is taken as far as it came; everything after it is dropped until the
// sender, told by Ack, has gone back to what is missing. The socket keeps order, so what was sent before the sender
// heard of it lies in front of what is sent again, and begins beyond next.
type Receiver struct {
	acked, next, limit uint64
	told               uint64 // the limit as the sender was told last; it may lie below an earlier one
	lost               bool   // a gap lies at next: drop what begins beyond it
	tell               bool   // the sender has not been told of it
}

// Open starts with credit descriptors that may come.
func (r *Receiver) Open(credit int) { r.limit, r.told = uint64(credit), uint64(credit) }

// Data takes in a message that was numbered from seq, announced count descriptors and brought got. It returns how
// many of them, the first, belong into the sequence; the others must be closed. An error ends the link, and all must be
// closed. Truncated says that fewer than announced is the kernel's doing and not the peer's.
func (r *Receiver) Data(seq uint64, count, got int, truncated bool) (take int, err error) {
	end := seq + uint64(count)
	switch {
	case got > count:
		return 0, fmt.Errorf("%d descriptors in a message that announces %d", got, count)
	case got < count && !truncated:
		return 0, fmt.Errorf("only %d descriptors in a message that announces %d", got, count)
	case end < seq || end > r.limit:
		return 0, fmt.Errorf("descriptors up to %d, but credit was given up to %d", end, r.limit)
	case seq != r.next && !(r.lost && seq > r.next):
		return 0, fmt.Errorf("a message that begins at %d where %d is expected", seq, r.next)
	case seq != r.next:
		return 0, nil
	}
	r.next += uint64(got)
	r.lost = got < count
	r.tell = r.tell || r.lost
	return got, nil
}

// Held is how many descriptors were taken in and not acknowledged.
func (r *Receiver) Held() int { return int(r.next - r.acked) }

// Lost reports whether the sender has yet to be told to send again.
func (r *Receiver) Lost() bool { return r.tell }

// Credit is how many descriptors beyond those taken in the sender may send by what it was told last; negative where
// credit was cut below what was on its way.
func (r *Receiver) Credit() int { return int(int64(r.told - r.next)) }

// Ack acknowledges n more of the descriptors held and lets room more come than are held then. The
// caller sends the answer before the application gets them, and calls Sent when it is sent.
func (r *Receiver) Ack(n, room int) Ack {
	return Ack{Seq: r.acked + uint64(n), Credit: r.Held() - n + room, Resend: r.tell, From: r.next}
}

// Sent notes that a went out.
func (r *Receiver) Sent(a Ack) {
	r.acked = a.Seq
	r.told = a.Seq + uint64(a.Credit)
	r.limit = max(r.limit, r.told) // what was granted before may be on its way
	if a.Resend {
		r.tell = false
	}
}
