//go:build linux

package fastpass

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

func init() {
	dialRole("intruder", intrude)
	roles["listen-again-and-again"] = func() { // remains the user it is
		var s dialSpec
		childArg(&s)
		listenAgainAndAgain(s)
	}
}

// intrude connects to every socket that it finds in a directory or one below, as fast as it can, until it gets in or
// has been refused often enough, both at the socket's place and where it is made.
func intrude(s dialSpec) {
	dir, name := filepath.Split(s.Path)
	atPlace, atStaging := 0, 0
	for atPlace < s.N || atStaging < s.N {
		entries, err := os.ReadDir(dir)
		must(err)
		for _, e := range entries {
			path := filepath.Join(dir, e.Name())
			staging := strings.HasPrefix(e.Name(), stagingPrefix)
			if staging {
				path = filepath.Join(path, name)
			}
			switch errno := connectTo(s.Link.Network, path); {
			case errno == 0:
				say("in at %s", strings.TrimPrefix(path, dir))
				return
			case errno == syscall.EACCES && staging:
				atStaging++
			case errno == syscall.EACCES && e.Name() == name:
				atPlace++
			default:
				// Gone by now, or the lock of who replaces a dead socket.
				require(errno == syscall.ENOENT || errno == syscall.EACCES, "connect %s: %v", path, errno)
			}
		}
	}
	say("never in")
}

// connectTo connects and ends the connection.
func connectTo(network, path string) syscall.Errno {
	sotype := unix.SOCK_STREAM
	if network == "unixpacket" {
		sotype = unix.SOCK_SEQPACKET
	}
	fd, err := unix.Socket(unix.AF_UNIX, sotype|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
	must(err)
	defer unix.Close(fd)
	errno := syscall.Errno(0)
	errors.As(unix.Connect(fd, &unix.SockaddrUnix{Name: path}), &errno)
	return errno
}

// listenAgainAndAgain makes sockets under the most open umask until it is told to end, and leaves every other one dead
// to its successor.
func listenAgainAndAgain(s dialSpec) {
	syscall.Umask(0)
	told := make(chan struct{})
	go func() {
		hear()
		close(told)
	}()
	for i := 0; ; i++ {
		l, err := Listen(s.Path, s.Link.config())
		must(err)
		if i%2 == 0 {
			l.path = ""
		}
		must(l.Close())
		select {
		case <-told:
			say("ended")
			return
		default:
		}
	}
}

func TestAnotherUserNeverGetsInWhileASocketComesIntoBeing(t *testing.T) {
	needRoot(t)
	for _, network := range []string{"unix", "unixpacket"} {
		t.Run(network, func(t *testing.T) {
			noLeaks(t)
			dir := openTempDir(t) // the intruder may enter, and read what is in it
			path := filepath.Join(dir, "socket")
			spec := dialSpec{Link: linkConfig{Network: network}, Path: path, User: nobody, N: scaled(200)}
			listener := startChild(t, "listen-again-and-again", nil, spec)
			startChild(t, "intruder", nil, spec).expect("never in")
			listener.say("end")
			listener.expect("ended")
			listener.succeed()

			// It would have got in, had the mode let it.
			l := listenAt(t, path, spec.Link.config())
			if err := os.Chmod(path, 0o666); err != nil {
				t.Fatal(err)
			}
			startChild(t, "intruder", nil, spec).expect("in at socket")
			ctx, cancel := context.WithCancel(t.Context())
			cancel()
			if _, err := l.Accept(ctx); err != context.Canceled {
				t.Error(err)
			}
		})
	}
}
