// Package rules holds the module to the rules of its design that no compiler checks.
package rules

import (
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
)

const (
	root   = "../.."
	module = "example.com/fdpass"
)

// goFiles calls f for every Go file of the module, and those nested in it, with its path and what it imports.
func goFiles(t *testing.T, f func(path string, imports []string)) {
	t.Helper()
	files := 0
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() && path != root && strings.HasPrefix(d.Name(), ".") {
			return filepath.SkipDir
		}
		if filepath.Ext(path) != ".go" {
			return nil
		}
		file, err := parser.ParseFile(token.NewFileSet(), path, nil, parser.ImportsOnly)
		if err != nil {
			return err
		}
		var imports []string
		for _, spec := range file.Imports {
			name, _ := strconv.Unquote(spec.Path.Value)
			imports = append(imports, name)
		}
		rel, _ := filepath.Rel(root, path)
		f(filepath.ToSlash(rel), imports)
		files++
		return nil
	})
	if err != nil || files == 0 {
		t.Fatalf("%d Go files read, %v", files, err)
	}
}

func TestUnsafeStandsOnlyInFilesNamedForIt(t *testing.T) {
	goFiles(t, func(path string, imports []string) {
		for _, name := range imports {
			if name == "unsafe" && !strings.HasSuffix(strings.TrimSuffix(path, "_test.go"), "_unsafe") &&
				!strings.HasSuffix(path, "_unsafe.go") {
				t.Errorf("%s imports unsafe", path)
			}
		}
	})
}

func TestImportsGoOneWay(t *testing.T) {
	// What each part of the module may import of the others. A part that is not listed may import all.
	may := map[string][]string{
		"ring":               {},
		"cmsgpool":           {},
		"internal/wire":      {},
		"internal/flow":      {},
		"internal/page":      {},
		"internal/rules":     {},
		"internal/leak":      {},
		"internal/sys":       {"cmsgpool", "internal/page"},
		"internal/simkernel": {"cmsgpool", "internal/page", "internal/sys"},
		"fastpass":           {"ring", "cmsgpool", "internal/"},
	}
	goFiles(t, func(path string, imports []string) {
		part := filepath.ToSlash(filepath.Dir(path))
		allowed, listed := may[part]
		if !listed {
			return
		}
		for _, name := range imports {
			other, ours := strings.CutPrefix(name, module+"/")
			if !ours || other == part {
				continue
			}
			ok := other == "internal/leak" && strings.HasSuffix(path, "_test.go") // each test binary's TestMain
			for _, a := range allowed {
				ok = ok || other == a || strings.HasSuffix(a, "/") && strings.HasPrefix(other, a)
			}
			if !ok {
				t.Errorf("%s imports %s", path, name)
			}
		}
	})
}

func TestNothingElseStandsAtTheTop(t *testing.T) {
	want := map[string]bool{}
	for _, name := range strings.Fields("go.mod go.sum fastpass ring cmsgpool bench fuzz internal Makefile README.md LICENSE CHANGELOG.md") {
		want[name] = true
	}
	entries, err := os.ReadDir(root)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		if !want[e.Name()] && !strings.HasPrefix(e.Name(), ".") {
			t.Errorf("%s stands at the top", e.Name())
		}
		delete(want, e.Name())
	}
	for name := range want {
		t.Errorf("%s is missing at the top", name)
	}
}

func TestTheReadmeShowsTheExamples(t *testing.T) {
	readme, err := os.ReadFile(root + "/README.md")
	if err != nil {
		t.Fatal(err)
	}
	examples, err := os.ReadFile(root + "/fastpass/example_test.go")
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"Example_front", "Example_worker"} {
		_, body, _ := strings.Cut(string(examples), "func "+name+"() {\n")
		body, _, ok := strings.Cut(body, "\n}\n")
		body = strings.ReplaceAll(body, "\n\t", "\n")[1:]
		if !ok || !strings.Contains(string(readme), "```go\n"+body+"\n```\n") {
			t.Errorf("README.md does not show the body of %s:\n%s", name, body)
		}
	}
	worker, err := os.ReadFile(root + "/fastpass/testdata/worker.py")
	if err != nil || !strings.Contains(string(readme), "```python\n"+string(worker)+"```\n") {
		t.Errorf("README.md does not show testdata/worker.py: %v\n%s", err, worker)
	}
}

// `go test -run` is content with a name that no test has.
func TestTheReadmeNamesTestsThatThereAre(t *testing.T) {
	readme, err := os.ReadFile(root + "/README.md")
	if err != nil {
		t.Fatal(err)
	}
	var tests []string
	for _, pattern := range []string{"/fastpass/*_test.go", "/internal/sys/*_test.go"} {
		files, _ := filepath.Glob(root + pattern)
		for _, name := range files {
			b, err := os.ReadFile(name)
			if err != nil {
				t.Fatal(err)
			}
			for _, m := range regexp.MustCompile(`(?m)^func (Test\w+)`).FindAllSubmatch(b, -1) {
				tests = append(tests, string(m[1]))
			}
		}
	}
	_, section, _ := strings.Cut(string(readme), "\n## Security\n")
	section, _, _ = strings.Cut(section, "\n## ")
	named := 0
	for row := range strings.Lines(section) {
		cells := strings.Split(row, " | ") // a promise, and its tests
		if len(cells) < 2 {
			continue
		}
		for _, m := range regexp.MustCompile("`(\\w+)[^` ]*`").FindAllStringSubmatch(cells[1], -1) {
			if named++; !slices.ContainsFunc(tests, func(test string) bool { return strings.Contains(test, m[1]) }) {
				t.Errorf("README.md names %s, which no test is called", m[1])
			}
		}
	}
	if named < 20 {
		t.Errorf("README.md names %d tests", named)
	}
}

func TestTheModuleHasOnlyItsThreeDependencies(t *testing.T) {
	b, err := os.ReadFile(root + "/go.mod")
	if err != nil {
		t.Fatal(err)
	}
	may := "golang.org/x/sys github.com/valyala/bytebufferpool github.com/google/pprof"
	for _, line := range strings.Split(string(b), "\n") {
		f := strings.Fields(line)
		if len(f) > 0 && f[0] == "require" {
			f = f[1:]
		}
		if len(f) >= 2 && strings.HasPrefix(f[1], "v") && !strings.Contains(may, f[0]) {
			t.Errorf("go.mod requires %s", f[0])
		}
	}
}
