package linearizability

import (
	"encoding/json"
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// A call takes less time than a thread needs to get going, so that in histories of a few calls most have had the ring
// for themselves. This test does the others once more with rings that may yield the processor before each of their
// statements: their source is changed on its way to the compiler, and nowhere else.
func TestAllOfThisWithASwitchAtEveryStep(t *testing.T) {
	if out, err := runStepped(t, mutation{}, "-skip", "ASwitchAtEveryStep|Mutated"); err != nil {
		t.Errorf("%v:\n%s", err, out)
	} else {
		t.Logf("\n%s", out)
	}
}

// mutation is a mistake in the source of a ring. Where it shows only if others do much between two statements, the
// ring dawdles after the first of them.
type mutation struct{ name, file, old, new, dawdle string }

func TestMutatedRingsAreCaught(t *testing.T) {
	for _, m := range []mutation{
		{
			"SPSC publishes before it writes", "spsc.go",
			"q.slots[tail&q.mask] = v", "q.tail.Store(tail + 1); step(); q.slots[tail&q.mask] = v", "",
		},
		{
			"MPMC claims without a compare-and-swap", "mpmc.go",
			"if c.next.CompareAndSwap(pos, pos+uint64(got)) {", "if c.next.Store(pos + uint64(got)); true {", "",
		},
		{
			"MPMC does not look again before it says full or empty", "mpmc.go",
			"if c.next.Load() == pos {", "if true {", "limit := c.limit.Load()",
		},
		{
			"MPMC grants before it writes", "mpmc.go",
			"	q.slots[q.index(pos)] = v", "	q.toEmpty.give(pos, 1)\n	q.slots[q.index(pos)] = v", "q.toEmpty.give(pos, 1)",
		},
		{
			"Window claims without a compare-and-swap", "window.go",
			"if w.tail.CompareAndSwap(pos, pos+uint64(got)) {", "if w.tail.Store(pos + uint64(got)); true {", "",
		},
		{
			"Window releases before it clears", "window.go",
			"	for head != to {", "	w.head.Store(to)\n	for head != to {", "",
		},
	} {
		t.Run(m.name, func(t *testing.T) {
			t.Parallel()
			var out []byte
			var err error
			for range 5 { // where the processors are busy, a run may not come across it
				out, err = runStepped(t, m, "-failfast", "-run", "Linearizable")
				// A ring that notices by itself, and panics, is caught as well.
				if err != nil && (strings.Contains(string(out), "nothing explains") || strings.Contains(string(out), "panic: ring: ")) {
					return
				}
			}
			t.Errorf("not caught: %v\n%s", err, out)
		})
	}
}

// runStepped runs the tests of the rings, as changed by m, with a switch at every step.
func runStepped(t *testing.T, m mutation, args ...string) ([]byte, error) {
	t.Helper()
	args = append([]string{"test", "-count=1", "-timeout=60s", "-v", "-overlay", overlay(t, "../../ring", t.TempDir(), m)}, args...)
	args = append(args, ".", "-stepped", "-histories", strconv.Itoa(*histories), "-seed", strconv.FormatUint(*seed, 10))
	return exec.CommandContext(t.Context(), "go", args...).CombinedOutput()
}

// overlay writes a version of pkg, changed by m, with a switch before each statement to dir, and what the go command
// must know of it to a file, whose name it returns.
func overlay(t *testing.T, pkg, dir string, m mutation) string {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(pkg, "*.go"))
	if err != nil {
		t.Fatal(err)
	}
	replace := make(map[string]string)
	add := func(name string, text []byte) {
		of, err := filepath.Abs(name)
		if err != nil {
			t.Fatal(err)
		}
		by := filepath.Join(dir, filepath.Base(name))
		if err := os.WriteFile(by, text, 0o600); err != nil {
			t.Fatal(err)
		}
		replace[of] = by
	}
	switches := 0
	for _, name := range files {
		if strings.HasSuffix(name, "_test.go") {
			continue
		}
		text, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		if filepath.Base(name) == m.file {
			if strings.Count(string(text), m.old) != 1 {
				t.Fatalf("%s has %q not once", m.file, m.old)
			}
			text = []byte(strings.Replace(string(text), m.old, m.new, 1))
			if m.dawdle != "" {
				text = []byte(strings.Replace(string(text), m.dawdle, m.dawdle+"; for range 20 { step() }", 1))
			}
		}
		text, n := withSwitches(t, name, text)
		add(name, text)
		switches += n
	}
	if switches < 50 {
		t.Fatalf("%d statements in %s", switches, pkg)
	}
	add(filepath.Join(pkg, "step.go"), []byte(`package ring

import (
	"math/rand/v2"
	"runtime"
)

func step() {
	if rand.Uint32()%2 == 0 {
		runtime.Gosched()
	}
}
`))
	text, err := json.Marshal(map[string]any{"Replace": replace})
	if err != nil {
		t.Fatal(err)
	}
	name := filepath.Join(dir, "overlay.json")
	if err := os.WriteFile(name, text, 0o600); err != nil {
		t.Fatal(err)
	}
	return name
}

// withSwitches returns text with a call of step before each statement of its functions, and how many these are.
func withSwitches(t *testing.T, name string, text []byte) ([]byte, int) {
	t.Helper()
	set := token.NewFileSet()
	file, err := parser.ParseFile(set, name, text, parser.SkipObjectResolution)
	if err != nil {
		t.Fatal(err)
	}
	var at []int
	before := func(statements []ast.Stmt) {
		for _, s := range statements {
			at = append(at, set.Position(s.Pos()).Offset)
		}
	}
	ast.Inspect(file, func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.SwitchStmt:
			return false // its body consists of clauses
		case *ast.BlockStmt:
			before(n.List)
		}
		return true
	})
	slices.Sort(at)
	for _, i := range slices.Backward(at) {
		text = slices.Insert(text, i, []byte("step(); ")...)
	}
	return text, len(at)
}
