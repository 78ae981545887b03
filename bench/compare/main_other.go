//go:build !linux

package main

import (
	"fmt"
	"os"
)

func main() {
	fmt.Fprintln(os.Stderr, "compare: the comparison runs on Linux only")
	os.Exit(1)
}
