package strace

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestCallsAreAddedUpWithoutTheTotal(t *testing.T) {
	const summary = `% time     seconds  usecs/call     calls    errors syscall
------ ----------- ----------- --------- --------- ----------------
 57.19    0.215597         272       790           close_range
 39.66    0.149520           5     25257       424 accept4
------ ----------- ----------- --------- --------- ----------------
100.00    0.376967          14     26047       424 total
`
	log := filepath.Join(t.TempDir(), "log")
	if err := os.WriteFile(log, []byte(summary), 0o600); err != nil {
		t.Fatal(err)
	}
	if got, err := Read(log); err != nil || got != 790+25257 {
		t.Errorf("counted %d calls (%v), want %d", got, err, 790+25257)
	}
}

func TestASummaryWithoutCallsIsAnError(t *testing.T) {
	log := filepath.Join(t.TempDir(), "log")
	if _, err := Read(log); err == nil {
		t.Error("no error for a file that is not there")
	}
	if err := os.WriteFile(log, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if got, err := Read(log); err == nil || !strings.Contains(err.Error(), "counted nothing") {
		t.Errorf("%d calls, %v", got, err)
	}
}
