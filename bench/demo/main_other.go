//go:build !unix

// Demo needs Unix sockets that pass descriptors.
package main

import (
	"fmt"
	"os"
	"runtime"
)

func main() {
	fmt.Fprintln(os.Stderr, "demo: this system cannot pass descriptors:", runtime.GOOS)
	os.Exit(2)
}
