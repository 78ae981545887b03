// Package peer gets what the comparison compares with: Debian packages, and small programs in other languages, which
// are built when they are needed.
package peer

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime/debug"
	"strings"
	"time"
)

// Shop is where contenders get what they need.
type Shop struct {
	Dir      string    // for what is built; the caller removes it
	Install  bool      // whether missing packages may be installed
	Portable string    // this program built with -tags fdpass_portable; "": there is none
	Log      io.Writer // is told what is installed

	updated bool
}

// Need makes sure of Debian packages, and returns their versions. On a system of another kind it leaves it to those who
// need them to find out what is missing.
func (s *Shop) Need(ctx context.Context, packages ...string) (versions string, err error) {
	if _, err := exec.LookPath("dpkg-query"); err != nil {
		return "version unknown", nil
	}
	var all []string
	for _, name := range packages {
		version, ok := installed(ctx, name)
		if !ok {
			if err := s.install(ctx, name); err != nil {
				return "", fmt.Errorf("package %s is not installed: %w", name, err)
			}
			version, _ = installed(ctx, name)
		}
		all = append(all, name+" "+version)
	}
	return strings.Join(all, ", "), nil
}

func installed(ctx context.Context, name string) (version string, ok bool) {
	out, err := exec.CommandContext(ctx, "dpkg-query", "-W", "-f", "${db:Status-Status} ${Version}", name).Output()
	if err != nil {
		return "", false
	}
	version, ok = strings.CutPrefix(string(out), "installed ")
	return version, ok
}

func (s *Shop) install(ctx context.Context, name string) error {
	if !s.Install {
		return errors.New("make compare would install it")
	}
	if os.Getuid() != 0 {
		return fmt.Errorf("as root: apt-get install %s", name)
	}
	if !s.updated {
		s.updated = true
		fmt.Fprintln(s.Log, "running apt-get update")
		_ = s.apt(ctx, "update", "-qq") // the lists there are may do
	}
	fmt.Fprintf(s.Log, "installing %s with apt-get, for the comparison\n", name)
	return s.apt(ctx, "install", "-y", "-qq", "--no-install-recommends", name)
}

func (s *Shop) apt(ctx context.Context, args ...string) error {
	cmd := exec.CommandContext(ctx, "apt-get", args...)
	cmd.Env = append(os.Environ(), "DEBIAN_FRONTEND=noninteractive")
	return run(cmd)
}

// Put writes a program's source into the shop's directory and returns its path.
func (s *Shop) Put(name string, source []byte) (path string, err error) {
	path = filepath.Join(s.Dir, name)
	return path, os.WriteFile(path, source, 0o600)
}

// Build compiles a source with the first of the compilers there is, and returns the path of the program.
func (s *Shop) Build(ctx context.Context, compilers []string, name string, source []byte, flags ...string) (path string, err error) {
	from, err := s.Put(name, source)
	if err != nil {
		return "", err
	}
	for _, cc := range compilers {
		if _, err := exec.LookPath(cc); err != nil {
			continue
		}
		path = strings.TrimSuffix(from, filepath.Ext(from))
		args := append([]string{"-O2", "-Wall", "-o", path, from}, flags...) // libraries go behind what needs them
		return path, run(exec.CommandContext(ctx, cc, args...))
	}
	return "", noneOf(compilers)
}

// C and CXX are the compilers to try.
var (
	C   = []string{"cc", "gcc", "clang"}
	CXX = []string{"c++", "g++", "clang++"}
)

// VersionOf returns the first line of what a program says of its version.
func VersionOf(ctx context.Context, name string, args ...string) (string, error) {
	out, err := exec.CommandContext(ctx, name, args...).Output()
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		return "", fmt.Errorf("%s: %w: %s", name, err, reason(string(exit.Stderr)))
	}
	if err != nil {
		return "", err
	}
	first, _, _ := strings.Cut(strings.TrimSpace(string(out)), "\n")
	return first, nil
}

// VersionOfC returns what the C compiler says of its version, the one that Build takes.
func VersionOfC(ctx context.Context) (string, error) {
	for _, cc := range C {
		if _, err := exec.LookPath(cc); err == nil {
			return VersionOf(ctx, cc, "--version")
		}
	}
	return "", noneOf(C)
}

func noneOf(compilers []string) error {
	return fmt.Errorf("none of %s is in PATH", strings.Join(compilers, ", "))
}

// VersionOfModule returns which version of a Go module this program is built with. (Test binaries know only its name.)
func VersionOfModule(path string) string {
	if info, ok := debug.ReadBuildInfo(); ok {
		for _, m := range info.Deps {
			if m.Path == path {
				return path + " " + m.Version
			}
		}
	}
	return path
}

// run runs a command; its error has the line that says what went wrong. If it is to end early it is told so, and not
// killed: apt-get would leave a package half installed, and a compiler the process that does its work, and files.
func run(cmd *exec.Cmd) error {
	cmd.Cancel = func() error { return cmd.Process.Signal(os.Interrupt) }
	cmd.WaitDelay = 10 * time.Second
	said, err := cmd.CombinedOutput()
	if err != nil {
		return fmt.Errorf("%s: %w: %s", filepath.Base(cmd.Path), err, reason(string(said)))
	}
	return nil
}

// reason returns the first line with an error in it, as compilers write it, apt-get (E: …) and perl (Can't …), or else
// the last line.
func reason(said string) string {
	lines := strings.Split(strings.TrimSpace(said), "\n")
	for _, line := range lines {
		if strings.Contains(line, "error") || strings.HasPrefix(line, "E: ") || strings.HasPrefix(line, "Can't") {
			return line
		}
	}
	return lines[len(lines)-1]
}
