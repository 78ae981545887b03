//go:build linux

package main

import (
	"net"
	"os"

	"golang.org/x/sys/unix"
)

// clients connect to a listener, and are reset once their connections have arrived, so that no port stays taken.
type clients struct {
	domain int
	to     unix.Sockaddr
	open   [wave]int
}

// wave is how many connect at a time: fewer than Pool.Serve accepts at once, and than wait in the queue of a listening
// socket.
const wave = 200

// connect makes n connections in waves: the next begins when the workers have the last.
func (c *clients) connect(l *lane, n int) error {
	for n > 0 {
		some := c.open[:min(n, wave)]
		l.got.start(len(some))
		for i := range some {
			if err := c.one(&some[i]); err != nil {
				return err
			}
		}
		if err := l.arrived(); err != nil {
			return err
		}
		for _, fd := range some {
			unix.Close(fd)
		}
		n -= len(some)
	}
	return nil
}

func (c *clients) one(fd *int) (err error) {
	if *fd, err = unix.Socket(c.domain, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0); err != nil {
		return err
	}
	reset := unix.Linger{Onoff: 1}
	if err := unix.SetsockoptLinger(*fd, unix.SOL_SOCKET, unix.SO_LINGER, &reset); err != nil {
		return err
	}
	return unix.Connect(*fd, c.to)
}

// tcpConnection returns one end of a connection whose other end is closed.
func tcpConnection() (*os.File, error) {
	ln, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	defer ln.Close()
	c, err := net.Dial("tcp4", ln.Addr().String())
	if err != nil {
		return nil, err
	}
	defer c.Close()
	return c.(*net.TCPConn).File()
}
