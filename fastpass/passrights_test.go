//go:build linux

package fastpass

import (
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"example.com/fdpass/internal/sys"
	"example.com/fdpass/internal/wire"

	"golang.org/x/sys/unix"
)

// needPassRights skips a test of what this kernel cannot do.
func needPassRights(t testing.TB) {
	t.Helper()
	fds, err := sys.Socketpair(unix.SOCK_STREAM)
	if err != nil {
		t.Fatal(err)
	}
	defer CloseFDs(fds[:])
	if err := unix.SetsockoptInt(fds[0], unix.SOL_SOCKET, unix.SO_PASSRIGHTS, 0); err != nil {
		t.Skipf("SO_PASSRIGHTS, which Linux has since 6.16: %v", err)
	}
}

// needRefusal skips a test of ends that refuse descriptors, where this kernel, or this build, cannot do that.
func needRefusal(t testing.TB) {
	t.Helper()
	if sys.Implementation != "sendmmsg/recvmmsg" {
		t.Skip("the portable build does not use SO_PASSRIGHTS")
	}
	needPassRights(t)
}

// setPassRights turns SO_PASSRIGHTS on or off for a socket; kernels that do not know it always take descriptors.
func setPassRights(t testing.TB, s syscall.Conn, to int) {
	t.Helper()
	raw, err := s.SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	raw.Control(func(fd uintptr) { err = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_PASSRIGHTS, to) })
	if err != nil && err != unix.ENOPROTOOPT {
		t.Fatal(err)
	}
}

// rawOf takes over c as a raw peer.
func rawOf(t testing.TB, c *net.UnixConn) *raw {
	t.Helper()
	f, err := c.File()
	c.Close()
	if err != nil {
		t.Fatal(err)
	}
	r := newRaw(t, f)
	t.Cleanup(r.close)
	return r
}

func (r *raw) expectEPERM() {
	r.t.Helper()
	if err := r.sendmsg([]byte("x"), unix.UnixRights(0)); err != unix.EPERM {
		r.t.Errorf("sending a descriptor: %v, want EPERM", err)
	}
}

func TestTheKernelRefusesDescriptorsForAnEndThatOnlySends(t *testing.T) {
	needRefusal(t)
	for _, l := range everyLink {
		l.Direction = SendOnly
		for name, connect := range map[string]func(*testing.T) (*raw, func() *Passer){
			"Pair": func(t *testing.T) (*raw, func() *Passer) {
				p, f, err := Pair(l.config())
				if err != nil {
					t.Fatal(err)
				}
				return newRaw(t, f), func() *Passer { return p }
			},
			"Accept": func(t *testing.T) (*raw, func() *Passer) {
				ln := listenAt(t, filepath.Join(t.TempDir(), "socket"), l.config())
				return dialRawSocket(t, ln), func() *Passer { return acceptOne(t, ln) }
			},
			"Accept, abstract": func(t *testing.T) (*raw, func() *Passer) {
				ln := listenAt(t, fmt.Sprintf("@fastpass-refuses-%d", os.Getpid()), l.config())
				return dialRawSocket(t, ln), func() *Passer { return acceptOne(t, ln) }
			},
			"Dial": func(t *testing.T) (*raw, func() *Passer) {
				path := filepath.Join(t.TempDir(), "socket")
				ln, err := net.ListenUnix(l.Network, &net.UnixAddr{Name: path, Net: l.Network})
				if err != nil {
					t.Fatal(err)
				}
				defer ln.Close()
				c := l.config()
				full, err := c.withDefaults(1 << 10)
				if err != nil {
					t.Fatal(err)
				}
				conn, err := full.connect(t.Context(), path) // what Dial does before it makes a link
				if err != nil {
					t.Fatal(err)
				}
				there, err := ln.AcceptUnix()
				if err != nil {
					t.Fatal(err)
				}
				return rawOf(t, there), func() *Passer {
					p, err := New(conn, c)
					if err != nil {
						t.Fatal(err)
					}
					return p
				}
			},
		} {
			t.Run(l.String()+", "+name, func(t *testing.T) {
				noLeaks(t)
				r, link := connect(t)
				t.Cleanup(r.close)
				r.expectEPERM() // before anybody has accepted, or made a link
				p := link()
				closeAfter(t, p)
				r.expectEPERM()
				if l.Protocol == Framed {
					r.send(helloFrame(nil, func(h *wire.Hello) { h.Sends = false }), 0)
				}
				if err := p.Send(Desc{FD: null(t)}); err != nil {
					t.Fatal(err)
				}
				until(t, "it is sent", func() bool { return p.Stats().Sent == 1 })
				if err := p.Err(); err != nil {
					t.Errorf("the link has ended: %v", err)
				}
			})
		}
	}
}

// dialRawSocket connects to ln as a raw peer.
func dialRawSocket(t testing.TB, ln *Listener) *raw {
	t.Helper()
	c, err := net.DialUnix(ln.addr.Net, nil, &ln.addr)
	if err != nil {
		t.Fatal(err)
	}
	return rawOf(t, c)
}

func TestTheKernelPassesDescriptorsToAnEndThatReceives(t *testing.T) {
	for _, dir := range []Direction{Both, RecvOnly} {
		noLeaks(t)
		ln := listenAt(t, filepath.Join(t.TempDir(), "socket"), &Config{Protocol: Bare, Direction: dir})
		r := dialRawSocket(t, ln)
		r.send([]byte("x"), 1)
		d, err := acceptOne(t, ln).Recv()
		if err != nil {
			t.Fatal(err)
		}
		CloseFDs([]int{d.FD})
	}
}

// What was sent before the kernel was told to refuse descriptors comes all the same.
func TestDescriptorsQueuedForAnEndThatOnlySendsAreClosed(t *testing.T) {
	for _, l := range everyLink {
		l.Direction = SendOnly
		t.Run(l.String(), func(t *testing.T) {
			noLeaks(t)
			f, g := socketpair(t, l.Network)
			r := newRaw(t, g)
			t.Cleanup(r.close)
			if l.Protocol == Framed {
				r.hello()
			}
			r.send(dataFrame(0, 5, nil), 5)
			p := passerOf(t, f, l.config())
			closeAfter(t, p)
			expectProtocolError(t, p, "5 descriptors to an end that only sends")
		})
	}
}

func TestALinkWhosePeerTakesNoDescriptorsSaysSoAndGivesThemBack(t *testing.T) {
	needPassRights(t)
	for _, l := range everyLink {
		for _, n := range []int{1, 600} {
			t.Run(l.String(), func(t *testing.T) {
				noLeaks(t)
				p, r := rawLink(t, l)
				if err := unix.SetsockoptInt(r.fd, unix.SOL_SOCKET, unix.SO_PASSRIGHTS, 0); err != nil {
					t.Fatal(err)
				}
				if l.Protocol == Framed {
					r.hello() // says that it receives
				}
				sent := nulls(t, n)
				queued := sent
				if l.Protocol == Bare { // they go straight to the socket, and the error straight to the caller
					queued = nil
					defer CloseFDs(fdsOf(sent))
				}
				if k, err := p.SendBatch(sent); k != len(queued) || (err == nil) != (k == n) || err != nil && !errors.Is(err, syscall.EPERM) {
					t.Errorf("%d of %d are taken, %v", k, n, err)
				}
				wait(t, "the link ends", p.Done())
				err := p.Err()
				if !errors.Is(err, os.ErrPermission) || !errors.Is(err, syscall.EPERM) || !strings.Contains(err.Error(), "let the peer receive") {
					t.Errorf("Err: %v", err)
				}
				if err := p.Send(Desc{FD: 0, Keep: true}); !errors.Is(err, syscall.EPERM) {
					t.Errorf("Send afterwards: %v", err)
				}
				back := p.Undelivered()
				defer CloseFDs(fdsOf(back))
				if len(back) != len(queued) {
					t.Fatalf("%d of %d come back", len(back), len(queued))
				}
				for i, d := range back {
					if d.FD != sent[i].FD || !isOpen(d.FD) {
						t.Fatalf("the %dth that comes back is %v, not %v", i, d, sent[i])
					}
				}
				if s := p.Stats(); s.Shortages != 0 || s.Refused != 0 || s.SendCalls != 1 {
					t.Errorf("%+v: it was tried again, or blamed on a descriptor", s)
				}
			})
		}
	}
}

// The two ends of this library, one of them misconfigured: Framed learns it from HELLO, Bare from the kernel.
func TestSendingToAnEndThatOnlySends(t *testing.T) {
	needRefusal(t)
	for _, l := range everyLink {
		t.Run(l.String(), func(t *testing.T) {
			noLeaks(t)
			there := l
			there.Direction = SendOnly
			p, q := link(t, l.config(), there.config())
			if l.Protocol == Framed {
				until(t, "HELLO is heard", p.peerSendOnly.Load)
				if err := p.Send(Desc{FD: 0, Keep: true}); err != errPeerSendOnly {
					t.Errorf("Send: %v", err)
				}
				return
			}
			fd := null(t)
			if err := p.Send(Desc{FD: fd}); err != errRightsRefused {
				t.Errorf("Send: %v", err)
			}
			defer CloseFDs([]int{fd})
			wait(t, "the link ends", p.Done())
			if err := p.Err(); err != errRightsRefused {
				t.Errorf("Err: %v", err)
			}
			if !isOpen(fd) {
				t.Error("the descriptor was closed")
			}
			wait(t, "the other end sees it", q.Done())
			if err := q.Err(); err != nil {
				t.Errorf("the end that refuses: %v", err)
			}
		})
	}
}
