//go:build linux

// Alloc is the allocation gate: it passes a million descriptors in each way that the library knows, with an allocation
// profile of every single object, and fails if anything was allocated by a line of this module while they passed.
//
//	go run ./bench/alloc [-only regexp] [-descriptors n] [-sites]
package main

import (
	"flag"
	"fmt"
	"io"
	"os"
	"regexp"
	"runtime"
	"time"

	"example.com/fdpass/internal/profiles"
)

func main() {
	runtime.MemProfileRate = 1 // before anything is allocated that should count
	only := flag.String("only", ".", "measure the paths whose name matches")
	most := flag.Int("descriptors", 0, "at most this many over each path; 0: as many as the gate wants")
	all := flag.Bool("sites", false, "list everything that allocated, and not only what must not")
	flag.Parse()
	match, err := regexp.Compile(*only)
	if err != nil {
		fmt.Fprintln(os.Stderr, "alloc:", err)
		os.Exit(2)
	}
	var chosen []path
	for _, p := range paths() {
		if *most > 0 {
			p.descriptors = min(p.descriptors, *most)
		}
		if match.MatchString(p.name) {
			chosen = append(chosen, p)
		}
	}
	if len(chosen) == 0 {
		fmt.Fprintf(os.Stderr, "alloc: -only %q is the name of no path: nothing was measured\n", *only)
		os.Exit(2)
	}
	if !gate(chosen, os.Stdout, *all) {
		os.Exit(1)
	}
}

// gate measures the paths, writes a table, and what is wrong below it. It reports whether nothing is.
func gate(paths []path, out io.Writer, sites bool) (ok bool) {
	fmt.Fprintf(out, "%-43s %11s %8s %8s = %7s %7s %9s %7s %7s %7s\n", "path", "descriptors", "mallocs", "profiled", "library", "buffers",
		"by design", "program", "runtime", "seconds")
	var wrong, notes []string
	for _, p := range paths {
		start := time.Now()
		r, err := measure(p)
		if err != nil {
			wrong = append(wrong, fmt.Sprintf("%s: %v", p.name, err))
			continue
		}
		of := func(o profiles.Owner) int64 {
			return r.of(func(s profiles.Site) bool { return s.Owner == o && !isBuffer(s) })
		}
		fmt.Fprintf(out, "%-43s %11d %8d %8d = %7d %7d %9d %7d %7d %7.1f\n", p.name, p.descriptors, r.mallocs, objects(r.sites)+r.design,
			of(profiles.Library), r.of(isBuffer), r.design, of(profiles.Program), of(profiles.Runtime), time.Since(start).Seconds())
		for _, f := range r.failures() {
			wrong = append(wrong, p.name+": "+f)
		}
		for _, s := range r.sites {
			if sites {
				notes = append(notes, p.name+": "+s.String())
			}
		}
	}
	if len(notes) > 0 {
		fmt.Fprintf(out, "\nEvery site:\n%s\n", indent(notes))
	}
	if len(wrong) > 0 {
		fmt.Fprintf(out, "\nalloc: FAILED\n%s\n", indent(wrong))
		return false
	}
	fmt.Fprintln(out, "\nalloc: nothing in this module allocates while descriptors pass")
	return true
}
