package profiles

import (
	"path"
	"strings"

	"github.com/google/pprof/profile"
)

const module = "example.com/fdpass"

// frame is one call of a stack.
type frame struct {
	function string // with the path of its package
	file     string
	line     int64
}

// stackOf returns the calls of a sample, the innermost first, those included that the compiler has inlined.
func stackOf(s *profile.Sample) []frame {
	var stack []frame
	for _, l := range s.Location {
		for _, c := range l.Line {
			if c.Function != nil {
				stack = append(stack, frame{c.Function.Name, c.Function.Filename, c.Line})
			}
		}
	}
	return stack
}

// packageOf returns the path of the package of a function: it ends at the first dot after the last slash, where the
// slashes of type arguments do not count.
func packageOf(function string) string {
	name, _, _ := strings.Cut(function, "[")
	slash := strings.LastIndexByte(name, '/') + 1
	dot := strings.IndexByte(name[slash:], '.')
	if dot < 0 {
		return name
	}
	return name[:slash+dot]
}

func (f frame) pkg() string { return packageOf(f.function) }

// ours reports whether the function belongs to this module or to the program that was profiled, and not to the standard
// library or to a dependency.
func (f frame) ours() bool {
	return f.pkg() == "main" || f.pkg() == module || strings.HasPrefix(f.pkg(), module+"/")
}

// library reports whether the function belongs to what users import, and what that stands on.
func (f frame) library() bool {
	return f.ours() && f.pkg() != "main" && !strings.HasPrefix(f.pkg()+"/", module+"/bench/")
}

// shortName is the function without the module's path: "internal/sys.(*Closer).Flush".
func (f frame) shortName() string { return strings.TrimPrefix(f.function, module+"/") }

// shortFile is the file under the module's root, whatever directory it was built in.
func (f frame) shortFile() string {
	if dir, ok := strings.CutPrefix(f.pkg(), module+"/"); ok {
		return dir + "/" + path.Base(f.file)
	}
	return f.file
}

// owner returns the innermost call of ours, and whether there is one: what runs below it, runs on its behalf.
func owner(stack []frame) (frame, bool) {
	for _, f := range stack {
		if f.ours() {
			return f, true
		}
	}
	return frame{}, false
}
