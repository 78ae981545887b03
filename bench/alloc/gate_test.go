//go:build linux

package main

import (
	"bytes"
	"os"
	"regexp"
	"runtime"
	"strings"
	"testing"

	"example.com/fdpass/fastpass"
	"example.com/fdpass/internal/leak"
)

func TestMain(m *testing.M) {
	runtime.MemProfileRate = 1
	os.Exit(leak.Run(m))
}

const few = 30_000 // descriptors: as many as tell one allocation per call from what settles

// wasteful is a policy that allocates, as an application's may.
func wasteful(_ *fastpass.Desc, n uint64, ws []fastpass.Worker) int {
	kept = append([]uint64(nil), n, n)
	return int(kept[0]) % len(ws)
}

var kept []uint64

func TestTheGate(t *testing.T) {
	if testing.CoverMode() != "" || raceEnabled {
		t.Skip("instrumented code allocates")
	}
	for _, c := range []struct {
		name string
		path path
		want string // what it writes; "" if it lets the path pass
	}{
		{"lets a path pass that allocates nothing", path{"pool", few, batch, pool(fastpass.RoundRobin, batch), nil}, ""},
		{"leaves out the application's callbacks", path{"pool", few, batch, pool(fastpass.PolicyFunc(wasteful), batch), nil}, ""},
		{
			"names file and line of an allocation for each descriptor",
			path{"NetListener, as if it were not by design", few / 10, 32, netListener, nil},
			`fastpass/conn_unix\.go:\d+: fastpass\.newConn allocated \d+ objects`,
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			var out bytes.Buffer
			ok := gate([]path{c.path}, &out, false)
			if ok != (c.want == "") || !regexp.MustCompile(c.want).MatchString(out.String()) {
				t.Errorf("passed: %v, which should write %q; it wrote\n%s", ok, c.want, &out)
			}
			if ok == strings.Contains(out.String(), "FAILED") {
				t.Errorf("passed: %v, and it wrote\n%s", ok, &out)
			}
		})
	}
}
