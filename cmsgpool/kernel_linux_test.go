package cmsgpool

import (
	"os"
	"slices"
	"testing"

	"golang.org/x/sys/unix"
)

// pair returns two connected sockets that are closed with the test.
func pair(t *testing.T, typ int) (a, b int) {
	t.Helper()
	fds, err := unix.Socketpair(unix.AF_UNIX, typ|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { unix.Close(fds[0]); unix.Close(fds[1]) })
	return fds[0], fds[1]
}

// send sends n descriptors of /dev/null.
func send(t *testing.T, sock, n int) {
	t.Helper()
	null, err := os.Open(os.DevNull)
	if err != nil {
		t.Fatal(err)
	}
	defer null.Close()
	var b Buffer
	for i, slots := 0, b.Rights(n); i < n; i++ {
		slots[i] = int32(null.Fd())
	}
	if err := unix.Sendmsg(sock, []byte{0}, b.Raw()[:Space(n)], nil, 0); err != nil {
		t.Fatal(err)
	}
}

// receive receives one message into the first size bytes of b and returns the part
// of it that the kernel filled in.
func receive(t *testing.T, sock int, b *Buffer, size int) (oob []byte, flags int) {
	t.Helper()
	_, n, flags, _, err := unix.Recvmsg(sock, make([]byte, 1), b.Raw()[:size], unix.MSG_CMSG_CLOEXEC)
	if err != nil {
		t.Fatal(err)
	}
	return b.Raw()[:n], flags
}

// closeAll closes every descriptor in oob, checking that it is one of /dev/null or a
// pidfd, and returns how many of each there were.
func closeAll(t *testing.T, oob []byte) (rights, pidfds int) {
	t.Helper()
	var null unix.Stat_t
	if err := unix.Stat(os.DevNull, &null); err != nil {
		t.Fatal(err)
	}
	p := Parse(oob)
	for {
		m, ok := p.Next()
		if !ok {
			return rights, pidfds
		}
		for _, fd := range m.FDs() {
			var st unix.Stat_t
			if err := unix.Fstat(int(fd), &st); err != nil {
				t.Errorf("descriptor %d: %v", fd, err)
				continue
			}
			if m.IsPidfd() {
				pidfds++
			} else if rights++; st.Rdev != null.Rdev {
				t.Errorf("descriptor %d is not /dev/null", fd)
			}
			unix.Close(int(fd))
		}
	}
}

func TestKernelTakesAndReturnsEveryCount(t *testing.T) {
	for _, typ := range []int{unix.SOCK_SEQPACKET, unix.SOCK_STREAM, unix.SOCK_DGRAM} {
		from, to := pair(t, typ)
		var b Buffer
		for n := 1; n <= MaxFDs; n++ {
			send(t, from, n)
			oob, flags := receive(t, to, &b, len(b.Raw()))
			if flags&unix.MSG_CTRUNC != 0 || len(oob) != Space(n) {
				t.Fatalf("n = %d: %d bytes of control data, want %d; flags %#x", n, len(oob), Space(n), flags)
			}
			if got, _ := closeAll(t, oob); got != n {
				t.Fatalf("sent %d descriptors, received %d", n, got)
			}
		}
	}
}

func TestKernelAddsCredentialsAndPidfdAroundRights(t *testing.T) {
	from, to := pair(t, unix.SOCK_SEQPACKET)
	if err := unix.SetsockoptInt(to, unix.SOL_SOCKET, unix.SO_PASSCRED, 1); err != nil {
		t.Fatal(err)
	}
	want := []int32{unix.SCM_CREDENTIALS, unix.SCM_RIGHTS, unix.SCM_PIDFD}
	wantPidfds := 1
	if err := unix.SetsockoptInt(to, unix.SOL_SOCKET, unix.SO_PASSPIDFD, 1); err != nil {
		t.Log("no SO_PASSPIDFD on this kernel:", err)
		want, wantPidfds = want[:2], 0
	}
	var b Buffer
	for _, n := range []int{1, 2, MaxFDs} { // an odd number has padding behind it
		send(t, from, n)
		oob, flags := receive(t, to, &b, len(b.Raw()))
		var got []int32
		for p := Parse(oob); ; {
			m, ok := p.Next()
			if !ok {
				break
			}
			got = append(got, m.Type)
			if m.Type == unix.SCM_CREDENTIALS && len(m.Data) != unix.SizeofUcred {
				t.Errorf("credentials of %d bytes", len(m.Data))
			}
			if m.Truncated {
				t.Errorf("message of type %d is truncated", m.Type)
			}
		}
		if !slices.Equal(got, want) || flags&unix.MSG_CTRUNC != 0 {
			t.Errorf("types %v, want %v; flags %#x", got, want, flags)
		}
		if rights, pidfds := closeAll(t, oob); rights != n || pidfds != wantPidfds {
			t.Errorf("%d descriptors and %d pidfds, want %d and %d", rights, pidfds, n, wantPidfds)
		}
	}
}

// reportsTruncation has one of two descriptors cut off, and says whether the system tells. Where it does not, the one
// that was cut off may be open nevertheless, and is closed.
func reportsTruncation(t *testing.T) bool {
	from, to := pair(t, unix.SOCK_SEQPACKET)
	isOpen := func(fd int) bool {
		_, err := unix.FcntlInt(uintptr(fd), unix.F_GETFD, 0)
		return err == nil
	}
	const few = 1024
	var before [few]bool
	for fd := range before {
		before[fd] = isOpen(fd)
	}
	send(t, from, 2)
	var b Buffer
	_, flags := receive(t, to, &b, unix.CmsgLen(4))
	for fd, was := range before {
		if !was && isOpen(fd) {
			unix.Close(fd)
		}
	}
	return flags&unix.MSG_CTRUNC != 0
}

// Pins the kernel fact floor((controllen - header) / 4), and that Linux cuts cmsg_len
// back: what does not fit is gone, what fits is all there.
func TestKernelTruncatesToWholeDescriptors(t *testing.T) {
	if !reportsTruncation(t) {
		t.Skip("this system does not set MSG_CTRUNC, and leaves open what does not fit (qemu-user is known for both)")
	}
	from, to := pair(t, unix.SOCK_SEQPACKET)
	var b Buffer
	for size := range Space(5) + 1 {
		send(t, from, 5)
		oob, flags := receive(t, to, &b, size)
		want := min(max(size-host.data, 0)/4, 5)
		if got, _ := closeAll(t, oob); got != want || (flags&unix.MSG_CTRUNC != 0) != (want < 5) {
			t.Errorf("into %d bytes: %d descriptors, want %d; flags %#x", size, got, want, flags)
		}
		walk(t, oob)
	}
}

// Two SCM_RIGHTS messages are sent; the kernel delivers one with the sum.
func TestKernelMergesSeveralRights(t *testing.T) {
	from, to := pair(t, unix.SOCK_SEQPACKET)
	var b Buffer
	oob := slices.Concat(unix.UnixRights(from), unix.UnixRights(from, from))
	if err := unix.Sendmsg(from, []byte{0}, oob, nil, 0); err != nil {
		t.Fatal(err)
	}
	got, _ := receive(t, to, &b, len(b.Raw()))
	if s := walk(t, got); len(s) != 1 {
		t.Errorf("got %q", s)
	}
	fds := AppendFDs(nil, got)
	if len(fds) != 3 {
		t.Errorf("got %v, want 3 descriptors", fds)
	}
	for _, fd := range fds {
		unix.Close(fd)
	}
}

// With the table full, Linux 6.18 writes -EMFILE where the pidfd should be.
func TestKernelWritesAnErrorNumberForAPidfdItCannotMake(t *testing.T) {
	from, to := pair(t, unix.SOCK_SEQPACKET)
	if err := unix.SetsockoptInt(to, unix.SOL_SOCKET, unix.SO_PASSPIDFD, 1); err != nil {
		t.Skip("no SO_PASSPIDFD on this kernel:", err)
	}
	if err := unix.Sendmsg(from, []byte{0}, nil, nil, 0); err != nil {
		t.Fatal(err)
	}
	var saved unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &saved); err != nil {
		t.Fatal(err)
	}
	none := unix.Rlimit{Cur: 0, Max: saved.Max}
	if err := unix.Setrlimit(unix.RLIMIT_NOFILE, &none); err != nil {
		t.Fatal(err)
	}
	var b Buffer
	_, n, _, _, err := unix.Recvmsg(to, make([]byte, 1), b.Raw(), unix.MSG_CMSG_CLOEXEC)
	if err := unix.Setrlimit(unix.RLIMIT_NOFILE, &saved); err != nil {
		t.Fatal(err)
	}
	if err != nil {
		t.Fatal(err)
	}
	oob := b.Raw()[:n]
	p := Parse(oob)
	m, ok := p.Next()
	if !ok {
		t.Skip("this kernel adds no message instead")
	}
	if got := int32s(m.Data); !m.IsPidfd() || len(got) != 1 || got[0] != -int32(unix.EMFILE) {
		t.Errorf("message is %+v, want a pidfd of %d", m, -int32(unix.EMFILE))
	}
	if fds := m.FDs(); fds != nil {
		t.Errorf("FDs = %v, want none", fds)
	}
}
