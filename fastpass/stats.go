package fastpass

import (
	"math/bits"
	"sync/atomic"
)

// Stats are counts since the link was made. They are taken one by one while the link goes on, so they need not add up.
type Stats struct {
	Implementation string // how messages are sent and received here: "sendmmsg/recvmmsg" or "sendmsg/recvmsg"

	Sent      uint64 // descriptors that the kernel took, including those sent again
	Delivered uint64 // of them, how many have a new owner: seen to be acknowledged (Framed) or taken by the kernel (Bare)
	Resent    uint64 // sent again, as the peer had no room
	Refused   uint64 // not passed by the kernel: see Config.OnRefused
	Queued    int    // in the window now: queued, or not seen to be acknowledged
	Received  uint64 // descriptors that the application got
	Rejected  uint64 // taken in and closed, of a kind that is not in Config.Kinds
	Truncated uint64 // messages that lost descriptors on the way in; all were sent again, or peeked at only
	Lost      uint64 // messages that lost descriptors for good: Bare only, when the room that was seen was gone a moment later

	SendCalls uint64 // system calls that send descriptors, those included that the socket refused
	RecvCalls uint64 // system calls that receive, those included that found nothing, or only looked (MSG_PEEK)
	Full      uint64 // times that the socket took nothing more
	Shortages uint64 // times that the kernel was short of something: ETOOMANYREFS, ENOBUFS, ENOMEM

	SentBatches     Histogram // messages sent by how many descriptors they carried
	ReceivedBatches Histogram // messages received, likewise
}

// Histogram counts messages by how many descriptors they carried: element i those with 2^i to 2^(i+1)-1.
type Histogram [8]uint64

// histogram is a Histogram that can be read while it is written.
type histogram [len(Histogram{})]atomic.Uint64

func (h *histogram) add(n int) {
	if n > 0 {
		h[bits.Len(uint(n))-1].Add(1)
	}
}

func (h *histogram) load() (r Histogram) {
	for i := range h {
		r[i] = h[i].Load()
	}
	return r
}

type sendStats struct {
	sent, acked, resent, calls, full, shortages atomic.Uint64
	batches                                     histogram
}

type recvStats struct {
	received, rejected, truncated, lost, calls atomic.Uint64
	batches                                    histogram
}
