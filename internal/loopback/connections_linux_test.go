package loopback

import (
	"errors"
	"testing"

	"golang.org/x/sys/unix"
)

func TestEachAcceptedEndBelongsToItsClient(t *testing.T) {
	for _, flags := range []int{0, unix.SOCK_NONBLOCK} {
		made := 0
		err := Connections(3, flags, func(client, accepted int) error {
			defer unix.Close(client)
			defer unix.Close(accepted)
			made++
			if got, want := PeerLabel(accepted), labelOf(t, client); got != want {
				t.Errorf("the peer is %v, the client %v", Address(got), Address(want))
			}
			status, err := unix.FcntlInt(uintptr(accepted), unix.F_GETFL, 0)
			if nonblocking := status&unix.O_NONBLOCK != 0; nonblocking != (flags != 0) {
				t.Errorf("flags %#x: nonblocking is %v", flags, nonblocking)
			}
			return err
		})
		if err != nil || made != 3 {
			t.Errorf("%d connections, %v", made, err)
		}
	}
}

func TestNoMoreConnectionsAreMadeThanAreKept(t *testing.T) {
	full, made := errors.New("full"), 0
	err := Connections(3, 0, func(client, accepted int) error {
		unix.Close(client)
		unix.Close(accepted)
		made++
		return full
	})
	if err != full || made != 1 {
		t.Errorf("%d connections, %v", made, err)
	}
}

func TestACopyIsAnotherDescriptorOfTheSameFile(t *testing.T) {
	err := Connections(1, 0, func(client, accepted int) error {
		defer unix.Close(client)
		copied, err := Copy(accepted)
		unix.Close(accepted)
		if err != nil {
			return err
		}
		defer unix.Close(copied)
		if got, want := PeerLabel(copied), labelOf(t, client); got != want {
			t.Errorf("the copy's peer is %v, the client %v", Address(got), Address(want))
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := Copy(-1); !errors.Is(err, unix.EBADF) {
		t.Errorf("a copy of descriptor -1: %v, want EBADF", err)
	}
}

// labelOf is what PeerLabel says of the other end of client.
func labelOf(t *testing.T, client int) uint64 {
	t.Helper()
	name, err := unix.Getsockname(client)
	if err != nil {
		t.Fatal(err)
	}
	a := name.(*unix.SockaddrInet4)
	return label(a.Addr, uint16(a.Port))
}
