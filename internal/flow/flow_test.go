package flow

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
)

func TestSenderTakesAcknowledgementsOfWhatIsInFlightOnly(t *testing.T) {
	for _, c := range []struct {
		name         string
		before       []Ack // after a HELLO with a credit of 10, and 10 sent
		ack          Ack
		taken, again int
		allowance    int
		wrong        string // part of the error
	}{
		{"nothing new", nil, Ack{Credit: 10}, 0, 0, 0, ""},
		{"some", nil, Ack{Seq: 3, Credit: 10}, 3, 0, 3, ""},
		{"all", nil, Ack{Seq: 10, Credit: 10}, 10, 0, 10, ""},
		{"the rest", []Ack{{Seq: 4, Credit: 10}}, Ack{Seq: 10, Credit: 5}, 6, 0, 5, ""},
		{"credit is cut below what is in flight", nil, Ack{Seq: 3, Credit: 1}, 3, 0, 0, ""},
		{"credit alone", nil, Ack{Credit: 15}, 0, 0, 5, ""},
		{"some were lost", nil, Ack{Seq: 3, Credit: 10, Resend: true, From: 7}, 3, 3, 6, ""},
		{"all were lost", nil, Ack{Credit: 10, Resend: true}, 0, 10, 10, ""},
		{"none were lost", nil, Ack{Seq: 3, Credit: 10, Resend: true, From: 10}, 3, 0, 3, ""},
		{"lost, and no credit", nil, Ack{Seq: 3, Credit: 4, Resend: true, From: 7}, 3, 3, 0, ""},
		{"more than were sent", nil, Ack{Seq: 11}, 0, 0, 0, "acknowledgement of 11"},
		{"the largest number", nil, Ack{Seq: 1<<64 - 1}, 0, 0, 0, "acknowledgement of"},
		{"backwards", []Ack{{Seq: 4, Credit: 10}}, Ack{Seq: 3, Credit: 10}, 0, 0, 0, "goes back from 4 to 3"},
		{"what was given back", []Ack{{Resend: true, From: 5, Credit: 3}}, Ack{Seq: 6}, 0, 0, 0, "acknowledgement of 6"},
		{"resend from below", nil, Ack{Seq: 3, Resend: true, From: 2}, 0, 0, 0, "resend from 2"},
		{"resend from beyond", nil, Ack{Seq: 3, Resend: true, From: 11}, 0, 0, 0, "resend from 11"},
	} {
		t.Run(c.name, func(t *testing.T) {
			var s Sender
			if s.Allowance() != 0 {
				t.Error("may send before HELLO")
			}
			s.Open(10)
			s.Sent(10)
			for _, a := range c.before {
				if _, _, err := s.Acked(a); err != nil {
					t.Fatal(err)
				}
			}
			before := s
			taken, again, err := s.Acked(c.ack)
			if c.wrong != "" {
				if err == nil || !strings.Contains(err.Error(), c.wrong) {
					t.Errorf("%v, want an error with %q", err, c.wrong)
				}
				if s != before || taken != 0 || again != 0 {
					t.Errorf("an acknowledgement that is wrong changed %+v to %+v", before, s)
				}
				return
			}
			if err != nil || taken != c.taken || again != c.again || s.Allowance() != c.allowance {
				t.Errorf("%d taken, %d again, %d may be sent, %v; want %d, %d, %d", taken, again, s.Allowance(), err,
					c.taken, c.again, c.allowance)
			}
		})
	}
}

func TestReceiverTakesWhatContinuesTheSequence(t *testing.T) {
	type data struct {
		seq        uint64
		count, got int
		truncated  bool
	}
	for _, c := range []struct {
		name   string
		before []data // after a HELLO with a credit of 10
		data   data
		take   int
		lost   bool
		wrong  string
	}{
		{"the first", nil, data{0, 3, 3, false}, 3, false, ""},
		{"the next", []data{{0, 3, 3, false}}, data{3, 7, 7, false}, 7, false, ""},
		{"MSG_CTRUNC and all the same complete", nil, data{0, 3, 3, true}, 3, false, ""},
		{"truncated", nil, data{0, 3, 2, true}, 2, true, ""},
		{"nothing left", nil, data{0, 3, 0, true}, 0, true, ""},
		{"behind a gap", []data{{0, 3, 2, true}}, data{3, 2, 2, false}, 0, true, ""},
		{"behind a gap, truncated", []data{{0, 3, 2, true}}, data{3, 2, 0, true}, 0, true, ""},
		{"what fills the gap", []data{{0, 3, 2, true}, {3, 2, 2, false}}, data{2, 3, 3, false}, 3, true, ""},
		{"fewer, and no reason", nil, data{0, 3, 2, false}, 0, false, "only 2 descriptors"},
		{"more", nil, data{0, 3, 4, true}, 0, false, "4 descriptors in a message that announces 3"},
		{"beyond the credit", nil, data{0, 11, 11, false}, 0, false, "credit was given up to 10"},
		{"far beyond", nil, data{1 << 63, 1, 1, false}, 0, false, "credit"},
		{"wraps", nil, data{1<<64 - 1, 2, 2, false}, 0, false, "credit"},
		{"a gap for no reason", nil, data{1, 2, 2, false}, 0, false, "begins at 1 where 0"},
		{"again", []data{{0, 3, 3, false}}, data{0, 3, 3, false}, 0, false, "begins at 0 where 3"},
		{"again, behind a gap", []data{{0, 3, 2, true}}, data{0, 3, 3, false}, 0, true, "begins at 0 where 2"},
	} {
		t.Run(c.name, func(t *testing.T) {
			var r Receiver
			r.Open(10)
			for _, d := range c.before {
				if _, err := r.Data(d.seq, d.count, d.got, d.truncated); err != nil {
					t.Fatal(err)
				}
			}
			before := r
			take, err := r.Data(c.data.seq, c.data.count, c.data.got, c.data.truncated)
			if c.wrong != "" {
				if err == nil || !strings.Contains(err.Error(), c.wrong) {
					t.Errorf("%v, want an error with %q", err, c.wrong)
				}
				if r != before || take != 0 {
					t.Errorf("a message that is wrong changed %+v to %+v", before, r)
				}
				return
			}
			if err != nil || take != c.take || r.Lost() != c.lost {
				t.Errorf("takes %d, lost %v, %v; want %d, %v", take, r.Lost(), err, c.take, c.lost)
			}
		})
	}
}

func TestCreditIsCountedFromWhatWasTakenIn(t *testing.T) {
	var r Receiver
	r.Open(10)
	if _, err := r.Data(0, 8, 8, false); err != nil {
		t.Fatal(err)
	}
	if r.Held() != 8 || r.Credit() != 2 {
		t.Errorf("%d held, credit %d", r.Held(), r.Credit())
	}
	a := r.Ack(5, 7) // five go to the application, seven more have room
	if a != (Ack{Seq: 5, Credit: 3 + 7, From: 8}) {
		t.Errorf("%+v", a)
	}
	if r.Held() != 8 {
		t.Error("an acknowledgement counts before it is sent")
	}
	r.Sent(a)
	if r.Held() != 3 || r.Credit() != 7 {
		t.Errorf("%d held, credit %d", r.Held(), r.Credit())
	}
	r.Sent(r.Ack(0, 0)) // no room any more
	if r.Credit() != 0 {
		t.Errorf("credit %d", r.Credit())
	}
	if n, err := r.Data(8, 7, 7, false); n != 7 || err != nil {
		t.Errorf("what was on its way before the credit was cut: %d, %v", n, err)
	}
}

// frame is a message on its way in the simulation.
type frame struct {
	seq   uint64
	count int
}

// simulation connects the two halves through queues that keep order, as a socket does, and a receiver that has not
// always room, so that messages lose their last descriptors.
type simulation struct {
	*rand.Rand
	s         Sender
	r         Receiver
	queued    uint64 // given to the sender so far
	owned     uint64 // the sender's: acknowledged up to here
	forward   []frame
	back      []Ack
	room      int // of the receiver's table
	delivered []uint64
	held      []uint64
}

func (m *simulation) send() {
	n := min(m.s.Allowance(), int(m.queued-m.s.Seq()), 1+m.IntN(12))
	if n > 0 {
		m.forward = append(m.forward, frame{m.s.Seq(), n})
		m.s.Sent(n)
	}
}

func (m *simulation) receive() error {
	if len(m.forward) == 0 {
		return nil
	}
	f := m.forward[0]
	m.forward = m.forward[1:]
	got := min(f.count, max(m.room, 0))
	take, err := m.r.Data(f.seq, f.count, got, got < f.count)
	for i := range take {
		m.held = append(m.held, f.seq+uint64(i))
	}
	m.room -= take // the others are closed at once
	return err
}

// acknowledge gives some of what is held to the application.
func (m *simulation) acknowledge(claimed int) {
	n := m.IntN(len(m.held) + 1)
	a := m.r.Ack(n, max(claimed, 0))
	if m.IntN(4) == 0 {
		return // the socket was full: nothing has happened
	}
	m.r.Sent(a)
	m.back = append(m.back, a)
	m.delivered = append(m.delivered, m.held[:n]...)
	m.held = m.held[n:]
}

func (m *simulation) hear() error {
	if len(m.back) == 0 {
		return nil
	}
	a := m.back[0]
	m.back = m.back[1:]
	taken, again, err := m.s.Acked(a)
	m.owned += uint64(taken)
	if again < 0 || taken < 0 || m.s.InFlight() < 0 {
		return fmt.Errorf("%d taken, %d again, %d in flight", taken, again, m.s.InFlight())
	}
	return err
}

func TestWhateverIsLostOnTheWayArrivesOnceAndInOrder(t *testing.T) {
	const n = 2000
	for seed := range uint64(300) {
		m := &simulation{Rand: rand.New(rand.NewPCG(seed, 7))}
		hello := m.IntN(20)
		m.s.Open(hello)
		m.r.Open(hello)
		steps := 0
		for ; len(m.delivered) < n; steps++ {
			if steps > 200*n {
				t.Fatalf("seed %d: stuck at %d: sender %+v, receiver %+v", seed, len(m.delivered), m.s, m.r)
			}
			var err error
			switch m.IntN(6) {
			case 0:
				m.queued = min(n, m.queued+uint64(m.IntN(20)))
			case 1:
				m.send()
			case 2:
				err = m.receive()
			case 3:
				// The probe may be wrong by what others open and close meanwhile.
				m.acknowledge(m.room + m.IntN(5) - 2)
			case 4:
				err = m.hear()
			case 5:
				m.room = m.IntN(15) - 2 // the application and others open and close
			}
			if err != nil {
				t.Fatalf("seed %d: %v", seed, err)
			}
			if m.owned > uint64(len(m.delivered)) {
				t.Fatalf("seed %d: %d acknowledged, %d delivered", seed, m.owned, len(m.delivered))
			}
		}
		for i, got := range m.delivered {
			if got != uint64(i) {
				t.Fatalf("seed %d: %d was delivered where %d is expected", seed, got, i)
			}
		}
	}
}
