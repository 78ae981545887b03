//go:build unix

package fastpass

import (
	"testing"
	"testing/synctest"
	"time"

	"example.com/fdpass/internal/sys"

	"golang.org/x/sys/unix"
)

// A connection of a Framed link is still open here when the front may close its copy, and not for long.
func TestAConnectionIsHeldForTheFrontToCloseFirst(t *testing.T) {
	for _, p := range []Protocol{Framed, Bare} {
		t.Run(p.String(), func(t *testing.T) {
			front, worker := link(t, &Config{Protocol: p, Direction: SendOnly}, &Config{Protocol: p, Direction: RecvOnly})
			fd, _ := connSocket(t, "tcp")
			if err := front.Send(Desc{FD: fd}); err != nil {
				t.Fatal(err)
			}
			accepted, err := worker.NetListener().Accept()
			if err != nil {
				t.Fatal(err)
			}
			c := accepted.(*Conn)
			if held := c.last != nil; held != (p == Framed) {
				t.Errorf("the front keeps a copy: %v, the connection is held: %v", p == Framed, held)
			}
			own := c.socket.stream.FD
			if err := c.Close(); err != nil {
				t.Error(err)
			}
			until(t, "both copies are closed", func() bool { return !isOpen(fd) && !isOpen(own) })
		})
	}
}

func TestALastCloserHolds(t *testing.T) {
	const add, pass = -1, -2 // add one, pass the time; or else how many are still open
	for name, tc := range map[string]struct {
		most  int
		steps []int
	}{
		"for a while":                       {4, []int{add, 1, pass, 0}},
		"for a while again":                 {4, []int{add, pass, 0, add, 1, pass, 0}},
		"several for the time of the first": {4, []int{add, add, add, 3, pass, 0}},
		"so many, and then half of them":    {4, []int{add, add, add, add, 4, add, 2, add, add, 4, add, 2, pass, 0}},
		"the last of two":                   {1, []int{add, 1, add, 1, add, 1, pass, 0}},
		"none where the table is small":     {0, []int{add, 0, add, 0, pass, 0}},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				l := newLastCloser(newReaper(sys.System))
				l.most = tc.most
				var fds []int
				for i, step := range tc.steps {
					switch step {
					case add:
						fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_STREAM, 0)
						if err != nil {
							t.Fatal(err)
						}
						fds = append(fds, fd)
						l.add(sys.Stream{FD: fd})
					case pass:
						time.Sleep(holdFor)
					default:
						synctest.Wait()
						open := 0
						for _, fd := range fds {
							if isOpen(fd) {
								open++
							}
						}
						if open != step {
							t.Fatalf("step %d: %d are open, want %d", i, open, step)
						}
						// the oldest were closed
						for _, fd := range fds[:len(fds)-open] {
							if isOpen(fd) {
								t.Errorf("step %d: descriptor %d is open, and a younger one was closed", i, fd)
							}
						}
						fds = fds[len(fds)-open:] // numbers are used again
					}
				}
			})
		})
	}
}

// Nobody who closes a connection waits for one that lingers and was closed before.
func TestALastCloserDoesNotWaitForWhatLingers(t *testing.T) {
	fds, relent := lingering(t, 3)
	defer relent()
	l := newLastCloser(newReaper(sys.System))
	l.most = 1
	soon(t, "adding what lingers", func() {
		for _, fd := range fds {
			l.add(sys.Stream{FD: fd})
		}
	})
	relent()
	soon(t, "closing all", l.reaper.settle)
	until(t, "the held one is closed", func() bool { return l.reaper.pending.Load() == 0 && !isOpen(fds[2]) })
}
