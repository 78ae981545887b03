//go:build linux

package fastpass

import (
	"encoding/binary"
	"strings"
	"syscall"
	"testing"

	"example.com/fdpass/cmsgpool"
	"example.com/fdpass/internal/page"
	"example.com/fdpass/internal/simkernel"
	"example.com/fdpass/internal/sys"
	"example.com/fdpass/internal/wire"

	"golang.org/x/sys/unix"
)

// The mutants are kernels that lie to one end of a link, so that its code does what a wrong one would do.

// beforeAck delivers before ACK: the receiver does not learn that an acknowledgement could not be sent.
type beforeAck struct{ sys.Kernel }

func (m beforeAck) Write(fd int, b []byte) (int, syscall.Errno) {
	n, errno := m.Kernel.Write(fd, b)
	if wire.Type(b[3]) == wire.TypeAck && errno != 0 {
		return len(b), 0
	}
	return n, errno
}

// deafToReset drains without ignoring ECONNRESET: the sender takes it for the end.
type deafToReset struct {
	sys.Kernel
	reset bool
}

func (m *deafToReset) Recv(fd int, v *sys.Vector, n, flags int) (int, syscall.Errno) {
	if m.reset {
		return 0, syscall.ECONNRESET
	}
	n, errno := m.Kernel.Recv(fd, v, n, flags)
	m.reset = errno == syscall.ECONNRESET
	return n, errno
}

// closeEarly closes before ACK: as soon as the kernel has taken a message.
type closeEarly struct{ sys.Kernel }

func (m closeEarly) Send(fd int, v *sys.Vector, n int) (int, syscall.Errno) {
	n, errno := m.Kernel.Send(fd, v, n)
	for i := range n {
		_, control := v.Message(i)
		for _, fd := range cmsgpool.AppendFDs(nil, control) {
			m.CloseRange(fd, fd)
		}
	}
	return n, errno
}

// noCount ignores the count: what a frame announces is what came. Numbers are moved so that the receiver finds its
// sequence in order; the acknowledgement covers all.
type noCount struct {
	sys.Kernel
	missing uint64
}

func (m *noCount) Recv(fd int, v *sys.Vector, n, flags int) (int, syscall.Errno) {
	n, errno := m.Kernel.Recv(fd, v, n, flags)
	for i := range n {
		data, control := v.Message(i)
		if v.Bytes(i) < wire.HeaderSize || wire.Type(data[3]) != wire.TypeData {
			continue
		}
		seq, count := binary.LittleEndian.Uint64(data[8:]), int(binary.LittleEndian.Uint16(data[4:]))
		binary.LittleEndian.PutUint64(data[8:], seq-m.missing)
		got := len(cmsgpool.AppendFDs(nil, control[:v.Control(i)]))
		if got == count {
			continue
		}
		m.missing += uint64(count - got)
		if got == 0 {
			// There is no frame without descriptors: an acknowledgement that an end which sends nothing takes for one.
			continue
		}
		length := 0
		if body := data[wire.HeaderSize:v.Bytes(i)]; len(body) > 0 {
			length = got * wire.RecordSize
			payloads := body[count*wire.RecordSize:]
			for k := range got {
				_, size, _ := wire.Record(body[k*wire.RecordSize:])
				length += copy(body[length:], payloads[:size])
				payloads = payloads[size:]
			}
		}
		binary.LittleEndian.PutUint16(data[4:], uint16(got))
		binary.LittleEndian.PutUint32(data[16:], uint32(length))
		v.Deliver(i, wire.HeaderSize+length, v.Control(i), v.Flags(i)&^unix.MSG_CTRUNC)
	}
	return n, errno
}

func (m *noCount) Write(fd int, b []byte) (int, syscall.Errno) {
	if wire.Type(b[3]) == wire.TypeAck {
		b = append([]byte(nil), b...)
		binary.LittleEndian.PutUint64(b[8:], binary.LittleEndian.Uint64(b[8:])+m.missing)
	}
	return m.Kernel.Write(fd, b)
}

// noStale resends without dropping stale frames: a receiver that has lost something takes what comes behind it.
type noStale struct {
	sys.Kernel
	next uint64
}

func (m *noStale) Recv(fd int, v *sys.Vector, n, flags int) (int, syscall.Errno) {
	n, errno := m.Kernel.Recv(fd, v, n, flags)
	for i := range n {
		data, control := v.Message(i)
		if v.Bytes(i) < wire.HeaderSize || wire.Type(data[3]) != wire.TypeData {
			continue
		}
		if seq := binary.LittleEndian.Uint64(data[8:]); seq > m.next {
			binary.LittleEndian.PutUint64(data[8:], m.next)
		}
		if binary.LittleEndian.Uint64(data[8:]) == m.next {
			m.next += uint64(len(cmsgpool.AppendFDs(nil, control[:v.Control(i)])))
		}
	}
	return n, errno
}

// noFence takes back without a fence: the receiver goes on acknowledging.
type noFence struct{ sys.Kernel }

func (noFence) ShutdownRead(int) {}

// leaky never closes a copy.
type leaky struct{ sys.Kernel }

func (leaky) CloseRange(int, int) {}

// eager closes twice.
type eager struct{ sys.Kernel }

func (m eager) CloseRange(lo, hi int) {
	m.Kernel.CloseRange(lo, hi)
	m.Kernel.CloseRange(hi, hi)
}

// noBye fences a link and does not say BYE.
type noBye struct{ sys.Kernel }

func (m noBye) Write(fd int, b []byte) (int, syscall.Errno) {
	if wire.Type(b[3]) == wire.TypeBye {
		return len(b), 0
	}
	return m.Kernel.Write(fd, b)
}

// blind receives what it should only peek at.
type blind struct{ sys.Kernel }

func (m blind) Recv(fd int, v *sys.Vector, n, flags int) (int, syscall.Errno) {
	return m.Kernel.Recv(fd, v, n, flags&^unix.MSG_PEEK)
}

// pages has its own idea of what the two ends of a link see of a page.
type pages struct {
	sys.Kernel
	proc  *simkernel.Process
	words map[*simkernel.File]*page.Words // of every link
	made  func(w *page.Words) *page.Page
	taken func(w *page.Words) *page.Page
}

func (m *pages) NewPage() (*page.Page, int) {
	p, fd := m.Kernel.NewPage()
	if p == nil {
		return nil, fd
	}
	w := new(page.Words)
	m.words[m.proc.File(fd)] = w
	return m.made(w), fd
}

func (m *pages) MapPage(fd int) *page.Page {
	w := m.words[m.proc.File(fd)]
	if w == nil {
		return nil
	}
	return m.taken(w)
}

// pageMutation is one of what the two ends see. It gets the pages as they should be seen by e.
func pageMutation(mutate func(e *simEnd, m *pages)) simWrap {
	words := map[*simkernel.File]*page.Words{}
	return func(e *simEnd, k sys.Kernel) sys.Kernel {
		view := func(w *page.Words) *page.Page { return page.Of(w, func() bool { return !e.proc.Dead() }) }
		m := &pages{Kernel: k, proc: e.proc.Process, words: words, made: view, taken: view}
		mutate(e, m)
		return m
	}
}

// noPageFence takes back without a fence in the page.
func noPageFence(e *simEnd, m *pages) {
	m.made = func(w *page.Words) *page.Page {
		return page.Of(w, func() bool { return !e.proc.Dead() && e.p.ending.Load() == nil })
	}
}

// throughFence takes what the sender has taken back: the fence is gone when it looks.
func throughFence(e *simEnd, m *pages) {
	m.taken = func(w *page.Words) *page.Page {
		all := page.Of(w, nil)
		return page.Of(w, func() bool {
			all.Take(all.Acked()|1<<63, all.Acked())
			return !e.proc.Dead()
		})
	}
}

// notShared acknowledges where nobody looks.
func notShared(_ *simEnd, m *pages) {
	m.taken = func(*page.Words) *page.Page { return m.made(new(page.Words)) }
}

// packets leaves streams alone: what a mutant changes must lie in one message.
func packets(mutate func(k sys.Kernel) sys.Kernel) simWrap {
	return func(e *simEnd, k sys.Kernel) sys.Kernel {
		if e.s.kind == unix.SOCK_STREAM {
			return k
		}
		return mutate(k)
	}
}

var mutations = []struct {
	name     string
	protocol Protocol
	as       string // what the oracle must say of it
	mutate   simWrap
}{
	{"deliver before ACK", Framed, "is doubled", func(_ *simEnd, k sys.Kernel) sys.Kernel { return beforeAck{k} }},
	{"drain without ignoring ECONNRESET", Framed, "is doubled", func(_ *simEnd, k sys.Kernel) sys.Kernel {
		return &deafToReset{Kernel: k}
	}},
	{"resend without dropping stale frames", Framed, "out of order", packets(func(k sys.Kernel) sys.Kernel {
		return &noStale{Kernel: k}
	})},
	{"close before ACK", Framed, "is not open", func(_ *simEnd, k sys.Kernel) sys.Kernel { return closeEarly{k} }},
	{"ignore the count", Framed, "is lost", packets(func(k sys.Kernel) sys.Kernel { return &noCount{Kernel: k} })},
	{"take back without a fence", Framed, "nothing more happens", func(_ *simEnd, k sys.Kernel) sys.Kernel {
		return noFence{k}
	}},
	{"take back without BYE", Framed, "is doubled", func(_ *simEnd, k sys.Kernel) sys.Kernel { return noBye{k} }},
	{"never close", Framed, "has leaked", func(_ *simEnd, k sys.Kernel) sys.Kernel { return leaky{k} }},
	{"close twice", Framed, "is not open", func(_ *simEnd, k sys.Kernel) sys.Kernel { return eager{k} }},
	{"take back without a fence in the page", Framed, "is doubled", pageMutation(noPageFence)},
	{"take what is behind the fence in the page", Framed, "is doubled", pageMutation(throughFence)},
	{"acknowledge on a page that is not shared", Framed, "is doubled", pageMutation(notShared)},
	{"receive without peeking", Bare, "out of order", func(_ *simEnd, k sys.Kernel) sys.Kernel { return blind{k} }},
}

func TestTheSimulationCatchesMutations(t *testing.T) {
	if brief() {
		t.Skip("that the simulation catches mutations is seen by make unit and make portable; the simulation itself runs here, too")
	}
	const most = 3000
	for _, m := range mutations {
		t.Run(strings.ReplaceAll(m.name, " ", "_"), func(t *testing.T) {
			if m.protocol == Bare && sys.Implementation != "sendmmsg/recvmmsg" {
				t.Skip("this build does not peek")
			}
			wrap := func(e *simEnd, k sys.Kernel) sys.Kernel {
				if e.s.Protocol != m.protocol {
					return k
				}
				return m.mutate(e, k)
			}
			for seed := uint64(1); seed <= most; seed++ {
				bad := simulateSeed(t, seed, false, wrap).bad
				if strings.Contains(bad, m.as) && simulateSeed(t, seed, false, nil).bad == "" {
					t.Logf("caught with seed %d: %s", seed, bad)
					return
				}
			}
			t.Errorf("not caught with %d seeds", most)
		})
	}
}
