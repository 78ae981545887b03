//go:build linux

package roundtrip

import (
	"context"
	"io"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"example.com/fdpass/bench/compare/peer"
	"example.com/fdpass/bench/compare/role"
	"example.com/fdpass/internal/leak"

	"golang.org/x/sys/unix"
)

func TestMain(m *testing.M) {
	role.Main()
	os.Exit(leak.Run(m))
}

// Every contender brings the descriptor back as often as it is told, and it is the same one.
func TestEveryContenderBringsTheDescriptorBackOrSaysWhyNot(t *testing.T) {
	shop := &peer.Shop{Dir: t.TempDir(), Log: io.Discard}
	for _, c := range Suite().Contenders {
		t.Run(c.Name, func(t *testing.T) {
			if c.Prepare != nil {
				if _, err := c.Prepare(t.Context(), shop); err != nil {
					t.Skipf("missing: %v", err)
				}
			}
			for _, one := range cases(true) {
				sample, err := c.Measure(t.Context(), one, time.Microsecond)
				if err != nil {
					t.Errorf("%s: %v", one.Name, err)
				} else if sample["p50"] <= 0 || sample["p99"] < sample["p50"] || sample["p999"] < sample["p99"] {
					t.Errorf("%s: %v", one.Name, sample)
				}
			}
		})
	}
}

func TestADescriptorThatDoesNotComeBackIsNoticed(t *testing.T) {
	for what, tc := range map[string]struct{ ping, echo, want string }{
		"too few":    {`{"passed":5,"took":[1,1,1,1,1],"inode":1}`, `{"passed":4}`, "4 times back"},
		"another":    {`{"passed":5,"took":[1,1,1,1,1],"inode":1}`, `{"passed":5}`, "inode 1;"},
		"unmeasured": {`{"passed":5,"took":[1],"inode":1}`, `{"passed":5}`, "1 measured"},
	} {
		p := program{socket: unix.SOCK_STREAM, command: func(ctx context.Context, args ...string) *exec.Cmd {
			says := tc.ping
			if args[0] == "echo" {
				says = tc.echo
			}
			return exec.CommandContext(ctx, "sh", "-c", "echo ready; read x; echo '"+says+"'; cat >/dev/null")
		}}
		if _, err := p.trips(t.Context(), 5); err == nil || !strings.Contains(err.Error(), tc.want) {
			t.Errorf("%s: %v, want %q", what, err, tc.want)
		}
	}
}
