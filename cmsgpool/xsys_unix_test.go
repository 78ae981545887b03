//go:build unix

package cmsgpool

import (
	"bytes"
	"slices"
	"testing"

	"golang.org/x/sys/unix"
)

func TestRightsWritesWhatUnixRightsWrites(t *testing.T) {
	for n := 1; n <= MaxFDs; n++ {
		var b Buffer
		fds := make([]int, n)
		slots := b.Rights(n)
		for i := range fds {
			fds[i] = 7*i + n
			slots[i] = int32(fds[i])
		}
		if got, want := b.Raw()[:Space(n)], unix.UnixRights(fds...); !bytes.Equal(got, want) {
			t.Fatalf("n = %d:\n got %x\nwant %x", n, got, want)
		}
	}
}

func TestParseAgreesWithXSys(t *testing.T) {
	oob := build(other(12), rights(3, 4, 5), rights(), other(4), rights(6), other(33), rights(7, 8))
	msgs, err := unix.ParseSocketControlMessage(oob)
	if err != nil {
		t.Fatal(err)
	}
	p := Parse(oob)
	for i, want := range msgs {
		got, ok := p.Next()
		if !ok {
			t.Fatalf("%d messages, x/sys finds %d", i, len(msgs))
		}
		if got.Level != want.Header.Level || got.Type != want.Header.Type || !bytes.Equal(got.Data, want.Data) || got.Truncated {
			t.Errorf("message %d: got %+v, x/sys has %+v", i, got, want)
		}
		fds, err := unix.ParseUnixRights(&want)
		if got.IsRights() != (err == nil) {
			t.Errorf("message %d: IsRights is %v, x/sys says %v", i, got.IsRights(), err)
		}
		if !slices.EqualFunc(got.FDs(), fds, func(a int32, b int) bool { return int(a) == b }) && !got.IsPidfd() {
			t.Errorf("message %d: FDs is %v, x/sys has %v", i, got.FDs(), fds)
		}
	}
	if m, ok := p.Next(); ok {
		t.Errorf("one message more than x/sys finds: %+v", m)
	}
}
