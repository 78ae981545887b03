//go:build linux

package fastpass

import (
	"fmt"
	"net"
	"os"
	"strings"
	"testing"

	"example.com/fdpass/internal/sys"
)

// tableSize is for how many descriptors the kernel's table of this process has room before it grows.
func tableSize() (n int) {
	status, err := os.ReadFile("/proc/self/status")
	must(err)
	_, rest, _ := strings.Cut(string(status), "FDSize:")
	_, err = fmt.Sscan(rest, &n)
	must(err)
	return n
}

func init() {
	roles["table of a listener"] = func() {
		p, f, err := Pair(nil)
		must(err)
		ln := p.NetListener()
		say("%d", tableSize())
		ln.Close()
		f.Close()
	}
	roles["table of a front"] = func() {
		pool, err := NewPool(nil)
		must(err)
		ln, err := net.Listen("tcp", "127.0.0.1:0")
		must(err)
		p, f, err := Pair(&Config{Direction: SendOnly, Protocol: Bare})
		must(err)
		must(pool.Add(p))
		go pool.Serve(ln)
		c, err := net.Dial("tcp", ln.Addr().String())
		must(err)
		_, err = f.Read(make([]byte, 1)) // it has accepted one
		must(err)
		say("%d", tableSize())
		c.Close()
		f.Close()
		ln.Close()
	}
}

// Neither a worker nor a front has its clients wait while the kernel makes the table larger.
func TestTheTableIsLargeBeforeThereAreConnections(t *testing.T) {
	for _, role := range []string{"table of a listener", "table of a front"} {
		c := startChild(t, role, nil, nil)
		var n int
		if _, err := fmt.Sscan(c.hear(), &n); err != nil {
			t.Fatal(err)
		}
		if want := min(16<<10, sys.System.SoftLimit()); n < want {
			t.Errorf("%s: room for %d, want %d", role, n, want)
		}
		c.succeed()
	}
}
