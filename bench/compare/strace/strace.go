// Package strace reads what strace -c writes.
package strace

import (
	"strconv"
	"strings"
)

// Calls adds up the fourth column, calls.
func Calls(summary string) (calls int) {
	for line := range strings.Lines(summary) {
		f := strings.Fields(line)
		if len(f) < 5 || f[len(f)-1] == "total" {
			continue
		}
		if n, err := strconv.Atoi(f[3]); err == nil {
			calls += n
		}
	}
	return calls
}
