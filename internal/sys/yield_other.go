//go:build unix && (!linux || fdpass_portable)

package sys

import "runtime"

// yield lets only other goroutines go first: not every system has a call that lets other processes.
func yield() { runtime.Gosched() }
