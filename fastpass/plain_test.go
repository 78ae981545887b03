//go:build unix

package fastpass

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// inodes are those of the open descriptors.
func inodes(t *testing.T, ds []Desc) (all []uint64) {
	t.Helper()
	for i := range ds {
		var st unix.Stat_t
		if err := unix.Fstat(ds[i].FD, &st); err != nil {
			t.Fatalf("descriptor %d: %v", ds[i].FD, err)
		}
		all = append(all, uint64(st.Ino))
	}
	return all
}

// oneWay is a link whose ends send and receive, respectively.
func oneWay(t *testing.T, protocol Protocol) (sender, receiver *Passer) {
	t.Helper()
	sender, receiver = link(t, &Config{Protocol: protocol, Direction: SendOnly}, &Config{Protocol: protocol, Direction: RecvOnly})
	receiver.SetReadDeadline(time.Now().Add(10 * time.Second))
	return sender, receiver
}

// What has neither tags nor payloads is stored in one go: in the slice of the caller as far as there is room, and the
// rest in the queue.
func TestPlainMessagesComeInOrderIntoSlicesOfAnyLength(t *testing.T) {
	for _, protocol := range []Protocol{Framed, Bare} {
		for _, length := range []int{1, 3, 7, 64} {
			t.Run(fmt.Sprintf("%v, %d at a time", protocol, length), func(t *testing.T) {
				sender, receiver := oneWay(t, protocol)
				sent := taggedPipes(t, 0, 40)
				for i := range sent {
					sent[i].Tag = 0
				}
				want := inodes(t, sent)
				if n, err := sender.SendBatch(sent); n != len(sent) || err != nil {
					t.Fatal(n, err)
				}
				var got []uint64
				ds := make([]Desc, length)
				for i := range ds {
					ds[i] = Desc{FD: -7, Tag: 9, Payload: []byte("old"), Keep: true, Shared: true}
				}
				for len(got) < len(want) {
					n, err := receiver.RecvBatch(ds)
					if err != nil {
						t.Fatal(err)
					}
					got = append(got, inodes(t, ds[:n])...)
					for _, d := range ds[:n] {
						if d.Tag != 0 || len(d.Payload) > 0 || d.Keep || d.Shared {
							t.Errorf("%+v has something that was in the slice before", d)
						}
					}
					CloseFDs(fdsOf(ds[:n]))
				}
				if !slices.Equal(got, want) {
					t.Errorf("inodes %v, want %v", got, want)
				}
			})
		}
	}
}

// A sender that only lends has nothing to close, and does not look for it.
func TestWhatIsGivenAwayIsClosedAmongWhatIsLent(t *testing.T) {
	for _, protocol := range []Protocol{Framed, Bare} {
		t.Run(protocol.String(), func(t *testing.T) {
			sender, receiver := oneWay(t, protocol)
			for round, given := range []func(i int) bool{
				func(int) bool { return false },
				func(i int) bool { return i == 5 },
				func(i int) bool { return i%2 == 0 },
				func(int) bool { return false },
			} {
				ds := taggedPipes(t, 0, 12)
				for i := range ds {
					ds[i].Keep, ds[i].Tag = !given(i), 0
				}
				if n, err := sender.SendBatch(ds); n != len(ds) || err != nil {
					t.Fatal(n, err)
				}
				recvTags(t, receiver, len(ds))
				until(t, "all are delivered", func() bool { return sender.Stats().Queued == 0 })
				for i := range ds {
					if open := isOpen(ds[i].FD); open == given(i) {
						t.Errorf("round %d, descriptor %d: open: %v, given away: %v", round, i, open, given(i))
					}
					if ds[i].Keep {
						CloseFDs([]int{ds[i].FD})
					}
				}
			}
		})
	}
}
