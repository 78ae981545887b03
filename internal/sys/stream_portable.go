//go:build unix && (!linux || fdpass_portable)

package sys

import (
	"syscall"

	"golang.org/x/sys/unix"
)

// Read is recv(2).
func (s Stream) Read(b []byte) (int, syscall.Errno) {
	n, _, err := syscall.Recvfrom(s.FD, b, unix.MSG_DONTWAIT)
	if err != nil {
		return 0, errnoOf(err)
	}
	noteRead(s.FD, b[:n])
	return n, 0
}

// Write is send(2).
func (s Stream) Write(b []byte) (int, syscall.Errno) {
	noteWrite(b)
	n, err := syscall.SendmsgN(s.FD, b, nil, nil, unix.MSG_DONTWAIT|unix.MSG_NOSIGNAL)
	if err != nil {
		return 0, errnoOf(err)
	}
	return n, 0
}

// Shutdown ends the connection in both directions.
func (s Stream) Shutdown() { _ = syscall.Shutdown(s.FD, syscall.SHUT_RDWR) }

// Close closes it.
func (s Stream) Close() { System.CloseRange(s.FD, s.FD) }

// Lingers reports whether Close may wait for the peer.
func (s Stream) Lingers() bool {
	l, err := unix.GetsockoptLinger(s.FD, unix.SOL_SOCKET, unix.SO_LINGER)
	return err != nil || l.Onoff != 0
}
