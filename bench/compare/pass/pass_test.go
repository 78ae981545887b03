//go:build linux

package pass

import (
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"example.com/fdpass/bench/compare/peer"
	"example.com/fdpass/bench/compare/result"
	"example.com/fdpass/bench/compare/role"
	"example.com/fdpass/bench/compare/suite"
	"example.com/fdpass/bench/compare/suite/suitetest"
	"example.com/fdpass/internal/leak"

	"golang.org/x/sys/unix"
)

func TestMain(m *testing.M) {
	role.Main()
	os.Exit(leak.Run(m, func() error {
		sockets.close()
		return nil
	}))
}

// newShop returns a shop whose portable build of the comparison is built with -tags fdpass_portable.
func newShop(t *testing.T) *peer.Shop {
	t.Helper()
	path := filepath.Join(t.TempDir(), "compare-portable")
	if out, err := exec.Command("go", "build", "-tags", "fdpass_portable", "-o", path, "..").CombinedOutput(); err != nil {
		t.Logf("no portable build: %v: %s", err, out)
		path = ""
	}
	return &peer.Shop{Dir: t.TempDir(), Portable: path, Log: io.Discard}
}

// Every contender passes what it is told, in full messages and in the smallest ones, and what arrives is what was sent.
func TestEveryContenderPassesAllOrSaysWhyNot(t *testing.T) {
	shop := newShop(t)
	s := Suite("")
	for _, c := range s.Contenders {
		t.Run(c.Name, func(t *testing.T) {
			if c.Prepare != nil {
				if _, err := c.Prepare(t.Context(), shop); err != nil {
					t.Skipf("missing: %v", err)
				}
			}
			for _, one := range cases(true) {
				sample, err := c.Measure(t.Context(), one, time.Microsecond)
				if suite.IsUnable(err) {
					continue
				}
				if err != nil {
					t.Errorf("%s: %v", one.Name, err)
					continue
				}
				for _, key := range []string{"ns", "rate", "sender", "receiver"} {
					if v, ok := sample[key]; !ok || v < 0 || v == 0 && (key == "ns" || key == "rate") {
						t.Errorf("%s: %s is missing in %v", one.Name, key, sample)
					}
				}
			}
		})
	}
}

// Any program of those options serves as a yardstick.
func TestTheLimitIsComparedWithItsYardstick(t *testing.T) {
	yardstick := filepath.Join(t.TempDir(), "like.c")
	const like = `#include <stdio.h>
int main(int argc, char **argv) {
	printf("%s B=%s M=%s %s %s: 1000000 descriptors/s, 1000.0 ns each, sender CPU 10.0 ns each\n",
	       argv[1], argv[2], argv[3], argv[5], argv[6]);
	return argc != 7;
}
`
	if err := os.WriteFile(yardstick, []byte(like), 0o600); err != nil {
		t.Fatal(err)
	}
	s := LimitSuite(yardstick)
	suitetest.Run(t, s, "ns")
}

func TestWhoCountedIsSaidIfAnythingWasCounted(t *testing.T) {
	for key, want := range map[string]bool{"ns": false, systemCalls: true} {
		r := &result.Suite{Cells: []result.Cell{{Figures: map[string]result.Figure{key: result.Of([]float64{1})}}}}
		if text := strings.Join(verdicts(r), "\n"); strings.Contains(text, "counted by") != want {
			t.Errorf("with figures of %s only: %q", key, text)
		}
	}
}

// Whoever is not root and has few descriptors sees the best peers fail with full messages, and the slowest win.
func TestTheBestOfThoseThatAreLeftIsNoMeasure(t *testing.T) {
	ns := map[string]result.Figure{perDescriptor.Key: result.Of([]float64{1})}
	r := &result.Suite{
		Cases: []result.Case{{Name: "253", Group: "keeping"}},
		Contenders: []result.Contender{
			{Name: limitName, Role: result.Limit}, {Name: bareName, Role: result.Own}, {Name: "kj", Role: result.Peer}, {Name: "x/sys", Role: result.Peer},
		},
		Cells: []result.Cell{
			{Case: "253", Contender: limitName, Figures: ns},
			{Case: "253", Contender: bareName, Figures: ns},
			{Case: "253", Contender: "kj", Figures: ns},
			{Case: "253", Contender: "x/sys", Figures: ns},
		},
	}
	if text := againstPeers(r, "keeping"); !strings.Contains(text, "Bare passes 1.00") {
		t.Errorf("got %q", text)
	}
	r.Cells[3] = result.Cell{Case: "253", Contender: "x/sys", Failed: "too many references"}
	if text := againstPeers(r, "keeping"); !strings.HasSuffix(text, "not said, for x/sys failed at 253.") {
		t.Errorf("got %q", text)
	}
}

func TestTheSystemCallsOfBothProcessesAreCounted(t *testing.T) {
	if _, err := exec.LookPath("strace"); err != nil {
		t.Skip("no strace: ", err)
	}
	p := named(t, "x/sys")
	for _, tc := range []struct {
		w    work
		want float64 // sendmsg and recvmsg for each message, close for each descriptor, and to give a copy and another close
	}{
		{work{Batch: 1}, 3},
		{work{Batch: 50, Give: true}, 3 + 2.0/50},
	} {
		got, err := countCalls(tc.w, func(n int, t tracer) error {
			_, _, err := p.pass(context.Background(), tc.w, n, t)
			return err
		})
		// The runtime makes calls of its own, more of them when the machine is busy.
		if err != nil || got["calls"] < tc.want*0.98 || got["calls"] > tc.want*1.5+1 {
			t.Errorf("%+v: %v system calls each (%v), want about %v", tc.w, got["calls"], err, tc.want)
		}
	}
}

func named(t *testing.T, name string) program {
	t.Helper()
	for _, p := range programs() {
		if p.name == name {
			return p
		}
	}
	t.Fatalf("no contender %s", name)
	return program{}
}

func TestWhatWasNotPassedIsNoticed(t *testing.T) {
	inodes := []uint64{1, 2, 3, 4, 5, 6, 7, 8, 9}
	for _, tc := range []struct {
		sent, got outcome
		want      string
	}{
		{outcome{Passed: 10}, outcome{Passed: 10, Inodes: []uint64{1, 2, 3}}, ""},
		{outcome{Passed: 9}, outcome{Passed: 10, Inodes: []uint64{1}}, "sender passed 9"},
		{outcome{Passed: 10}, outcome{Passed: 9, Inodes: []uint64{1}}, "receiver got 9"},
		{outcome{Passed: 10}, outcome{Passed: 10}, "inodes []"},
		{outcome{Passed: 10}, outcome{Passed: 10, Inodes: []uint64{2, 1}}, "inodes [2 1]"},
	} {
		err := check(10, tc.sent, tc.got, inodes)
		if (err == nil) != (tc.want == "") || err != nil && !strings.Contains(err.Error(), tc.want) {
			t.Errorf("%+v, %+v: %v, want %q", tc.sent, tc.got, err, tc.want)
		}
	}
}

func TestAProgramThatFailsIsReportedWithWhatItSaid(t *testing.T) {
	for name, script := range map[string]string{
		"never ready":      "echo cannot >&2; exit 1",
		"ends in the work": "echo ready; read x; echo cannot >&2; exit 1",
		"not JSON":         "echo ready; read x; echo nothing; echo cannot >&2",
	} {
		p := program{name: name, socket: unix.SOCK_STREAM, command: func(ctx context.Context, _ ...string) *exec.Cmd {
			return exec.CommandContext(ctx, "sh", "-c", script)
		}}
		_, _, err := p.pass(t.Context(), work{Batch: 1}, 10, untraced)
		if err == nil || !strings.Contains(err.Error(), "cannot") {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestTheYardsticksLineIsRead(t *testing.T) {
	got, err := readYardstick("seq B=253 M=8 pool range: 8130081 descriptors/s, 123.0 ns each, sender CPU 45.6 ns each\n")
	if err != nil || got["ns"] != 123 || got["rate"] != 8130081 || got["sender"] != 45.6 {
		t.Errorf("%v, %v", got, err)
	}
	if _, err := readYardstick("usage: fdlimit"); err == nil {
		t.Error("no error for another line")
	}
}

func TestAmountsFollowTheTimeThatADescriptorTook(t *testing.T) {
	var a amounts
	var asked []int
	one := cases(false)[1] // 8 per message
	for range 2 {
		if _, err := a.measure(one, time.Millisecond, func(_ work, n int) (suite.Sample, error) {
			asked = append(asked, n)
			return suite.Sample{"ns": 100}, nil
		}); err != nil {
			t.Fatal(err)
		}
	}
	if fmt.Sprint(asked) != "[2048 10000 10000]" {
		t.Errorf("asked for %v", asked)
	}
}
