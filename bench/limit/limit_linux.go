package limit

import (
	"bytes"
	"context"
	"crypto/sha256"
	_ "embed"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"time"
)

//go:embed limit.c
var source []byte

// flags are part of the binary's name: another optimisation is another program.
var flags = []string{"-O2", "-Wall", "-Wextra", "-pthread"}

// Build returns the path of the compiled program, compiling it first if the cache does not
// hold it. The cache is fdpass in [os.UserCacheDir], or a private folder under
// [os.TempDir] where there is no cache to write to. The compiler is $CC, else the first of
// cc, gcc and clang that is in PATH; without any, the error is [ErrNoCompiler]. Processes and
// goroutines may call it at the same time: each puts a complete binary in place with a rename.
func Build(ctx context.Context) (path string, err error) {
	dir, err := cacheDir()
	if err != nil {
		return "", fmt.Errorf("limit: %w", err)
	}
	sum := sha256.Sum256(append([]byte(strings.Join(flags, " ")+"\x00"), source...))
	path = filepath.Join(dir, fmt.Sprintf("limit-%s-%x", runtime.GOARCH, sum[:8]))
	if info, err := os.Stat(path); err == nil && info.Mode().IsRegular() {
		return path, nil
	}
	if err := compile(ctx, dir, path); err != nil {
		return "", fmt.Errorf("limit: %w", err)
	}
	return path, nil
}

func compile(ctx context.Context, dir, path string) error {
	cc, err := compiler()
	if err != nil {
		return err
	}
	// The compiler writes into a folder of this call's own, on the same file system, so
	// that the rename is atomic and nobody ever runs half a binary.
	tmp, err := os.MkdirTemp(dir, "build-*")
	if err != nil {
		return err
	}
	defer os.RemoveAll(tmp)
	out := filepath.Join(tmp, "limit")
	args := append(append(cc[1:len(cc):len(cc)], flags...), "-x", "c", "-o", out, "-")
	cmd := exec.CommandContext(ctx, cc[0], args...)
	cmd.Stdin = bytes.NewReader(source)
	if said, err := cmd.CombinedOutput(); err != nil {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		return fmt.Errorf("compiling limit.c with %s: %w\n%s", strings.Join(cc, " "), err, said)
	}
	return os.Rename(out, path)
}

// compiler returns the command to compile with and the arguments that belong to it: $CC may be "ccache gcc".
func compiler() ([]string, error) {
	if cc := strings.Fields(os.Getenv("CC")); len(cc) > 0 {
		if _, err := exec.LookPath(cc[0]); err != nil {
			return nil, fmt.Errorf("%w: CC=%s: %w", ErrNoCompiler, os.Getenv("CC"), err)
		}
		return cc, nil
	}
	for _, name := range []string{"cc", "gcc", "clang"} {
		if found, err := exec.LookPath(name); err == nil {
			return []string{found}, nil
		}
	}
	return nil, fmt.Errorf("%w: none of cc, gcc and clang is in PATH (Debian: apt-get install gcc libc6-dev)", ErrNoCompiler)
}

// cacheDir returns a folder that holds binaries from one process to the next.
func cacheDir() (string, error) {
	if base, err := os.UserCacheDir(); err == nil {
		dir := filepath.Join(base, "fdpass")
		if err := os.MkdirAll(dir, 0o700); err == nil && writable(dir) {
			return dir, nil
		}
	}
	// What lies here is executed, and the temp dir is everybody's: only a folder that is
	// this user's and nobody else's to write to will do.
	dir := filepath.Join(os.TempDir(), fmt.Sprintf("fdpass-%d", os.Getuid()))
	if err := os.Mkdir(dir, 0o700); err != nil && !errors.Is(err, fs.ErrExist) {
		return "", err
	}
	info, err := os.Lstat(dir)
	if err != nil {
		return "", err
	}
	st, ok := info.Sys().(*syscall.Stat_t)
	if !info.IsDir() || info.Mode().Perm()&0o022 != 0 || !ok || int(st.Uid) != os.Getuid() {
		return "", fmt.Errorf("%s is not a private folder of this user", dir)
	}
	return dir, nil
}

func writable(dir string) bool {
	const writeAndSearch = 3 // W_OK|X_OK
	return syscall.Access(dir, writeAndSearch) == nil
}

// Run builds the program if need be, runs it once and returns what it measured. It blocks
// for as long as the passing takes, about 120 ns for each of o.Total descriptors in full
// batches and 1 µs one at a time. Cancelling ctx ends both of its processes.
func Run(ctx context.Context, o Options) (Result, error) {
	path, err := Build(ctx)
	if err != nil {
		return Result{}, err
	}
	var out, said bytes.Buffer
	cmd := exec.CommandContext(ctx, path, o.Args()...)
	cmd.Stdout, cmd.Stderr = &out, &said
	// Killing the sender ends the receiver, which holds the pipes a moment longer.
	cmd.WaitDelay = time.Second
	if err := cmd.Run(); err != nil {
		if ctx.Err() != nil {
			return Result{}, fmt.Errorf("limit: %w", ctx.Err())
		}
		if msg := strings.TrimSpace(said.String()); msg != "" {
			return Result{}, fmt.Errorf("limit: %w: %s", err, msg)
		}
		return Result{}, fmt.Errorf("limit: %w", err)
	}
	var r Result
	if err := json.Unmarshal(out.Bytes(), &r); err != nil {
		return Result{}, fmt.Errorf("limit: unexpected output %q: %w", out.String(), err)
	}
	return r, nil
}
