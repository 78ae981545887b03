package result

import (
	"fmt"
	"io"
	"text/tabwriter"
)

// Print writes the first metric of a suite for a reader in a terminal.
func (s *Suite) Print(w io.Writer) {
	m := s.Metrics[0]
	fmt.Fprintf(w, "\n%s: %s (* best)\n", s.Title, m.Name)
	for _, g := range s.Groups() {
		fmt.Fprintf(w, "\n%s\n", g)
		t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
		best := map[string]string{}
		fmt.Fprint(t, "\t")
		for _, c := range s.InGroup(g) {
			fmt.Fprintf(t, "%s\t", c.Label)
			best[c.Name], _, _ = s.Best(c.Name, m, Limit, Own, Peer)
		}
		fmt.Fprintln(t)
		for _, of := range s.Contenders {
			fmt.Fprintf(t, "%s\t", of.Name)
			for _, c := range s.InGroup(g) {
				mark := ""
				if best[c.Name] == of.Name {
					mark = "*"
				}
				fmt.Fprintf(t, "%s%s\t", s.text(c, of, m), mark)
			}
			fmt.Fprintln(t)
		}
		t.Flush()
	}
	for _, c := range s.Contenders {
		if c.Missing != "" {
			fmt.Fprintf(w, "missing: %s: %s\n", c.Name, c.Missing)
		}
	}
	for _, v := range s.Verdicts {
		fmt.Fprintf(w, "%s\n", v)
	}
}
