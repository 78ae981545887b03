package roundtrip

import (
	"net"
	"os"

	"golang.org/x/sys/unix"
)

// aConnection returns one end of a TCP connection, and its inode. The other end need not stay open: nothing is read.
func aConnection() (f *os.File, inode uint64, err error) {
	ln, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		return nil, 0, err
	}
	defer ln.Close()
	conn, err := net.Dial("tcp4", ln.Addr().String())
	if err != nil {
		return nil, 0, err
	}
	defer conn.Close()
	if f, err = conn.(*net.TCPConn).File(); err != nil {
		return nil, 0, err
	}
	var st unix.Stat_t
	if err := unix.Fstat(int(f.Fd()), &st); err != nil {
		f.Close()
		return nil, 0, err
	}
	return f, st.Ino, nil
}
