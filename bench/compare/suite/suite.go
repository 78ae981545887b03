// Package suite is the frame of the comparison: what a suite, its cases and its contenders are, and how they are run,
// interleaved round by round.
//
// A suite is a package of its own beside this one. It has a function that returns a Suite, which main lists; see
// package pass for an example. Processes that it starts of this very program are roles (package role), programs in
// other languages are built by package peer.
package suite

import (
	"context"
	"errors"
	"slices"
	"time"

	"example.com/fdpass/bench/compare/peer"
	"example.com/fdpass/bench/compare/result"
)

// Suite is one question and those that are asked.
type Suite struct {
	Name  string // what --only takes, and the name of the files of its results
	Title string
	About string // Markdown: what is measured, and how to read it

	Metrics    []result.Metric // the first one decides who wins a case
	Cases      func(quick bool) []Case
	Contenders []Contender

	// Tools are Debian packages that Count needs. Without them there are no such figures, and all the others.
	Tools []string

	// Files is how many descriptors a process of the suite has to be allowed to have open: with less nothing is measured.
	Files int

	// Each is how long a round measures each contender at each case, or about that; a quick run takes Quick instead.
	Each, Quick time.Duration

	// Turns is into how many measurements that time is cut for those that are compared most closely, who take turns:
	// machines change their speed from one second to the next. 0 and 1: it is not cut, nor is it in a quick run.
	Turns int

	Verdicts func(*result.Suite) []string // what the figures say of a target, in sentences; nil: nothing
	Close    func()                       // after the last measurement; nil: nothing to do
}

// Case is one piece of work for all contenders.
type Case struct {
	result.Case
	Work any // in the suite's own terms
}

// Sample is what one measurement found, by the keys of the suite's metrics. A contender may leave keys out.
type Sample map[string]float64

// Contender is one way to do the work.
type Contender struct {
	Name string
	Role result.Role
	How  string // one line: what it calls

	// Compared says that a target of the suite is a ratio to this one, or that it is shown beside one, so that it takes
	// turns with the limit, its check and our own ways.
	Compared bool

	// Prepare installs and builds what the contender needs and returns the version of what it compares with. An
	// error is the reason why it is missing from the results. nil: there is nothing to prepare.
	Prepare func(ctx context.Context, shop *peer.Shop) (version string, err error)

	// Measure does the work once, for about as long as it is told, and checks that it was done.
	// An error from Unable says that this contender has no way to do it.
	Measure func(ctx context.Context, c Case, d time.Duration) (Sample, error)

	// Count finds what cannot be found while time is measured, such as the number of system calls. It is called five
	// times per case, round by round, after all other rounds, and not in a quick run; nil: nothing to count. If it
	// fails, the other figures stay.
	Count func(ctx context.Context, c Case) (Sample, error)
}

// isCompared reports whether c is one of those that are compared most closely.
func (c *Contender) isCompared() bool {
	return c.Compared || slices.Contains([]result.Role{result.Limit, result.Check, result.Own}, c.Role)
}

type unable struct{ reason string }

func (u unable) Error() string { return u.reason }

// Unable returns the error of a contender that cannot do a case by its nature. The tables show a dash.
func Unable(reason string) error { return unable{reason} }

// IsUnable reports whether err says that a contender cannot do a case.
func IsUnable(err error) bool {
	var u unable
	return errors.As(err, &u)
}
