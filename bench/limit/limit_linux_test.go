package limit_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"example.com/fdpass/bench/limit"
)

// needCompiler skips where there is nothing to compile with; CI installs gcc.
func needCompiler(t *testing.T) {
	t.Helper()
	if _, err := limit.Build(t.Context()); errors.Is(err, limit.ErrNoCompiler) {
		t.Skip(err)
	}
}

func TestRunMeasuresWhatWasAskedFor(t *testing.T) {
	needCompiler(t)
	for name, tc := range map[string]struct {
		o    limit.Options
		want limit.Config
	}{
		"defaults":                   {limit.Options{Total: 506}, limit.Config{"seq", 253, 8, 506, "give", "range", 0, 0, 1, 0, false, false}},
		"one at a time":              {limit.Options{Batch: 1, Messages: 1, Total: 100}, limit.Config{"seq", 1, 1, 100, "give", "range", 0, 0, 1, 0, false, false}},
		"a stream of lent sockets":   {limit.Options{Type: "stream", Batch: 64, Total: 6400, Lend: true}, limit.Config{"stream", 64, 8, 6400, "lend", "range", 0, 0, 1, 0, false, false}},
		"closed one by one":          {limit.Options{Batch: 100, Total: 5000, CloseEach: true}, limit.Config{"seq", 100, 8, 5000, "give", "each", 0, 0, 1, 0, false, false}},
		"rounded up to whole ones":   {limit.Options{Batch: 100, Total: 101}, limit.Config{"seq", 100, 8, 200, "give", "range", 0, 0, 1, 0, false, false}},
		"bytes with each":            {limit.Options{Batch: 10, Total: 1000, Payload: 100}, limit.Config{"seq", 10, 8, 1000, "give", "range", 100, 0, 1, 0, false, false}},
		"a table that is not empty":  {limit.Options{Batch: 10, Total: 1000, Open: 1000}, limit.Config{"seq", 10, 8, 1000, "give", "range", 0, 1000, 1, 0, false, false}},
		"several receivers":          {limit.Options{Batch: 10, Messages: 2, Total: 1000, Workers: 3}, limit.Config{"seq", 10, 2, 1020, "give", "range", 0, 0, 3, 0, false, false}},
		"many at once in flight":     {limit.Options{Total: 20000, Lend: true, InFlight: 16000}, limit.Config{"seq", 253, 8, 32384, "lend", "range", 0, 0, 1, 16192, false, false}},
		"a second thread":            {limit.Options{Batch: 10, Total: 1000, Threaded: true}, limit.Config{"seq", 10, 8, 1000, "give", "range", 0, 0, 1, 0, true, false}},
		"copies close-on-exec":       {limit.Options{Batch: 10, Total: 1000, CloExec: true}, limit.Config{"seq", 10, 8, 1000, "give", "range", 0, 0, 1, 0, false, true}},
		"a last vector that is part": {limit.Options{Batch: 10, Messages: 64, Total: 6410}, limit.Config{"seq", 10, 64, 6410, "give", "range", 0, 0, 1, 0, false, false}},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := limit.Run(t.Context(), tc.o)
			if err != nil {
				t.Fatal(err)
			}
			if got.Config != tc.want {
				t.Errorf("measured %+v, want %+v", got.Config, tc.want)
			}
			if got.DescriptorsPerSecond <= 0 || got.NsPerDescriptor <= 0 || got.SenderCPUNs <= 0 || got.ReceiverCPUNs <= 0 && tc.o.InFlight == 0 {
				t.Errorf("a figure is missing: %+v", got)
			}
		})
	}
}

func TestRunNamesTheOptionThatIsOutOfRange(t *testing.T) {
	needCompiler(t)
	for want, o := range map[string]limit.Options{
		"--batch":     {Batch: 254},
		"--messages":  {Messages: -1},
		"--total":     {Total: -1},
		"--type":      {Type: "dgram"},
		"--payload":   {Payload: 4097},
		"--workers":   {Workers: 257},
		"--in-flight": {InFlight: 1000, Batch: 1},
		"--cloexec":   {CloExec: true, Lend: true},
	} {
		_, err := limit.Run(t.Context(), o)
		if err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "\n") {
			t.Errorf("%+v: got error %v, want one line that names %s", o, err, want)
		}
	}
}

func TestRunEndsWithItsContext(t *testing.T) {
	needCompiler(t)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := limit.Run(ctx, limit.Options{}); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v, want context.Canceled", err)
	}
}

func TestBuildReusesItsBinaryAndLeavesNothingElse(t *testing.T) {
	needCompiler(t)
	cache := t.TempDir()
	t.Setenv("XDG_CACHE_HOME", cache)
	var all sync.WaitGroup
	for range 4 { // at once, as the test binaries of several packages would
		all.Go(func() {
			if _, err := limit.Build(t.Context()); err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
	path, err := limit.Build(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	entries, err := os.ReadDir(filepath.Join(cache, "fdpass"))
	if err != nil || len(entries) != 1 {
		t.Fatalf("the cache holds %v (%v), want the binary alone", entries, err)
	}

	t.Setenv("PATH", "")
	t.Setenv("CC", "")
	if again, err := limit.Build(t.Context()); err != nil || again != path {
		t.Errorf("without a compiler: %q, %v; want the cached %q", again, err, path)
	}
}

func TestBuildSaysWhatIsMissing(t *testing.T) {
	t.Setenv("XDG_CACHE_HOME", t.TempDir())
	t.Setenv("PATH", t.TempDir())
	t.Setenv("CC", "")
	if _, err := limit.Build(t.Context()); !errors.Is(err, limit.ErrNoCompiler) || !strings.Contains(err.Error(), "gcc") {
		t.Errorf("got %v, want ErrNoCompiler with what to install", err)
	}
	t.Setenv("CC", "no-such-compiler -m64")
	if _, err := limit.Build(t.Context()); !errors.Is(err, limit.ErrNoCompiler) || !strings.Contains(err.Error(), "no-such-compiler") {
		t.Errorf("got %v, want ErrNoCompiler that names $CC", err)
	}
}

func TestBuildFallsBackToAPrivateTemporaryFolder(t *testing.T) {
	needCompiler(t)
	tmp := t.TempDir()
	t.Setenv("XDG_CACHE_HOME", "")
	t.Setenv("HOME", "")
	t.Setenv("TMPDIR", tmp)
	path, err := limit.Build(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	dir := filepath.Dir(path)
	if filepath.Dir(dir) != tmp {
		t.Fatalf("built %s, want it in a folder of %s", path, tmp)
	}
	if err := os.Chmod(dir, 0o777); err != nil {
		t.Fatal(err)
	}
	if path, err := limit.Build(t.Context()); err == nil {
		t.Errorf("ran %s from a folder that anybody can write to", path)
	}
}
