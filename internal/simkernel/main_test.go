//go:build linux

package simkernel_test

import (
	"os"
	"testing"

	"example.com/fdpass/internal/leak"
	"example.com/fdpass/internal/sys"
)

func TestMain(m *testing.M) {
	sys.ReportsTruncation() // under qemu-user the probe leaves a descriptor behind, once
	os.Exit(leak.Run(m))
}
