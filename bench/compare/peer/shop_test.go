package peer

import (
	"context"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

func shop(t *testing.T) *Shop { return &Shop{Dir: t.TempDir(), Log: io.Discard} }

func TestAMissingPackageIsNamedAndNotInstalledUnlessAllowed(t *testing.T) {
	if _, err := exec.LookPath("dpkg-query"); err != nil {
		t.Skip("no Debian: ", err)
	}
	_, err := shop(t).Need(t.Context(), "no-such-package-anywhere")
	if err == nil || !strings.Contains(err.Error(), "no-such-package-anywhere") || !strings.Contains(err.Error(), "make compare") {
		t.Errorf("got %v", err)
	}
	version, err := shop(t).Need(t.Context(), "dpkg", "base-files")
	if err != nil || !strings.HasPrefix(version, "dpkg 1.") || !strings.Contains(version, ", base-files ") {
		t.Errorf("got %q, %v", version, err)
	}
}

func TestWhatTheCompilerSaysIsTheReason(t *testing.T) {
	s := shop(t)
	if _, err := s.Build(t.Context(), []string{"no-such-compiler"}, "a.c", nil); err == nil || !strings.Contains(err.Error(), "no-such-compiler") {
		t.Errorf("without a compiler: %v", err)
	}
	if _, err := exec.LookPath("cc"); err != nil {
		t.Skip("no C compiler: ", err)
	}
	_, err := s.Build(t.Context(), C, "a.c", []byte("#include <no_such_header.h>\nint main(void) { return 0; }\n"))
	if err == nil || !strings.Contains(err.Error(), "no_such_header.h") || strings.Contains(err.Error(), "\n") {
		t.Errorf("got %v, want one line with the header's name", err)
	}
	path, err := s.Build(t.Context(), C, "b.c", []byte("int main(void) { return 3; }\n"))
	if err != nil {
		t.Fatal(err)
	}
	if err := exec.CommandContext(context.Background(), path).Run(); err == nil || err.Error() != "exit status 3" {
		t.Errorf("the program ended with %v", err)
	}
}

func TestTheVersionIsTheFirstLineAndAMissingModuleTheReason(t *testing.T) {
	if version, err := VersionOf(t.Context(), "sh", "-c", "echo 1.2; echo more"); err != nil || version != "1.2" {
		t.Errorf("%q, %v", version, err)
	}
	if _, err := VersionOf(t.Context(), "sh", "-c", "echo \"Can't locate it\" >&2; echo BEGIN failed >&2; exit 2"); err == nil ||
		!strings.Contains(err.Error(), "Can't locate it") || strings.Contains(err.Error(), "BEGIN") {
		t.Errorf("%v", err)
	}
	if _, err := VersionOf(t.Context(), "no-such-program"); err == nil || !strings.Contains(err.Error(), "no-such-program") {
		t.Errorf("%v", err)
	}
}

// A system may have a compiler that is not called cc.
func TestTheVersionIsThatOfTheCompilerThereIs(t *testing.T) {
	dir := t.TempDir()
	t.Setenv("PATH", dir)
	if _, err := VersionOfC(t.Context()); err == nil || !strings.Contains(err.Error(), "cc, gcc, clang") {
		t.Errorf("without any: %v", err)
	}
	if err := os.WriteFile(filepath.Join(dir, "clang"), []byte("#!/bin/sh\necho clang 99\n"), 0o700); err != nil {
		t.Fatal(err)
	}
	if version, err := VersionOfC(t.Context()); err != nil || version != "clang 99" {
		t.Errorf("%q, %v", version, err)
	}
}

func TestWhatIsToEndEarlyMayTidyUp(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	dir := t.TempDir()
	ready, tidied := filepath.Join(dir, "ready"), filepath.Join(dir, "tidied")
	if err := exec.Command("mkfifo", ready).Run(); err != nil {
		t.Skip("no mkfifo: ", err)
	}
	ended := make(chan error)
	go func() {
		ended <- run(exec.CommandContext(ctx, "sh", "-c", `trap 'echo >"$1"; exit 1' INT; echo >"$0"; while :; do sleep 0.05; done`, ready, tidied))
	}()
	if _, err := os.ReadFile(ready); err != nil {
		t.Fatal(err)
	}
	cancel()
	if err := <-ended; err == nil {
		t.Error("no error")
	}
	if _, err := os.Stat(tidied); errors.Is(err, os.ErrNotExist) {
		t.Error("it was killed")
	}
}
