//go:build unix

package fastpass

import (
	"fmt"
	"os"
	"testing"

	"example.com/fdpass/internal/leak"
	"example.com/fdpass/internal/sys"
)

// roles are what a test binary does instead of testing when FDPASS_TEST_ROLE names one: that is how a test gets a
// second process. A role that returns has succeeded. Files add theirs in init functions.
var roles = map[string]func(){}

// TestMain plays the role that the parent asked for, or else runs the tests and fails the run if one has left a
// descriptor, a goroutine or a child process behind.
func TestMain(m *testing.M) {
	if name := os.Getenv("FDPASS_TEST_ROLE"); name != "" {
		role := roles[name]
		if role == nil {
			fmt.Fprintf(os.Stderr, "no role %q\n", name)
			os.Exit(2)
		}
		role()
		os.Exit(0)
	}
	sys.ReportsTruncation() // under qemu-user the probe leaves a descriptor behind, once
	os.Exit(leak.Run(m))
}
