//go:build linux

package main

import (
	"bytes"
	"errors"
	"fmt"
	"runtime"
	"runtime/debug"
	"runtime/pprof"
	"slices"
	"strings"

	"example.com/fdpass/internal/profiles"

	"github.com/google/pprof/profile"
)

// A path is one way in which descriptors pass.
type path struct {
	name        string
	descriptors int // to measure with
	call        int // descriptors in one call, at most
	open        func() (*lane, error)
	byDesign    []string // functions that allocate for the application, one object for each descriptor, which are not part of the passing
}

// result is what passing allocated.
type result struct {
	path    path
	mallocs int64           // by runtime.MemStats
	sites   []profiles.Site // by the profile
	design  int64           // by the profile, by design
}

const (
	// warmUp is how many descriptors pass before counting starts, at most: twice round the largest window.
	warmUp = 2 * 16 << 10

	// settling is how many objects a line may allocate whatever passes: what a link makes once and for its whole life
	// when it first needs it (a goroutine, a longer queue), and the runtime's records of waiting goroutines, which each
	// processor keeps up to 128 of and a collection takes away. What is allocated per call comes to more.
	settling = 100

	// buffersPerThousand descriptors may be made. Payload bytes lie in buffers of bytebufferpool, which makes one
	// whenever more are in use at once than ever before, and measures anew what size they should have every 42,000
	// returns. That is bounded by what is in flight, not by how much passes.
	buffersPerThousand = 50

	buffers = "github.com/valyala/bytebufferpool"

	// unexplained is how many mallocs may be in MemStats and not in the profile. The profile counts objects without
	// pointers of less than 16 bytes by the block that several share: this is what notices those that it does not.
	unexplained = 100
)

// measure passes descriptors over a path twice, few and then many, and takes the one from the other. Both passes begin
// just after a garbage collection, which profiles are written by and which empties every sync.Pool, so that what it
// takes to fill them again is in both, and the difference is what passing the others allocated. Between, the collector
// does not run.
func measure(p path) (result, error) {
	defer debug.SetGCPercent(debug.SetGCPercent(-1))
	l, err := p.open()
	if err != nil {
		return result{}, err
	}
	r := result{path: p}
	if err = l.pass(p.few()); err == nil {
		err = r.difference(l)
	}
	return r, errors.Join(err, l.close())
}

// few is how many descriptors warm a path up, and are in both passes.
func (p path) few() int { return min(warmUp, max(4096, p.descriptors/10)) }

// difference is what measure is about.
func (r *result) difference(l *lane) error {
	few := r.path.few()
	var at [3]*profile.Profile
	var mallocs [3]int64
	for i, n := range []int{0, few, few + r.path.descriptors} {
		var err error
		if mallocs[i], err = passCounting(l, n); err != nil {
			return err
		}
		if at[i], err = snapshot(); err != nil {
			return err
		}
	}
	r.mallocs = mallocs[2] - mallocs[1]
	short, err := profiles.Subtract(at[1], at[0])
	if err != nil {
		return err
	}
	long, err := profiles.Subtract(at[2], at[1])
	if err != nil {
		return err
	}
	more, err := profiles.Subtract(long, short)
	if err != nil {
		return err
	}
	ours := []string{"main.snapshot", "bench/alloc.snapshot"}
	all, err := profiles.Allocations(more, ours...)
	if err != nil {
		return err
	}
	r.sites, err = profiles.Allocations(more, append(ours, r.path.byDesign...)...)
	r.design = objects(all) - objects(r.sites)
	return err
}

// passCounting passes n descriptors and returns how many mallocs there were meanwhile in the whole process.
func passCounting(l *lane, n int) (int64, error) {
	if n == 0 {
		return 0, nil
	}
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	err := l.pass(n)
	runtime.ReadMemStats(&after)
	return int64(after.Mallocs - before.Mallocs), err
}

// snapshot returns what has been allocated so far, and where.
func snapshot() (*profile.Profile, error) {
	runtime.GC() // brings the profile up to date
	var b bytes.Buffer
	if err := pprof.Lookup("allocs").WriteTo(&b, 0); err != nil {
		return nil, err
	}
	return profile.Parse(&b)
}

func objects(sites []profiles.Site) (n int64) {
	for _, s := range sites {
		n += s.Objects
	}
	return n
}

func (r *result) of(match func(profiles.Site) bool) int64 {
	return objects(slices.DeleteFunc(slices.Clone(r.sites), func(s profiles.Site) bool { return !match(s) }))
}

func isBuffer(s profiles.Site) bool { return s.Owner == profiles.Library && s.Within == buffers }

// most is how many objects a line of the library may have allocated.
func (r *result) most(s profiles.Site) int64 {
	if isBuffer(s) {
		return int64(r.path.descriptors) * buffersPerThousand / 1000
	}
	calls := r.path.descriptors / r.path.call
	return int64(min(settling, calls/4))
}

// failures says what is wrong, a line each.
func (r *result) failures() (all []string) {
	for _, s := range r.sites {
		if most := r.most(s); s.Owner == profiles.Library && s.Objects > most {
			all = append(all, fmt.Sprintf("%v; at most %d for %d descriptors", s, most, r.path.descriptors))
		}
	}
	if most := int64(r.path.descriptors + settling); r.design > most {
		all = append(all, fmt.Sprintf("%d objects by %s; at most one for each of %d descriptors", r.design, strings.Join(r.path.byDesign, " and "), r.path.descriptors))
	}
	if seen := objects(r.sites) + r.design; r.mallocs-seen > unexplained {
		all = append(all, fmt.Sprintf("%d mallocs by runtime.MemStats, and only %d in the profile", r.mallocs, seen))
	}
	return all
}

func indent(lines []string) string { return "  " + strings.Join(lines, "\n  ") }
