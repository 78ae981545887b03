package cmsgpool

import (
	"encoding/binary"
	"fmt"
	"math"
	"slices"
	"testing"
)

// layouts are those of all systems that x/sys knows.
var layouts = map[string]layout{
	"linux 64-bit":               {16, 16, 8},
	"32-bit, darwin and illumos": {12, 12, 4},
	"64-bit bsd and netbsd arm":  {12, 16, 8},
	"netbsd arm64":               {12, 16, 16},
	"aix":                        {12, 12, 1},
}

// eachLayout runs f with host set to every layout in turn.
func eachLayout(t *testing.T, f func(t *testing.T)) {
	saved := host
	defer func() { host = saved }()
	for name, l := range layouts {
		t.Run(name, func(t *testing.T) {
			host = l
			f(t)
		})
	}
}

// message is one control message to build.
type message struct {
	level, typ int32
	data       []byte
	lies       bool // its cmsg_len is length and not the right one
	length     int
}

func rights(fds ...int32) message {
	d := make([]byte, 4*len(fds))
	for i, fd := range fds {
		binary.NativeEndian.PutUint32(d[4*i:], uint32(fd))
	}
	return message{level: solSocket, typ: scmRights, data: d}
}

func other(n int) message { return message{level: solSocket, typ: 99, data: make([]byte, n)} }

func (m message) claiming(length int) message {
	m.lies, m.length = true, length
	return m
}

// build lays out the messages under host.
func build(msgs ...message) []byte {
	var oob []byte
	for _, m := range msgs {
		start, end := len(oob), host.data+len(m.data)
		oob = append(oob, make([]byte, host.space(end))...)
		n := end
		if m.lies {
			n = m.length
		}
		host.put(oob[start:], n, m.level, m.typ)
		copy(oob[start+host.data:], m.data)
	}
	return oob
}

// walk parses oob and describes its messages, holding the parser to its promises:
// it ends, and every view is a full slice expression within oob.
func walk(t *testing.T, oob []byte) []string {
	t.Helper()
	var out []string
	var fds []int
	p := Parse(oob)
	for steps := 0; ; steps++ {
		if steps > len(oob)/host.header {
			t.Fatalf("still parsing after %d messages in %d bytes", steps, len(oob))
		}
		m, ok := p.Next()
		if !ok {
			break
		}
		s := fmt.Sprintf("other %d", len(m.Data))
		if m.IsRights() {
			s = fmt.Sprint("rights ", m.FDs())
		} else if m.FDs() != nil && !m.IsPidfd() {
			t.Errorf("FDs of a message of type %d/%d is %v, want nil", m.Level, m.Type, m.FDs())
		}
		if m.Truncated {
			s += " truncated"
		}
		out = append(out, s)
		if m.IsRights() {
			for _, fd := range m.FDs() {
				fds = append(fds, int(fd))
			}
		}
		if cap(m.Data) != len(m.Data) {
			t.Errorf("Data has %d bytes and capacity %d: an append would write into the next message", len(m.Data), cap(m.Data))
		}
	}
	if _, ok := p.Next(); ok {
		t.Error("Next returned a message after the last")
	}
	if got := AppendFDs(nil, oob); !slices.Equal(got, fds) {
		t.Errorf("AppendFDs = %v, Parse gives %v", got, fds)
	}
	var only []int
	for _, fd := range OnlyRights(oob) {
		only = append(only, int(fd))
	}
	whole := len(out) == 1 && len(fds) > 0 && out[0] == fmt.Sprint("rights ", fds) && len(oob) == Space(len(fds))
	if whole && only == nil || only != nil && (len(out) != 1 || !slices.Equal(only, fds)) {
		t.Errorf("OnlyRights = %v, Parse gives %q", only, out)
	}
	return out
}

func TestParseWalksAnySequenceOfMessages(t *testing.T) {
	tests := []struct {
		name string
		oob  func() []byte
		want []string
	}{
		{"an empty buffer", func() []byte { return nil }, nil},
		{"a buffer shorter than a header", func() []byte { return build(rights(3))[:host.header-1] }, nil},
		{"a buffer of zeros", func() []byte { return make([]byte, 64) }, nil},
		{"one descriptor", func() []byte { return build(rights(3)) }, []string{"rights [3]"}},
		{"rights without descriptors", func() []byte { return build(rights(), rights(7)) }, []string{"rights []", "rights [7]"}},
		{
			"credentials, rights, pidfd, unknown",
			func() []byte { return build(other(12), rights(3, 4, 5), other(4), other(33)) },
			[]string{"other 12", "rights [3 4 5]", "other 4", "other 33"},
		},
		{
			"several rights",
			func() []byte { return build(rights(3), rights(4, 5), rights(6, 7, 8)) },
			[]string{"rights [3]", "rights [4 5]", "rights [6 7 8]"},
		},
		{
			"the last message without its padding",
			func() []byte { return build(other(8), rights(3))[:host.space(host.data+8)+host.data+4] },
			[]string{"other 8", "rights [3]"},
		},
		{
			"the type of rights at another level",
			func() []byte { return build(message{level: 41, typ: scmRights, data: make([]byte, 8)}, rights(3)) },
			[]string{"other 8", "rights [3]"},
		},
		{
			"a header and nothing else",
			func() []byte { return build(other(0).claiming(host.header), rights(3)) },
			[]string{"other 0", "rights [3]"},
		},
		{
			"a header cut off before its data",
			func() []byte {
				return build(rights(3), rights(4).claiming(host.header))[:host.space(host.data+4)+host.header]
			},
			[]string{"rights [3]", "rights []"},
		},
		{"length zero", func() []byte { return build(rights(3), rights(4).claiming(0), rights(5)) }, []string{"rights [3]"}},
		{
			"a length shorter than the header",
			func() []byte { return build(rights(3), rights(4).claiming(host.header-1), rights(5)) },
			[]string{"rights [3]"},
		},
		{
			"a length one byte beyond the buffer",
			func() []byte { return build(rights(3, 4).claiming(host.data + 9))[:host.data+8] },
			[]string{"rights [3 4] truncated"},
		},
		{
			"a length that macOS left uncut, the buffer ending within a number",
			func() []byte { return build(rights(3), rights(4, 5, 6))[:host.space(host.data+4)+host.data+10] },
			[]string{"rights [3]", "rights [4 5] truncated"},
		},
		{
			"the greatest length",
			func() []byte { return build(rights(3, 4, 5, 6).claiming(-1)) },
			[]string{"rights [3 4 5 6] truncated"},
		},
		{
			"the greatest signed length",
			func() []byte { return build(rights(3, 4, 5, 6).claiming(math.MaxInt)) },
			[]string{"rights [3 4 5 6] truncated"},
		},
		{
			"a length that is no multiple of a descriptor",
			func() []byte {
				return build(message{level: solSocket, typ: scmRights, data: append(rights(3).data, 0xff)}, rights(4))
			},
			[]string{"rights [3]", "rights [4]"},
		},
		{
			"a length that is not aligned, in an unknown message",
			func() []byte { return build(other(5), rights(4, 5)) },
			[]string{"other 5", "rights [4 5]"},
		},
	}
	eachLayout(t, func(t *testing.T) {
		for _, tt := range tests {
			t.Run(tt.name, func(t *testing.T) {
				if got := walk(t, slices.Clip(tt.oob())); !slices.Equal(got, tt.want) {
					t.Errorf("got %q, want %q", got, tt.want)
				}
			})
		}
	})
}

func TestParseOfABufferCutAnywhereShowsEveryWholeDescriptor(t *testing.T) {
	eachLayout(t, func(t *testing.T) {
		whole := build(other(12), rights(3, 4), other(1), rights(5, 6, 7))
		first := len(build(other(12))) + host.data
		second := len(build(other(12), rights(3, 4), other(1))) + host.data
		ends := []int{first + 4, first + 8, second + 4, second + 8, second + 12}
		for cut := range len(whole) + 1 {
			var want []int
			for i, end := range ends {
				if end <= cut {
					want = append(want, 3+i)
				}
			}
			oob := slices.Clip(whole[:cut])
			walk(t, oob)
			if got := AppendFDs(nil, oob); !slices.Equal(got, want) {
				t.Errorf("cut at %d: got %v, want %v", cut, got, want)
			}
		}
	})
}

func TestFDsIsAViewUnlessTheBufferIsMisaligned(t *testing.T) {
	whole := build(other(8), rights(3, 4, 5))
	for shift := range 8 {
		var b Buffer
		oob := b.Raw()[shift:][:len(whole)]
		copy(oob, whole)
		if got, want := walk(t, oob), []string{"other 8", "rights [3 4 5]"}; !slices.Equal(got, want) {
			t.Fatalf("shifted by %d: got %q, want %q", shift, got, want)
		}
		p := Parse(oob)
		p.Next()
		m, _ := p.Next()
		m.FDs()[0] = 77
		if got, view := AppendFDs(nil, oob)[0] == 77, shift%4 == 0; got != view {
			t.Errorf("shifted by %d: a view is %v, want %v", shift, got, view)
		}
	}
}

func TestTheZeroParserHasNoMessages(t *testing.T) {
	var p Parser
	if m, ok := p.Next(); ok {
		t.Errorf("got %+v", m)
	}
}
