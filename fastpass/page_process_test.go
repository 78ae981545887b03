//go:build linux

package fastpass

import (
	"context"
	"encoding/binary"
	"errors"
	"math"
	"os"
	"runtime"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"example.com/fdpass/internal/sys"
	"example.com/fdpass/internal/wire"

	"golang.org/x/sys/unix"
)

// Processes that stop or die between two steps of what makes descriptors theirs: those tests where the moment is left
// to chance seldom hit the few instructions that matter.

// usesPage reports whether what p sends is acknowledged on a page.
func usesPage(p *Passer) bool {
	if p.out.page == nil {
		return false
	}
	_, _, used := p.out.page.Read()
	return used
}

// expectPage wants acknowledgements on a page where there are any, once the receiver has said HELLO.
func expectPage(t testing.TB, p *Passer) {
	t.Helper()
	if want := pagesExist() && !p.stream; usesPage(p) != want {
		t.Errorf("a page is in use: %t, want %t", !want, want)
	}
}

// rawPage is a page in the hands of a raw peer. What lies in it is reached through its descriptor, as any process
// might, so these tests know where package page puts it.
type rawPage struct {
	t  testing.TB
	fd int
}

const (
	ackedAt, limitAt, askedAt = 0, 128, 256 // where the words are
	topBit                    = 1 << 63     // fenced in the first, inUse in the second
)

func (g *rawPage) write(at int64, v uint64) {
	var b [8]byte
	binary.NativeEndian.PutUint64(b[:], v)
	if _, err := unix.Pwrite(g.fd, b[:], at); err != nil {
		g.t.Error(err)
	}
}

// haltingKernel stops its process between recvmsg and whatever becomes of what has come.
type haltingKernel struct {
	sys.Kernel
	after int // once so many descriptors, and more, have come
}

func (k *haltingKernel) Recv(fd int, v *sys.Vector, n, flags int) (int, syscall.Errno) {
	n, errno := k.Kernel.Recv(fd, v, n, flags)
	for i := range n {
		if data, _ := v.Message(i); k.after >= 0 && v.Bytes(i) >= wire.HeaderSize && wire.Type(data[3]) == wire.TypeData {
			k.after -= int(data[4])
		}
	}
	if k.after < 0 && errno == 0 {
		k.after = math.MaxInt
		runtime.LockOSThread()
		unix.Tgkill(os.Getpid(), unix.Gettid(), unix.SIGSTOP) // sent to the process it may reach another thread first
		runtime.UnlockOSThread()
	}
	return n, errno
}

func init() {
	roles["log and halt"] = func() { // is the role "log", and stops when more than N descriptors have come
		var spec childSpec
		childArg(&spec)
		p, err := passerOn(&haltingKernel{sys.System, spec.N}, os.NewFile(3, "link"), spec.Link.config())
		must(err)
		logAll(p)
	}
}

// A worker that is stopped when descriptors have come, and before it has made them its own, has none of them when it
// wakes, for another one has got them meanwhile.
func TestAWorkerStoppedBetweenReceivingAndTakingDeliversNothing(t *testing.T) {
	numbers := newNumbered(t)
	bothWaysToRead(t, framedLinks, func(t *testing.T, l, there linkConfig) {
		p, c := linkTo(t, "log and halt", l.config(), childSpec{Link: there, N: 10}, false)
		if _, err := p.SendBatch(numbers.descs(t, 0, 10)); err != nil {
			t.Fatal(err)
		}
		for i := range 10 {
			c.expect("%d", i)
		}
		expectPage(t, p)
		if _, err := p.SendBatch(numbers.descs(t, 10, 50)); err != nil {
			t.Fatal(err)
		}
		c.stopped()
		soon(t, "Close returns", func() { p.Close() })
		front, other := link(t, l.config(), there.config())
		back := p.Undelivered()
		if n, err := front.SendBatch(back); n != 40 || err != nil {
			t.Errorf("%d redelivered, %v", n, err)
		}
		soon(t, "another gets them", func() {
			ds, err := recvN(other, 40, 40)
			if err != nil {
				t.Error(err)
			}
			expectNumbers(t, ds, 10, 50)
		})
		c.signal(unix.SIGCONT)
		c.expect("end: EOF")
		c.succeed()
	})
}

// dyingKernel kills its process at a call.
type dyingKernel struct {
	sys.Kernel
	armed atomic.Bool
	left  atomic.Int32 // calls until then
	after bool         // the last one does its work first
}

// die is called before each call, and again after it.
func (k *dyingKernel) die(after bool) {
	if after != k.after || !k.armed.Load() || k.left.Add(-1) != 0 {
		return
	}
	unix.Kill(os.Getpid(), unix.SIGKILL)
	select {}
}

func (k *dyingKernel) Send(fd int, v *sys.Vector, n int) (int, syscall.Errno) {
	k.die(false)
	defer k.die(true)
	return k.Kernel.Send(fd, v, n)
}

func (k *dyingKernel) Write(fd int, b []byte) (int, syscall.Errno) {
	k.die(false)
	defer k.die(true)
	return k.Kernel.Write(fd, b)
}

func (k *dyingKernel) ShutdownRead(fd int) {
	k.die(false)
	defer k.die(true)
	k.Kernel.ShutdownRead(fd)
}

func (k *dyingKernel) Recv(fd int, v *sys.Vector, n, flags int) (int, syscall.Errno) {
	k.die(false)
	defer k.die(true)
	return k.Kernel.Recv(fd, v, n, flags)
}

// takeBackSpec is the argument of the role "take back".
type takeBackSpec struct {
	Link  linkConfig
	Path  string // of numbered
	N     int
	Calls int
	After bool
}

func init() {
	// Sends N descriptors over its descriptor 3, and when it is told to takes back what was not taken, and sends that
	// over its descriptor 4. It dies at a call on the way.
	roles["take back"] = func() {
		var spec takeBackSpec
		childArg(&spec)
		k := &dyingKernel{Kernel: sys.System, after: spec.After}
		k.left.Store(int32(spec.Calls))
		first, err := passerOn(k, os.NewFile(3, "link"), spec.Link.config())
		must(err)
		second, err := passerOn(k, os.NewFile(4, "link"), spec.Link.config())
		must(err)
		for i := range spec.N {
			must(first.Send(Desc{FD: openNumbered(numbered{spec.Path}, i), Tag: uint64(i)}))
		}
		for int(first.Stats().Sent) < spec.N {
			time.Sleep(time.Millisecond) // until credit has come
		}
		hear()
		k.armed.Store(true)
		must(first.Close())
		_, err = second.SendBatch(first.Undelivered())
		must(err)
		must(second.Shutdown(context.Background()))
		say("done")
	}
}

// A front is killed at each call that it makes while it takes back from one worker and gives to another. No descriptor
// is seen twice, none is skipped, and if the first worker can tell that nothing was taken back, it has everything.
func TestAFrontKilledWhileItTakesBackLeavesNothingWithTwoOwners(t *testing.T) {
	numbers := newNumbered(t)
	bothWaysToRead(t, framedLinks, func(t *testing.T, l, there linkConfig) {
		done := 0
		calls := 0
		for done < 4 {
			calls++
			for i := range 4 { // the last calls are not the same each time
				spec := takeBackSpec{Link: l, Path: numbers.path, N: 60, Calls: calls, After: i%2 == 1}
				if killedTakingBack(t, spec, there, i/2 == 1) {
					done++
				}
				if t.Failed() {
					t.Fatalf("killed at call %d, after it: %t; the worker waits: %t", calls, spec.After, i/2 == 1)
				}
			}
		}
		t.Logf("killed at up to %d calls", calls)
	})
}

// killedTakingBack is one front. It reports whether it got to its end. The first worker takes 20, tells the front to
// take back, and goes on at once, or once the front has ended.
func killedTakingBack(t *testing.T, spec takeBackSpec, there linkConfig, waits bool) (done bool) {
	t.Helper()
	a, af := socketpair(t, there.Network)
	b, bf := socketpair(t, there.Network)
	cmd := childCommand(t, "take back", spec)
	cmd.ExtraFiles = []*os.File{af, bf}
	front := startCommand(t, cmd, nil)
	af.Close()
	bf.Close()
	p, q := passerOf(t, a, there.config()), passerOf(t, b, there.config())
	var errs [2]error
	var got [2][]Desc
	var wg sync.WaitGroup
	for i, w := range []*Passer{p, q} {
		wg.Go(func() {
			for errs[i] == nil {
				ds, err := recvN(w, 1, 1)
				got[i], errs[i] = append(got[i], ds...), err
				if i == 0 && err == nil && len(got[i]) == 20 {
					front.say("go")
					if waits {
						<-front.ended
					}
				}
			}
			w.Close()
		})
	}
	soon(t, "both workers see the end", wg.Wait)
	wait(t, "the front ends", front.ended)
	done = front.err == nil
	taken := len(got[0])
	expectNumbers(t, got[0], 0, taken)
	if n := len(got[1]); n > 0 {
		expectNumbers(t, got[1], taken, taken+n)
	}
	switch all := taken+len(got[1]) == spec.N; {
	case done && !(all && isEnd(errors.Unwrap(errs[0])) && isEnd(errors.Unwrap(errs[1]))):
		t.Errorf("the front has ended in order, but the workers got %d and %d of %d: %v, %v", taken, len(got[1]), spec.N, errs[0], errs[1])
	case errors.Is(errs[0], ErrPeerGone) && taken != spec.N:
		t.Errorf("nothing was taken back, but the worker got %d of %d", taken, spec.N)
	case !errors.Is(errs[0], ErrPeerGone) && !isEnd(errs[0]):
		t.Error(errs[0])
	}
	return done
}
