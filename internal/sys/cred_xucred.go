//go:build darwin || freebsd

package sys

import "golang.org/x/sys/unix"

// PeerCredentials asks the kernel who is at the other end of fd. The process number is not told.
func PeerCredentials(fd int) (Credentials, error) {
	const solLocal = 0 // SOL_LOCAL on macOS and FreeBSD
	x, err := unix.GetsockoptXucred(fd, solLocal, unix.LOCAL_PEERCRED)
	if err != nil {
		return unknownCredentials, err
	}
	return Credentials{-1, int(x.Uid), int(x.Groups[0])}, nil
}
