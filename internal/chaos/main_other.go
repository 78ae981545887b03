//go:build !linux

// Chaos needs prlimit(2), pidfds and /proc.
package main

import (
	"fmt"
	"os"
	"runtime"
)

func main() {
	fmt.Fprintln(os.Stderr, "chaos: this system has no prlimit(2) and no pidfds:", runtime.GOOS)
	os.Exit(2)
}
