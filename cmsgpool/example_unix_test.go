//go:build unix && !illumos && !solaris

package cmsgpool_test

import (
	"fmt"
	"os"

	"example.com/fdpass/cmsgpool"
	"golang.org/x/sys/unix"
)

// One descriptor through a socket pair.
func Example() {
	pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM, 0)
	if err != nil {
		panic(err)
	}
	defer unix.Close(pair[0])
	defer unix.Close(pair[1])

	pool := cmsgpool.New(4)
	b := pool.Get()
	defer pool.Put(b)

	b.Rights(1)[0] = int32(os.Stdin.Fd())
	if err := unix.Sendmsg(pair[0], []byte{0}, b.Raw()[:cmsgpool.Space(1)], nil, 0); err != nil {
		panic(err)
	}

	_, n, _, _, err := unix.Recvmsg(pair[1], make([]byte, 1), b.Raw(), 0)
	if err != nil {
		panic(err)
	}
	fds := cmsgpool.AppendFDs(nil, b.Raw()[:n])
	fmt.Println("received", len(fds))
	for _, fd := range fds {
		unix.Close(fd)
	}
	// Output: received 1
}
