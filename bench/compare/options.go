//go:build linux

package main

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"

	"example.com/fdpass/bench/compare/suite"
)

const usage = `make compare: measure fdpass beside other ways of passing descriptors, interleaved in the same run

  make compare                              everything, about %s
  make compare ARGS=--quick                 under 2 minutes; shows that it works, too short to rely on
  make compare ARGS="--only pass --rounds 25"
  make compare-readme                       put the tables of bench/results into README.md

Writes SUITE.json (every sample), SUITE.md (tables) and SUITE-*.svg (plots) for each suite. bench/README.md says how to read them.

  --quick            few cases, short measurements, 3 rounds
  --only SUITE       one suite: %s
  --rounds N         interleaved rounds, 5 to 99 (default 9; with --quick from 1 on, default 3)
  --out DIR          where the results go (default bench/results; with --quick bench/results/quick)
  --yardstick FILE   compile FILE, a C program, and check that the C limit is within 5%% of it. It is run as
                     "FILE seq BATCH MESSAGES TOTAL pool|dup range" and prints
                     "… descriptors/s, X ns each, sender CPU Y ns each" behind five words that tell what it did
  --install=false    don't install packages; contenders whose packages are missing are reported as missing
                     (by default they are installed with apt-get, as root)
  --readme FILE      measure nothing: replace what stands between the markers compare:begin and compare:end in FILE
  --help             this

Ctrl-C ends it: of the suite under way what complete rounds have measured is written if they are 5 or more (with --quick one).
Exit status: 0; 1 if something failed (a missing package is no failure); 2 if the options make no sense.
`

type options struct {
	suite.Options
	only      string
	out       string
	yardstick string
	install   bool
	readme    string
	help      bool
}

func names() (all []string) {
	for _, e := range suites {
		all = append(all, e.name)
	}
	return all
}

func help() string { return fmt.Sprintf(usage, "40 minutes", strings.Join(names(), ", ")) }

// parse reads the command line. Its errors fit on one line.
func parse(args []string) (*options, error) {
	o := &options{}
	set := flag.NewFlagSet("compare", flag.ContinueOnError)
	set.SetOutput(io.Discard)
	set.BoolVar(&o.Quick, "quick", false, "")
	set.StringVar(&o.only, "only", "", "")
	set.IntVar(&o.Rounds, "rounds", 0, "")
	set.StringVar(&o.out, "out", "", "")
	set.StringVar(&o.yardstick, "yardstick", "", "")
	set.BoolVar(&o.install, "install", true, "")
	set.StringVar(&o.readme, "readme", "", "")
	err := set.Parse(args)
	if errors.Is(err, flag.ErrHelp) {
		return &options{help: true}, nil
	}
	rounds := 9
	out := "bench/results"
	if o.Quick {
		rounds = 3
		out = "bench/results/quick"
	}
	var measuring string // an option that says how to measure
	set.Visit(func(f *flag.Flag) {
		switch f.Name {
		case "readme", "out":
			return
		case "rounds":
			rounds = o.Rounds
		}
		measuring = f.Name
	})
	o.Rounds = rounds
	if o.out == "" {
		o.out = out
	}
	switch {
	case err != nil:
		return nil, err
	case set.NArg() > 0:
		return nil, fmt.Errorf("%q is no option", set.Arg(0))
	case o.only != "" && !slices.Contains(names(), o.only):
		return nil, fmt.Errorf("--only is %q, none of %s", o.only, strings.Join(names(), ", "))
	case o.readme != "" && measuring != "":
		return nil, fmt.Errorf("--readme measures nothing: --%s makes no sense with it", measuring)
	case o.Rounds < o.Least() || o.Rounds > 99:
		return nil, fmt.Errorf("--rounds is %d, outside %d to 99", o.Rounds, o.Least())
	}
	if o.yardstick != "" {
		info, err := os.Stat(o.yardstick)
		if err != nil {
			return nil, fmt.Errorf("--yardstick: %w", err)
		}
		if !info.Mode().IsRegular() {
			return nil, fmt.Errorf("--yardstick: %s is no file", o.yardstick)
		}
	}
	return o, nil
}

// command is what to type to run this again.
func (o *options) command() string {
	args := strings.Join(os.Args[1:], " ")
	if args == "" {
		return "make compare"
	}
	return fmt.Sprintf("make compare ARGS=%q", args)
}
