//go:build linux

package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

func TestOptionsThatMakeNoSenseAreRefusedInOneLine(t *testing.T) {
	for args, want := range map[string]string{
		"--rounds 4":             "5 to 99",
		"--rounds 0":             "5 to 99",
		"--quick --rounds 0":     "1 to 99",
		"--rounds x":             "rounds",
		"--only nothing":         "pass, roundtrip",
		"pass":                   `"pass" is no option`,
		"--yardstick /no/such.c": "/no/such.c",
		"--yardstick /":          "/ is no file",
		"--surprise":             "surprise",
		"--readme x --quick":     "--quick makes no sense",
		"--readme x --only pass": "--only makes no sense",
	} {
		_, err := parse(strings.Fields(args))
		if err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "\n") {
			t.Errorf("%s: got %v, want %q", args, err, want)
		}
	}
}

func TestDefaultsDependOnHowThoroughARunIs(t *testing.T) {
	for args, want := range map[string]struct {
		rounds int
		out    string
	}{
		"":                     {9, "bench/results"},
		"--quick":              {3, "bench/results/quick"},
		"--quick --rounds 1":   {1, "bench/results/quick"},
		"--rounds 7 --out dir": {7, "dir"},
		"--readme x --out dir": {9, "dir"},
	} {
		o, err := parse(strings.Fields(args))
		if err != nil || o.Rounds != want.rounds || o.out != want.out {
			t.Errorf("%s: %+v, %v", args, o, err)
		}
	}
}

func TestHelpNamesEveryOptionAndSuite(t *testing.T) {
	text := help()
	for _, want := range append(names(), "--quick", "--only", "--rounds", "--out", "--yardstick", "--install", "--readme", "--help") {
		if !strings.Contains(text, want) {
			t.Errorf("help does not mention %s", want)
		}
	}
}

func TestARunThatIsInterruptedSaysWhatItLeaves(t *testing.T) {
	for want, written := range map[string][]string{
		"a signal during front; this run has written nothing into dir":         nil,
		"a signal during front; this run has written pass, roundtrip into dir": {"pass", "roundtrip"},
	} {
		if err := interrupted(errors.New("a signal"), "front", written, "dir"); !strings.HasPrefix(err.Error(), want) {
			t.Errorf("got %q, want %q", err, want)
		}
	}
}

func TestAFolderInWhichNothingCanBeMadeIsNoticedBeforeMeasuring(t *testing.T) {
	good := filepath.Join(t.TempDir(), "new", "folder")
	if err := canWrite(good); err != nil {
		t.Error(err)
	}
	if left, err := os.ReadDir(good); err != nil || len(left) > 0 {
		t.Errorf("%v is left: %v", left, err)
	}
	if err := canWrite("/proc"); err == nil {
		t.Error("no error for /proc")
	}
}

func TestASuiteThatLacksDescriptorsIsSaidToOnce(t *testing.T) {
	var before unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &before); err != nil {
		t.Fatal(err)
	}
	defer unix.Setrlimit(unix.RLIMIT_NOFILE, &before)
	for name, files := range map[string]uint64{"pass": 200, "front": 200, "acceptor": 1024, "growth": 200, "limit": 200} {
		low := before
		low.Cur = files
		if err := unix.Setrlimit(unix.RLIMIT_NOFILE, &low); err != nil {
			t.Fatal(err)
		}
		err := compare(t.Context(), &options{only: name, out: t.TempDir()})
		want := fmt.Sprintf("descriptors are needed, the limit is %d (ulimit -n)", files)
		if err == nil || strings.Count(err.Error(), want) != 1 {
			t.Errorf("%s: %v", name, err)
		}
	}
}
