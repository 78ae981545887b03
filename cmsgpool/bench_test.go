package cmsgpool

import (
	"fmt"
	"testing"
)

var counts = []int{1, 16, 64, MaxFDs}

// BenchmarkRights lays out a message and fills its slots.
func BenchmarkRights(b *testing.B) {
	for _, n := range counts {
		b.Run(fmt.Sprint("n=", n), func(b *testing.B) {
			var buf Buffer
			fds := make([]int32, n)
			for b.Loop() {
				copy(buf.Rights(n), fds)
			}
		})
	}
}

// BenchmarkParse walks the message and reads every descriptor.
func BenchmarkParse(b *testing.B) {
	for _, n := range counts {
		b.Run(fmt.Sprint("n=", n), func(b *testing.B) {
			oob := build(other(12), rights(make([]int32, n)...))
			dst := make([]int32, n)
			for b.Loop() {
				for p := Parse(oob); ; {
					m, ok := p.Next()
					if !ok {
						break
					}
					if m.IsRights() {
						copy(dst, m.FDs())
					}
				}
			}
		})
	}
}

func BenchmarkAppendFDs(b *testing.B) {
	for _, n := range counts {
		b.Run(fmt.Sprint("n=", n), func(b *testing.B) {
			oob := build(other(12), rights(make([]int32, n)...))
			dst := make([]int, 0, n)
			for b.Loop() {
				AppendFDs(dst, oob)
			}
		})
	}
}

// BenchmarkPool is one Get and one Put.
func BenchmarkPool(b *testing.B) {
	b.Run("get=serial", func(b *testing.B) {
		p := New(16)
		for b.Loop() {
			p.Put(p.Get())
		}
	})
	b.Run("get=parallel", func(b *testing.B) {
		p := New(16)
		b.RunParallel(func(pb *testing.PB) {
			for pb.Next() {
				p.Put(p.Get())
			}
		})
	})
	b.Run("get=new", func(b *testing.B) { // what the pool saves
		var none *Pool
		var out *Buffer
		for b.Loop() {
			out = none.Get()
		}
		sink = out
	})
}

var sink *Buffer
