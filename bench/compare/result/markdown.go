package result

import (
	"fmt"
	"io"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

// WriteMarkdown writes the tables of a suite as dir/NAME.md.
func (s *Suite) WriteMarkdown(dir string) error {
	var b strings.Builder
	s.markdown(&b)
	return os.WriteFile(filepath.Join(dir, s.Name+".md"), []byte(b.String()), 0o644)
}

func (s *Suite) markdown(w io.Writer) {
	fmt.Fprintf(w, "# %s\n\n", s.Title)
	if s.Run.Quick {
		fmt.Fprint(w, "**A quick run: too short to rely on.**\n\n")
	}
	fmt.Fprintf(w, "%s\n\n%s\n", s.About, s.Run.Markdown())
	if len(s.Verdicts) > 0 {
		fmt.Fprintf(w, "\n- %s\n", strings.Join(s.Verdicts, "\n- "))
	}
	if slices.ContainsFunc(s.Contenders, Contender.isBeside) {
		fmt.Fprint(w, "\nRows in italics are there to compare with: they take no part in *Who wins* and in what is bold, though they may be better.\n")
	}
	fmt.Fprintf(w, "\n## Who wins\n\n")
	s.winners(w)
	for _, g := range s.Groups() {
		fmt.Fprintf(w, "\n## %s\n\n%s, median and quartiles; the best one of each column in bold.\n\n", title(g), s.Metrics[0].Name)
		s.Matrix(w, g, s.Metrics[0])
		for _, name := range s.charts(g) {
			fmt.Fprintf(w, "\n![%s](%s)\n", title(g), name)
		}
		for _, c := range s.InGroup(g) {
			fmt.Fprintf(w, "\n### %s\n\n", title(c.Name))
			s.details(w, c)
		}
	}
	fmt.Fprint(w, "\n## Contenders\n\n")
	s.contenders(w)
}

// Markdown tells in one paragraph where the figures come from.
func (r *Run) Markdown() string {
	m, interrupted := r.Machine, ""
	if r.Interrupted != "" {
		interrupted = " (**interrupted " + r.Interrupted + "**)"
	}
	return fmt.Sprintf("%s, %d cores; %s; %s; %s; %s; commit %s; `%s`; interleaved rounds: %d%s; load average before it: %s.",
		m.CPU, m.Cores, m.Kernel, m.System, m.Go, r.Date, r.Commit, r.Command, r.Rounds, interrupted, m.Load)
}

// winners writes a row for each case: who wins, and how this library does against the limit and the best of the others.
func (s *Suite) winners(w io.Writer) {
	m := s.Metrics[0]
	row(w, "case", "wins", m.Name, "best of fdpass", m.Name, "of the limit", "best peer", m.Name, "fdpass against it")
	rule(w, 9)
	for _, c := range s.Cases {
		wins, best, ok := s.Best(c.Name, m, Limit, Own, Peer)
		if !ok {
			row(w, c.Name, "nobody was measured", "", "", "", "", "", "", "")
			continue
		}
		own, ours, hasOwn := s.Best(c.Name, m, Own)
		peer, theirs, hasPeer := s.Best(c.Name, m, Peer)
		limit, _, hasLimit := s.Best(c.Name, m, Limit)
		row(w, c.Name, "**"+wins+"**", m.Format(best.Median),
			or(hasOwn, own), or(hasOwn, m.Format(ours.Median)), or(hasOwn && hasLimit, s.ratio(c.Name, m, own, limit)),
			or(hasPeer, peer), or(hasPeer, m.Format(theirs.Median)), or(hasOwn && hasPeer, s.ratio(c.Name, m, own, peer)))
	}
}

func (s *Suite) ratio(caseName string, m Metric, a, b string) string {
	r, ok := s.Ratio(caseName, m, a, b)
	if !ok {
		return dash
	}
	return fmt.Sprintf("%.2f (%.2f to %.2f)", r.Median, r.Q1, r.Q3)
}

// Matrix writes a table of one metric over a group of cases, with a row for each contender but those of some roles.
func (s *Suite) Matrix(w io.Writer, group string, m Metric, without ...Role) {
	var columns []column
	for _, c := range s.InGroup(group) {
		columns = append(columns, column{c.Label, c, m})
	}
	s.table(w, columns, without...)
}

// details writes a table of all metrics at one case, with a row for each contender.
func (s *Suite) details(w io.Writer, c Case) {
	var columns []column
	for _, m := range s.Metrics {
		columns = append(columns, column{m.Name, c, m})
	}
	s.table(w, columns)
}

// column is one metric at one case.
type column struct {
	head   string
	at     Case
	metric Metric
}

// table writes a row for each contender but those of some roles, the best one of each column in bold.
func (s *Suite) table(w io.Writer, columns []column, without ...Role) {
	head := []string{""}
	var best []string
	for _, c := range columns {
		name, _, _ := s.Best(c.at.Name, c.metric, Limit, Own, Peer)
		head, best = append(head, c.head), append(best, name)
	}
	row(w, head...)
	rule(w, len(head))
	for _, of := range s.Contenders {
		if slices.Contains(without, of.Role) {
			continue
		}
		cells := []string{of.label()}
		for i, c := range columns {
			text := s.text(c.at, of, c.metric)
			if best[i] == of.Name {
				text = "**" + text + "**"
			}
			cells = append(cells, text)
		}
		row(w, cells...)
	}
}

const dash = "–"

// text is what stands in a table for one contender at one case.
func (s *Suite) text(c Case, of Contender, m Metric) string {
	if of.Missing != "" {
		return "missing"
	}
	cell := s.Cell(c.Name, of.Name)
	if cell != nil && cell.Failed != "" {
		return "failed" // the reason is said at the end
	}
	if f, ok := s.Figure(c.Name, of.Name, m.Key); ok {
		return m.Figure(f)
	}
	return dash
}

// Figure formats a median with its quartiles, which go where there is but one sample.
func (m Metric) Figure(f Figure) string {
	if len(f.Samples) < 2 {
		return m.Format(f.Median)
	}
	return fmt.Sprintf("%s (%s–%s)", m.Format(f.Median), m.Format(f.Q1), m.Format(f.Q3))
}

// Format formats a value with the metric's digits, and thousands apart.
func (m Metric) Format(v float64) string {
	if math.IsNaN(v) || math.IsInf(v, 0) {
		return dash
	}
	text := strconv.FormatFloat(v, 'f', m.Digits, 64)
	whole, fraction, _ := strings.Cut(text, ".")
	for i := len(whole) - 3; i > 0 && whole[i-1] != '-'; i -= 3 {
		whole = whole[:i] + "," + whole[i:]
	}
	if fraction != "" {
		fraction = "." + fraction
	}
	return whole + fraction
}

// contenders writes who took part and how, and who is missing, and why.
func (s *Suite) contenders(w io.Writer) {
	row(w, "", "how", "version; why it is missing, or has a dash")
	fmt.Fprintln(w, "|---|---|---|")
	for _, c := range s.Contenders {
		says := c.Version
		if c.Missing != "" {
			says = "**missing**: " + c.Missing
		}
		for _, reason := range s.reasons(c.Name) {
			says = strings.TrimPrefix(says+"; "+dash+": "+reason, "; ")
		}
		row(w, c.label(), c.How, says)
	}
	for _, cell := range s.Cells {
		if cell.Failed != "" {
			fmt.Fprintf(w, "\n**Failed**: %s at %s: %s\n", cell.Contender, cell.Case, cell.Failed)
		}
		if cell.Note != "" {
			fmt.Fprintf(w, "\n%s at %s: %s\n", cell.Contender, cell.Case, cell.Note)
		}
	}
}

// label is how a contender is named in tables.
func (c Contender) label() string {
	if c.isBeside() {
		return "*" + c.Name + "*"
	}
	return c.Name
}

// reasons are why a contender cannot do some cases, each once.
func (s *Suite) reasons(contender string) (all []string) {
	for _, cell := range s.Cells {
		if cell.Contender == contender && cell.Unable != "" && !slices.Contains(all, cell.Unable) {
			all = append(all, cell.Unable)
		}
	}
	return all
}

func row(w io.Writer, cells ...string) {
	for i, c := range cells {
		cells[i] = strings.NewReplacer("|", "\\|", "\n", " ").Replace(c)
	}
	fmt.Fprintf(w, "| %s |\n", strings.Join(cells, " | "))
}

// rule writes the line under a table's head: words to the left, figures to the right.
func rule(w io.Writer, columns int) { fmt.Fprintf(w, "|---|%s\n", strings.Repeat("---:|", columns-1)) }

func or(ok bool, text string) string {
	if !ok {
		return dash
	}
	return text
}

func title(s string) string {
	if s == "" {
		return s
	}
	return strings.ToUpper(s[:1]) + s[1:]
}
