//go:build unix

package fuzz

import (
	"bytes"
	"encoding/binary"
	"slices"
	"testing"

	"example.com/fdpass/cmsgpool"
	"golang.org/x/sys/unix"
)

// FuzzControlMessages gives the decoder arbitrary bytes. It must end, keep every view
// within its input, leave the input as it was, and agree with x/sys about whatever
// that one accepts.
func FuzzControlMessages(f *testing.F) {
	rights := unix.UnixRights(3, 4, 5)
	f.Add([]byte{}, uint8(0))
	f.Add(rights, uint8(0))
	f.Add(rights[:len(rights)-6], uint8(1))
	f.Add(slices.Concat(rights, unix.UnixRights(6), rights), uint8(4))
	f.Add(unix.UnixRights(make([]int, cmsgpool.MaxFDs)...), uint8(0))

	guarded := newGuarded(f, 4096)
	f.Fuzz(func(t *testing.T, in []byte, shift uint8) {
		if len(in) > len(guarded) {
			in = in[:len(guarded)]
		}
		// Once aligned, as in use, or off by any shift: in the middle of an array,
		// where only the bounds of the slice hold the decoder back.
		array := make([]byte, int(shift%16)+len(in)+64)
		oob := array[int(shift%16):][:len(in):len(in)]
		copy(oob, in)
		want := check(t, oob)
		if !bytes.Equal(oob, in) {
			t.Fatal("the input was changed")
		}
		// Once with the end of the input at the end of accessible memory: a byte read
		// behind it is a fault.
		oob = guarded[len(guarded)-len(in):]
		copy(oob, in)
		if got := check(t, oob); !slices.Equal(got, want) {
			t.Fatalf("at another address: %v, want %v", got, want)
		}
		agree(t, oob)
	})
}

// newGuarded returns size bytes, a multiple of the page size, with an inaccessible page
// behind them.
func newGuarded(f *testing.F, size int) []byte {
	page := unix.Getpagesize()
	size = (size + page - 1) / page * page
	mem, err := unix.Mmap(-1, 0, size+page, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE|unix.MAP_ANON)
	if err != nil {
		f.Fatal(err)
	}
	f.Cleanup(func() { unix.Munmap(mem) })
	if err := unix.Mprotect(mem[size:], unix.PROT_NONE); err != nil {
		f.Fatal(err)
	}
	return mem[:size:size]
}

// check decodes oob, holds every message to the decoder's promises, and returns the
// descriptors of SCM_RIGHTS.
func check(t *testing.T, oob []byte) []int {
	var fds []int
	pos := 0 // no message may begin before it
	p := cmsgpool.Parse(oob)
	for n := 0; ; n++ {
		m, ok := p.Next()
		if !ok {
			break
		}
		if n >= len(oob)/unix.SizeofCmsghdr {
			t.Fatalf("more messages than %d bytes have room for", len(oob))
		}
		pos += within(t, oob, pos, m)
		view := m.FDs()
		if m.IsRights() && len(view) != len(m.Data)/4 {
			t.Fatalf("%d descriptors in %d bytes", len(view), len(m.Data))
		}
		if view != nil && !m.IsRights() && !(m.IsPidfd() && view[0] >= 0) {
			t.Fatalf("descriptors %v in a message of type %d/%d", view, m.Level, m.Type)
		}
		for i, fd := range view {
			if fd != int32(binary.NativeEndian.Uint32(m.Data[4*i:])) {
				t.Fatalf("descriptor %d is %d, data %x", i, fd, m.Data)
			}
			if m.IsRights() {
				fds = append(fds, int(fd))
			}
		}
	}
	if _, ok := p.Next(); ok {
		t.Fatal("a message after the last")
	}
	if got := cmsgpool.AppendFDs(nil, oob); !slices.Equal(got, fds) {
		t.Fatalf("AppendFDs = %v, Parse gives %v", got, fds)
	}
	if only := cmsgpool.OnlyRights(oob); only != nil && !slices.EqualFunc(only, fds, func(a int32, b int) bool { return int(a) == b }) {
		t.Fatalf("OnlyRights = %v, Parse gives %v", only, fds)
	}
	return fds
}

// within checks that m's data is a view of oob behind a header at pos or later, and
// returns how far m moves the position on. Addresses are compared, not contents.
func within(t *testing.T, oob []byte, pos int, m cmsgpool.Message) int {
	if len(m.Data) == 0 {
		return unix.SizeofCmsghdr
	}
	start := pos + unix.CmsgLen(0)
	for ; ; start++ {
		if start+len(m.Data) > len(oob) {
			t.Fatalf("%d bytes of data are not a view of the input at %d or later", len(m.Data), pos)
		}
		if &oob[start] == &m.Data[0] {
			break
		}
	}
	if m.Truncated && start+len(m.Data) != len(oob) {
		t.Fatalf("truncated, but its data ends at %d of %d", start+len(m.Data), len(oob))
	}
	if cap(m.Data) != len(m.Data) {
		t.Fatal("the data's capacity reaches beyond it")
	}
	return start + len(m.Data) - pos
}

// agree compares with x/sys where it accepts the input and does not read past it.
func agree(t *testing.T, oob []byte) {
	msgs, ok := xsys(oob)
	if !ok {
		return
	}
	p := cmsgpool.Parse(oob)
	for i, want := range msgs {
		got, ok := p.Next()
		if !ok {
			t.Fatalf("%d messages, x/sys finds %d", i, len(msgs))
		}
		if got.Level != want.Header.Level || got.Type != want.Header.Type || !bytes.Equal(got.Data, want.Data) || got.Truncated {
			t.Fatalf("message %d: %+v, x/sys has %+v", i, got, want)
		}
		if len(want.Data)%4 != 0 {
			continue // ParseUnixRights panics on a trailing partial number
		}
		fds, err := unix.ParseUnixRights(&want)
		if got.IsRights() != (err == nil) {
			t.Fatalf("message %d: IsRights is %v, x/sys says %v", i, got.IsRights(), err)
		}
		if err == nil && !slices.EqualFunc(got.FDs(), fds, func(a int32, b int) bool { return int(a) == b }) {
			t.Fatalf("message %d: %v, x/sys has %v", i, got.FDs(), fds)
		}
	}
	// x/sys wants CMSG_LEN(0) bytes, more than a header on some systems, and so may
	// overlook a last message without data.
	if m, ok := p.Next(); ok && (unix.CmsgLen(0) == unix.SizeofCmsghdr || len(m.Data) > 0) {
		t.Fatalf("one message more than x/sys finds: %+v", m)
	}
}

// xsys parses oob with x/sys, and reports whether that accepts it.
func xsys(oob []byte) (msgs []unix.SocketControlMessage, ok bool) {
	// It slices out of range where a length lies between the header's and CMSG_LEN(0).
	defer func() { recover() }()
	msgs, err := unix.ParseSocketControlMessage(oob)
	return msgs, err == nil
}
