package profiles

import (
	"cmp"
	"fmt"
	"slices"

	"github.com/google/pprof/profile"
)

// Site is a line that allocated.
type Site struct {
	Function string // the innermost one of this module or the program; that of the runtime if there is none
	File     string // under the module's root
	Line     int64
	Within   string // the package that Function called and that allocated for it, if it was not Function itself
	Owner    Owner
	Objects  int64
	Bytes    int64
}

// Owner is who answers for an allocation.
type Owner int

const (
	Library Owner = iota // a package of this module that users import, or that those stand on
	Program              // the program that was profiled, its callbacks included
	Runtime              // nobody's call: the runtime's and the standard library's own goroutines
)

func (s Site) String() string {
	where := fmt.Sprintf("%s:%d", s.File, s.Line)
	if s.Within != "" {
		where += " (in " + s.Within + ")"
	}
	return fmt.Sprintf("%s: %s allocated %d objects, %d bytes", where, s.Function, s.Objects, s.Bytes)
}

// Subtract returns p without what is in q as well: allocation profiles count from the start of the process.
func Subtract(p, q *profile.Profile) (*profile.Profile, error) {
	q = q.Copy()
	q.Scale(-1)
	return profile.Merge([]*profile.Profile{p, q})
}

// Allocations lists the lines with allocations in an allocation profile, most objects first. Calls of the functions
// named in except, and what they call, are left out.
func Allocations(p *profile.Profile, except ...string) ([]Site, error) {
	objects, bytes := valueIndex(p, "alloc_objects"), valueIndex(p, "alloc_space")
	if objects < 0 || bytes < 0 {
		return nil, fmt.Errorf("profiles: no alloc_objects and alloc_space among %v", p.SampleType)
	}
	type key struct {
		file, function, within string
		line                   int64
	}
	sites := map[key]*Site{}
	for _, s := range p.Sample {
		stack := stackOf(s)
		if s.Value[objects] == 0 || len(stack) == 0 || slices.ContainsFunc(stack, func(f frame) bool {
			return slices.Contains(except, f.shortName())
		}) {
			continue
		}
		at := siteOf(stack)
		k := key{at.File, at.Function, at.Within, at.Line}
		if sites[k] == nil {
			sites[k] = &at
		}
		sites[k].Objects += s.Value[objects]
		sites[k].Bytes += s.Value[bytes]
	}
	var all []Site
	for _, s := range sites {
		if s.Objects != 0 {
			all = append(all, *s)
		}
	}
	slices.SortFunc(all, func(a, b Site) int {
		return cmp.Or(cmp.Compare(b.Objects, a.Objects), cmp.Compare(a.File, b.File), cmp.Compare(a.Line, b.Line))
	})
	return all, nil
}

func siteOf(stack []frame) Site {
	f, found := owner(stack)
	who := Program
	switch {
	case !found:
		f, who = stack[0], Runtime
	case f.library():
		who = Library
	}
	s := Site{Function: f.shortName(), File: f.shortFile(), Line: f.line, Owner: who}
	if leaf := stack[0].pkg(); leaf != f.pkg() {
		s.Within = leaf
	}
	return s
}

func valueIndex(p *profile.Profile, name string) int {
	return slices.IndexFunc(p.SampleType, func(t *profile.ValueType) bool { return t.Type == name })
}
