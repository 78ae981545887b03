package sys

import "golang.org/x/sys/unix"

// PeerCredentials asks the kernel who is at the other end of fd.
func PeerCredentials(fd int) (Credentials, error) {
	u, err := unix.GetsockoptUcred(fd, unix.SOL_SOCKET, unix.SO_PEERCRED)
	if err != nil {
		return unknownCredentials, err
	}
	return Credentials{int(u.Pid), int(u.Uid), int(u.Gid)}, nil
}
