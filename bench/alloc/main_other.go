//go:build !linux

// Alloc measures on Linux only.
package main

import (
	"fmt"
	"os"
	"runtime"
)

func main() {
	fmt.Fprintln(os.Stderr, "alloc: measures on Linux only, not on", runtime.GOOS)
	os.Exit(2)
}
