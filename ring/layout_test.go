package ring

import (
	"reflect"
	"strings"
	"testing"

	"golang.org/x/sys/cpu"
)

func TestWhatDifferentSidesWriteStandsOnDifferentCacheLines(t *testing.T) {
	tests := []struct {
		typ    reflect.Type
		groups [][]string // in order; the fields of a group are written by one side, or by none
	}{
		{reflect.TypeFor[SPSC[byte]](), [][]string{{"slots", "mask"}, {"tail", "headSeen"}, {"head", "tailSeen"}}},
		{reflect.TypeFor[MPMC[byte]](), [][]string{{"slots", "toFill", "toEmpty"}, {"tail"}, {"head"}}},
		{reflect.TypeFor[Window[byte]](), [][]string{{"segs", "mask"}, {"tail", "limit"}, {"head"}}},
		{reflect.TypeFor[MPSC[byte]](), [][]string{{"window.segs", "window.mask"}, {"window.tail", "window.limit"}, {"window.head"}, {"published"}}},
	}
	line := reflect.TypeFor[cpu.CacheLinePad]().Size()
	for _, tt := range tests {
		t.Run(tt.typ.Name(), func(t *testing.T) {
			var last uintptr // the end of the group before; at first, of whatever lies before the struct in memory
			for _, group := range tt.groups {
				start, _ := extent(t, tt.typ, group[0])
				if start < last+line {
					t.Errorf("%s at %d is less than a line after %d", group[0], start, last)
				}
				_, last = extent(t, tt.typ, group[len(group)-1])
			}
			if tt.typ.Size() < last+line {
				t.Errorf("size %d leaves less than a line after %d", tt.typ.Size(), last)
			}
		})
	}
}

// extent returns where the field with the dotted path starts and ends in typ.
func extent(t *testing.T, typ reflect.Type, path string) (start, end uintptr) {
	for name := range strings.SplitSeq(path, ".") {
		f, ok := typ.FieldByName(name)
		if !ok {
			t.Fatalf("no field %s in %s", name, typ)
		}
		start += f.Offset
		typ = f.Type
	}
	return start, start + typ.Size()
}
