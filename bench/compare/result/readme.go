package result

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

const (
	begin = "<!-- compare:begin -->"
	end   = "<!-- compare:end -->"
)

// forReadme are the tables that matter to who reads the README, in its order: so many of a suite's first groups.
var forReadme = []struct {
	suite  string
	groups int
}{{"pass", 2}, {"roundtrip", 1}, {"front", 1}}

// RefreshReadme replaces what stands between the markers in a file with the tables of the records in dir. A suite
// without a record is left out.
func RefreshReadme(path, dir string) error {
	b, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	link, err := linkTo(dir, path)
	if err != nil {
		return err
	}
	var tables strings.Builder
	for _, t := range forReadme {
		s, err := ReadJSON(dir, t.suite)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return err
		}
		s.readme(&tables, link, s.Groups()[:t.groups])
	}
	if tables.Len() == 0 {
		return fmt.Errorf("%s holds no results of %v", dir, forReadme)
	}
	text, err := between(string(b), tables.String())
	if err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	return os.WriteFile(path, []byte(text), 0o644)
}

// linkTo returns how a file refers to a folder.
func linkTo(dir, file string) (string, error) {
	dir, err := filepath.Abs(dir)
	if err != nil {
		return "", err
	}
	if file, err = filepath.Abs(file); err != nil {
		return "", err
	}
	link, err := filepath.Rel(filepath.Dir(file), dir)
	return filepath.ToSlash(link), err
}

// between replaces what stands between the markers of a text.
func between(text, replacement string) (string, error) {
	before, rest, ok := strings.Cut(text, begin+"\n")
	if !ok {
		return "", fmt.Errorf("no line %q", begin)
	}
	_, after, ok := strings.Cut(rest, end)
	if !ok {
		return "", fmt.Errorf("no %q after %q", end, begin)
	}
	return before + begin + "\n" + replacement + end + after, nil
}

// readme writes groups of a suite: their tables, a plot of the first suite's first, and where the figures come from.
func (s *Suite) readme(b *strings.Builder, link string, groups []string) {
	m := s.Metrics[0]
	for i, group := range groups {
		fmt.Fprintf(b, "**%s**: %s, median and quartiles, the best in bold ([all tables](%s/%s.md))\n\n", s.heading(group), m.Name, link, s.Name)
		s.Matrix(b, group, m, Check)
		if charts := s.charts(group); len(charts) > 0 && s.Name == forReadme[0].suite && i == 0 {
			fmt.Fprintf(b, "\n![%s, %s](%s/%s)\n", s.Title, group, link, charts[0])
		}
		fmt.Fprintln(b)
	}
	fmt.Fprintf(b, "%s\n\n", s.Run.Markdown())
}
