// Package result holds what a comparison measured, and writes it down: as JSON, which is the record, and from that
// as Markdown tables, as plots and as the tables of the README.
package result

import (
	"slices"
	"strings"
)

// Suite is what one run of one suite found.
type Suite struct {
	Name       string      `json:"name"`
	Title      string      `json:"title"`
	About      string      `json:"about"` // Markdown: what was measured and how to read it
	Run        Run         `json:"run"`
	Metrics    []Metric    `json:"metrics"` // the first one decides who wins
	Cases      []Case      `json:"cases"`
	Contenders []Contender `json:"contenders"`
	Cells      []Cell      `json:"cells"`
	Verdicts   []string    `json:"verdicts,omitempty"` // sentences: what the figures say of a target
}

// Run says under which circumstances the figures came about.
type Run struct {
	Date    string  `json:"date"` // RFC 3339
	Command string  `json:"command"`
	Commit  string  `json:"commit"`
	Quick   bool    `json:"quick"`
	Rounds  int     `json:"rounds"`
	Machine Machine `json:"machine"`

	Interrupted string `json:"interrupted,omitempty"` // when, if it was: there is less than was asked for
}

// Machine is where the figures come from.
type Machine struct {
	CPU    string `json:"cpu"`
	Cores  int    `json:"cores"`
	Kernel string `json:"kernel"`
	System string `json:"system"`
	Go     string `json:"go"`
	Load   string `json:"load"` // load averages before the first round: other work makes figures worse, and unequally so
}

// Metric is one kind of figure.
type Metric struct {
	Key    string `json:"key"`
	Name   string `json:"name"` // with its unit, as it heads a column
	More   bool   `json:"more"` // more is better; otherwise less is
	Digits int    `json:"digits"`
	Chart  bool   `json:"chart"` // worth a plot
}

// Better reports whether a is the better one of two values.
func (m Metric) Better(a, b float64) bool {
	if m.More {
		return a > b
	}
	return a < b
}

// Case is one piece of work that is given to all contenders.
type Case struct {
	Name  string  `json:"name"`  // unique within its suite
	Group string  `json:"group"` // cases of one group share a table and a plot
	Label string  `json:"label"` // within the group
	X     float64 `json:"x"`     // within the group; where the X differ the plot has lines, otherwise bars
}

// Role is what a contender is in the comparison.
type Role string

const (
	Limit Role = "limit" // does nothing but what the kernel makes necessary: the others are a share of it
	Own   Role = "own"   // this library
	Peer  Role = "peer"  // somebody else's
	Aside Role = "aside" // does not quite the work of the case; neither wins nor loses
	Check Role = "check" // measured to check another contender; neither wins nor loses, and is not in the README's tables
)

// Contender is one way to do the work.
type Contender struct {
	Name    string `json:"name"`
	Role    Role   `json:"role"`
	How     string `json:"how"`               // one line
	Version string `json:"version,omitempty"` // of what it is made of
	Missing string `json:"missing,omitempty"` // why it could not take part
}

// isBeside reports whether c neither wins nor loses.
func (c Contender) isBeside() bool { return c.Role == Aside || c.Role == Check }

// Cell is one contender at one case.
type Cell struct {
	Case      string            `json:"case"`
	Contender string            `json:"contender"`
	Figures   map[string]Figure `json:"figures,omitempty"` // by Metric.Key
	Unable    string            `json:"unable,omitempty"`  // why it cannot do this case at all
	Failed    string            `json:"failed,omitempty"`  // what went wrong
	Note      string            `json:"note,omitempty"`    // what went wrong beside the measuring
}

// Met says in a verdict whether a target is.
func Met(ok bool) string {
	if ok {
		return "met"
	}
	return "**not met**"
}

// AtLeast says in a verdict whether the figure reaches a target, and whether the rounds agree on that.
func (f Figure) AtLeast(target float64) string { return Met(f.Median >= target) + f.doubt(target) }

// AtMost is AtLeast for a target that is not to be exceeded.
func (f Figure) AtMost(target float64) string { return Met(f.Median <= target) + f.doubt(target) }

func (f Figure) doubt(target float64) string {
	if f.Q1 < target && target < f.Q3 {
		return " (undecided: the quartiles lie on both sides)"
	}
	return ""
}

// Cell returns the cell of a contender at a case, or nil.
func (s *Suite) Cell(caseName, contender string) *Cell {
	for i := range s.Cells {
		if s.Cells[i].Case == caseName && s.Cells[i].Contender == contender {
			return &s.Cells[i]
		}
	}
	return nil
}

// Figure returns what was measured of a contender at a case.
func (s *Suite) Figure(caseName, contender, metric string) (Figure, bool) {
	c := s.Cell(caseName, contender)
	if c == nil {
		return Figure{}, false
	}
	f, ok := c.Figures[metric]
	return f, ok
}

// Groups returns the names of the groups of cases, in their order.
func (s *Suite) Groups() (names []string) {
	for _, c := range s.Cases {
		if !slices.Contains(names, c.Group) {
			names = append(names, c.Group)
		}
	}
	return names
}

// heading names a group with its suite.
func (s *Suite) heading(group string) string {
	if strings.EqualFold(group, s.Title) {
		return s.Title
	}
	return s.Title + ": " + group
}

// InGroup returns the cases of a group.
func (s *Suite) InGroup(group string) (cases []Case) {
	for _, c := range s.Cases {
		if c.Group == group {
			cases = append(cases, c)
		}
	}
	return cases
}

// Best returns the contender that is best at a case by a metric, among those with one of the roles.
func (s *Suite) Best(caseName string, m Metric, roles ...Role) (name string, best Figure, found bool) {
	for _, c := range s.Contenders {
		if !slices.Contains(roles, c.Role) {
			continue
		}
		f, ok := s.Figure(caseName, c.Name, m.Key)
		if ok && (!found || m.Better(f.Median, best.Median)) {
			name, best, found = c.Name, f, true
		}
	}
	return name, best, found
}

// Ratio says how contender a does against b at a case, round by round: 2 is twice as good, by whichever direction is
// better for the metric.
func (s *Suite) Ratio(caseName string, m Metric, a, b string) (Figure, bool) {
	fa, okA := s.Figure(caseName, a, m.Key)
	fb, okB := s.Figure(caseName, b, m.Key)
	if !okA || !okB {
		return Figure{}, false
	}
	if !m.More {
		fa, fb = fb, fa
	}
	f := Quotient(fa, fb)
	return f, len(f.Samples) > 0
}

// Quotient divides a by b, round by round. It has no samples if a divisor is 0.
func Quotient(a, b Figure) Figure {
	var ratios []float64
	for i := range min(len(a.Samples), len(b.Samples)) {
		if b.Samples[i] == 0 {
			return Figure{}
		}
		ratios = append(ratios, a.Samples[i]/b.Samples[i])
	}
	return Of(ratios)
}
