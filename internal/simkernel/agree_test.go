//go:build linux

package simkernel_test

import (
	"flag"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"example.com/fdpass/internal/sys"

	"golang.org/x/sys/unix"
)

var (
	agreeSeeds = flag.Int("agree.seeds", 100, "random sequences of calls to make on both kernels")
	agreeSeed  = flag.Uint64("agree.seed", 0, "run this random sequence only")
)

func bothMachines(t *testing.T) (s, a machine) {
	var l unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &l); err != nil || l.Max < 4096 {
		t.Skipf("the limit on descriptors is %d (%v)", l.Max, err)
	}
	t.Cleanup(func() { unix.Setrlimit(unix.RLIMIT_NOFILE, &l) })
	sys.System.FreeSlots(0, 1) // keeps a descriptor for good
	return newSimulated(), actual{l.Max}
}

var kinds = map[string]int{"seqpacket": unix.SOCK_SEQPACKET, "stream": unix.SOCK_STREAM}

func compare(t *testing.T, run func(r *rig)) {
	t.Helper()
	s, a := bothMachines(t)
	logs := [2][]string{}
	for i, m := range []machine{s, a} {
		r := newRig(m)
		run(r)
		r.end()
		if logs[i] = r.log; r.leftOut != "" {
			t.Logf("left out: %s", r.leftOut)
			return
		}
	}
	for i := range max(len(logs[0]), len(logs[1])) {
		line := [2]string{"nothing", "nothing"}
		for k := range logs {
			if i < len(logs[k]) {
				line[k] = logs[k][i]
			}
		}
		if line[0] != line[1] {
			t.Fatalf("after\n%s\nsimulated: %s\nactual:    %s", strings.Join(logs[1][max(0, i-100):i], "\n"), line[0], line[1])
		}
	}
}

// emulatorsDiffer lists the cases in which qemu-user does something else than the kernel below it: it does not set
// MSG_CTRUNC, and does not say ECONNRESET before the rest of the data.
var emulatorsDiffer = []string{"a control buffer too small", "a peer that dies and has not read all"}

func TestTheSimulatedKernelDoesWhatTheKernelDoes(t *testing.T) {
	for _, c := range cases {
		if !sys.ReportsTruncation() && slices.Contains(emulatorsDiffer, c.name) {
			t.Logf("left out: %s: this kernel is emulated, and MSG_CTRUNC is not set", c.name)
			continue
		}
		for kind, number := range kinds {
			for _, alone := range []bool{true, false} {
				t.Run(fmt.Sprintf("%s/%s/alone=%v", strings.ReplaceAll(c.name, " ", "_"), kind, alone), func(t *testing.T) {
					compare(t, func(r *rig) {
						r.alone = alone
						c.run(r, number)
					})
				})
			}
		}
	}
}

func TestTheSimulatedKernelAgreesOnRandomSequences(t *testing.T) {
	if !sys.ReportsTruncation() {
		t.Skip("this kernel is emulated: MSG_CTRUNC is not set, which random sequences come across")
	}
	from, to := uint64(1), uint64(*agreeSeeds)
	if *agreeSeed != 0 {
		from, to = *agreeSeed, *agreeSeed
	}
	for seed := from; seed <= to && !t.Failed(); seed++ {
		for kind, number := range kinds {
			t.Run(fmt.Sprintf("%d/%s", seed, kind), func(t *testing.T) {
				compare(t, func(r *rig) { randomCalls(r, number, seed) })
			})
		}
	}
}

// randomCalls makes calls that depend on the seed only.
func randomCalls(r *rig, kind int, seed uint64) {
	rng := rand.New(rand.NewPCG(seed, 1))
	var ends [2]int
	ends[0], ends[1] = r.pair(kind)
	r.open(6)
	r.alone, r.split = rng.IntN(4) == 0, rng.IntN(4) == 0
	message := func() msg {
		m := msg{bytes: 1 + rng.IntN(9)}
		if rng.IntN(20) == 0 {
			m.bytes = 1 + rng.IntN(9000)
		}
		for rng.IntN(3) > 0 {
			m.files = append(m.files, rng.IntN(len(r.files)))
		}
		if rng.IntN(30) == 0 {
			m.files = append(m.files, -1)
		}
		if rng.IntN(30) == 0 && !oneByOne {
			m.bytes = 0
		}
		return m
	}
	var held []int
	open := [2]bool{true, true}
	for range 60 {
		end := rng.IntN(2)
		if !open[end] {
			end = 1 - end
		}
		fd := ends[end]
		switch x := rng.IntN(100); {
		case x < 40:
			r.say("%d:", end)
			msgs := []msg{message()}
			for rng.IntN(2) == 0 {
				msgs = append(msgs, message())
			}
			r.send(fd, msgs...)
		case x < 75:
			r.say("%d:", end)
			bytes, control, flags := 20, ample, 0
			if rng.IntN(4) == 0 {
				bytes = 1 + rng.IntN(8)
			}
			switch rng.IntN(6) {
			case 0:
				control = rng.IntN(48)
			case 1:
				control = 0
			}
			if rng.IntN(5) == 0 {
				flags = unix.MSG_PEEK
			}
			held = append(held, r.recv(fd, 1+rng.IntN(4), flags, bytes, control)...)
		case x < 85:
			for _, fd := range held {
				if rng.IntN(2) == 0 && r.mine[fd] {
					r.close(fd)
				}
			}
		case x < 88:
			r.say("%d: write", end)
			r.write(fd, 1+rng.IntN(100))
		case x < 90:
			r.room(rng.IntN(8))
			held = held[:0]
		case x < 91:
			r.m.limit(4096)
		case x < 93:
			r.say("%d: fence", end)
			r.k.ShutdownRead(fd)
		case x < 95 && open[1-end]:
			r.say("%d: close", end)
			open[end] = false
			r.close(fd)
		default:
			r.say("writable %v", r.k.Writable(fd))
			r.status()
		}
	}
}
