//go:build linux

// compare measures the library beside other ways of doing the same, interleaved in the same run, and writes down what
// it found, the cases in which another one is better included.
//
// A run is: options.go (what to do), suite (the interleaving; each suite has a package of its own that says what is
// measured and for whom), result (the tables and plots).
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"example.com/fdpass/bench/compare/front"
	"example.com/fdpass/bench/compare/growth"
	"example.com/fdpass/bench/compare/pass"
	"example.com/fdpass/bench/compare/peer"
	"example.com/fdpass/bench/compare/result"
	"example.com/fdpass/bench/compare/role"
	"example.com/fdpass/bench/compare/roundtrip"
	"example.com/fdpass/bench/compare/suite"

	"golang.org/x/term"
)

// suites are all there are, in the order in which they run.
var suites = []entry{
	{"pass", func(o *options) *suite.Suite { return pass.Suite(o.yardstick) }},
	{"roundtrip", func(*options) *suite.Suite { return roundtrip.Suite() }},
	{"front", func(*options) *suite.Suite { return front.Suite() }},
	{"acceptor", func(*options) *suite.Suite { return front.Acceptor() }},
	{"growth", func(*options) *suite.Suite { return growth.Suite() }},
	{"rings", func(*options) *suite.Suite { return growth.Rings() }},
	{limitSuite, func(o *options) *suite.Suite { return pass.LimitSuite(o.yardstick) }},
}

type entry struct {
	name string
	make func(*options) *suite.Suite
}

// limitSuite is part of pass as well, so it runs only if it is asked for.
const limitSuite = "limit"

func main() {
	role.Main()
	o, err := parse(os.Args[1:])
	if err != nil {
		fmt.Fprintf(os.Stderr, "compare: %v (see --help)\n", err)
		os.Exit(2)
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	context.AfterFunc(ctx, stop) // a second one ends this process at once
	if err := compare(ctx, o); err != nil {
		fmt.Fprintf(os.Stderr, "compare: %v\n", err)
		os.Exit(1)
	}
}

func compare(ctx context.Context, o *options) error {
	switch {
	case o.help:
		fmt.Print(help())
		return nil
	case o.readme != "":
		return result.RefreshReadme(o.readme, o.out)
	}
	if err := canWrite(o.out); err != nil {
		return err
	}
	dir, err := os.MkdirTemp("", "fdpass-compare-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	shop := &peer.Shop{Dir: dir, Install: o.install, Log: os.Stderr, Portable: portable()}
	var chosen []*suite.Suite
	var expected time.Duration
	var failed, written []string
	for _, e := range suites {
		if o.only == e.name || o.only == "" && e.name != limitSuite {
			s := e.make(o)
			if err := role.NeedFiles(s.Files); err != nil { // once, and not for each contender at each case
				failed = append(failed, fmt.Sprintf("%s, all of it: %v", s.Name, err))
				continue
			}
			chosen = append(chosen, s)
			expected += s.Expected(o.Options)
		}
	}
	run := result.Run{Command: o.command(), Commit: commit(ctx), Quick: o.Quick, Rounds: o.Rounds, Machine: result.ThisMachine()}
	progress := progressFor(expected)
	for _, s := range chosen {
		r, err := measure(ctx, s, o, run, shop, progress)
		if r != nil && r.Run.Interrupted != "" {
			written = append(written, s.Name+" (interrupted "+r.Run.Interrupted+")")
		}
		if err != nil && ctx.Err() != nil {
			return interrupted(err, s.Name, written, o.out)
		}
		if err != nil {
			return err
		}
		written = append(written, s.Name)
		for _, c := range r.Cells {
			if c.Failed != "" {
				failed = append(failed, fmt.Sprintf("%s, %s: %s", c.Contender, c.Case, strings.ReplaceAll(c.Failed, "\n", "; ")))
			}
		}
	}
	if len(failed) > 0 {
		return errors.New("failed:\n  " + strings.Join(failed, "\n  "))
	}
	return nil
}

// canWrite makes a folder, and returns an error if no file can be made in it: to learn that when there are results would
// be late.
func canWrite(dir string) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	f, err := os.CreateTemp(dir, ".writable-")
	if err != nil {
		return err
	}
	return errors.Join(f.Close(), os.Remove(f.Name()))
}

// interrupted says what a run that is not complete leaves.
func interrupted(err error, during string, written []string, dir string) error {
	done := "nothing"
	if len(written) > 0 {
		done = strings.Join(written, ", ")
	}
	return fmt.Errorf("%w during %s; this run has written %s into %s, and the rest there is of others", err, during, done, dir)
}

// measure measures a suite. The run is as it began: a suite writes its results into the work tree, and is a load to the
// next one.
func measure(ctx context.Context, s *suite.Suite, o *options, run result.Run, shop *peer.Shop, progress suite.Progress) (*result.Suite, error) {
	run.Date = time.Now().UTC().Format(time.RFC3339)
	r, stopped := suite.Run(ctx, s, o.Options, shop, progress)
	if r == nil {
		return nil, stopped
	}
	run.Rounds, run.Interrupted = r.Run.Rounds, r.Run.Interrupted
	r.Run = run
	if err := errors.Join(r.WriteJSON(o.out), r.WritePlots(o.out), r.WriteMarkdown(o.out)); err != nil {
		return nil, err
	}
	r.Print(os.Stdout)
	fmt.Printf("\nall of it: %s\n", filepath.Join(o.out, s.Name+".md"))
	return r, stopped
}

func progressFor(expected time.Duration) suite.Progress {
	if columns, _, err := term.GetSize(int(os.Stderr.Fd())); err == nil { // or else it is no terminal
		if columns == 0 { // as one says that was never told
			columns = 80
		}
		return suite.NewBar(os.Stderr, columns, expected)
	}
	return suite.NewLines(os.Stderr, expected)
}

// portable returns the path of the build with -tags fdpass_portable, which make puts beside this one.
func portable() string {
	self, err := os.Executable()
	if err != nil {
		return ""
	}
	path := self + "-portable"
	if _, err := os.Stat(path); err != nil {
		return ""
	}
	return path
}

// commit names what was measured: the working directory is the repository.
func commit(ctx context.Context) string {
	out, err := exec.CommandContext(ctx, "git", "describe", "--always", "--dirty", "--abbrev=10").Output()
	if err != nil {
		return "unknown"
	}
	return strings.TrimSpace(string(out))
}
