package strace

import "testing"

func TestCallsAreAddedUpWithoutTheTotal(t *testing.T) {
	const summary = `% time     seconds  usecs/call     calls    errors syscall
------ ----------- ----------- --------- --------- ----------------
 57.19    0.215597         272       790           close_range
 39.66    0.149520           5     25257       424 accept4
------ ----------- ----------- --------- --------- ----------------
100.00    0.376967          14     26047       424 total
`
	if got := Calls(summary); got != 790+25257 {
		t.Errorf("counted %d calls, want %d", got, 790+25257)
	}
}
