//go:build unix && (!linux || fdpass_portable)

package sys

import (
	"testing"

	"golang.org/x/sys/unix"
)

// What the BSDs and macOS do with a message whose descriptors find no room: the call fails, they are gone, and the
// bytes come without them.
func TestAStreamsMessageWithoutRoomForItsDescriptorsIsTruncated(t *testing.T) {
	for _, test := range []struct {
		name  string
		kind  int
		first error
		calls int
		want  error
		flags int
	}{
		{"room", unix.SOCK_STREAM, nil, 1, nil, 0},
		{"all or nothing", unix.SOCK_STREAM, unix.EMSGSIZE, 2, nil, unix.MSG_CTRUNC},
		{"all or nothing, FreeBSD", unix.SOCK_STREAM, unix.EMFILE, 2, nil, unix.MSG_CTRUNC},
		{"the bytes are gone, too", unix.SOCK_DGRAM, unix.EMSGSIZE, 1, unix.EMSGSIZE, 0},
		{"another error", unix.SOCK_STREAM, unix.ECONNRESET, 1, unix.ECONNRESET, 0},
	} {
		t.Run(test.name, func(t *testing.T) {
			fds, err := Socketpair(test.kind)
			if err != nil {
				t.Fatal(err)
			}
			defer CloseFDs(fds[:])
			calls := 0
			recv := func(_ int, data, _ []byte, _ int) (int, int, int, error) {
				if calls++; calls == 1 && test.first != nil {
					return 0, 0, 0, test.first
				}
				return len(data), 0, 0, nil
			}
			n, _, flags, err := recvTruncated(recv, fds[0], make([]byte, 8), nil, 0)
			if err != test.want || calls != test.calls || flags != test.flags || err == nil && n != 8 {
				t.Errorf("%d bytes, flags %#x, %v after %d calls; want flags %#x, %v after %d", n, flags, err, calls, test.flags, test.want, test.calls)
			}
		})
	}
}
