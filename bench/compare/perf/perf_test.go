package perf

import (
	"os"
	"path/filepath"
	"testing"

	"example.com/fdpass/internal/leak"
)

func TestMain(m *testing.M) { os.Exit(leak.Run(m)) }

func TestTheMonitorIsLeftOut(t *testing.T) {
	for text, want := range map[string]int{
		"# started on Mon\n\n144,,raw_syscalls:sys_enter,878019,100.00,,\n44,,syscalls:sys_enter_nanosleep,878019,100.00,,\n": 100,
		"0,,raw_syscalls:sys_enter,878019,100.00,,\n":     0,
		"<not supported>,,raw_syscalls:sys_enter,0,,,,\n": 0,
		"": 0,
	} {
		log := filepath.Join(t.TempDir(), "log")
		if err := os.WriteFile(log, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if got, err := Read(log); got != want || (err == nil) != (want > 0) {
			t.Errorf("%q: %d calls, %v; want %d", text, got, err, want)
		}
	}
	if _, err := Read(filepath.Join(t.TempDir(), "log")); err == nil {
		t.Error("no error for a file that is not there")
	}
}
