//go:build linux

package fastpass

import (
	"syscall"

	"example.com/fdpass/internal/simkernel"
)

// fuse kills a process in the middle of a call, of its own or of another process.
type fuse struct {
	victim *simProc
	calls  int  // until then; 0: it is out
	after  bool // one of its own does its work first
}

// fault decides what goes wrong with a call.
func (s *sim) fault(c simkernel.Call) (f simkernel.Fault) {
	e, ok := c.Label.(*simEnd)
	if !ok || s.calm {
		return f
	}
	if s.burn(e.proc, &f) {
		return f
	}
	if s.threads && s.rng.IntN(30) == 0 {
		s.others(e.proc)
	}
	if s.faults > 0 && s.rng.IntN(300) == 0 {
		s.stopOther(e.proc)
	}
	if s.rng.IntN(1000) >= s.faults {
		return f
	}
	switch {
	case s.broken && c.Op == simkernel.Send && s.rng.IntN(8) == 0:
		f.Errno = syscall.EIO
	case c.Op == simkernel.Send:
		s.failSend(c, &f)
	case c.Op == simkernel.Recv:
		s.failRecv(c, &f)
	default:
		s.failWrite(&f)
	}
	if f != (simkernel.Fault{}) {
		s.counts.faults++
		s.note("    %s: %+v", e.name, f)
	}
	return f
}

// burn kills the victim of the fuse when it is time, and reports whether it did. P makes the call.
func (s *sim) burn(p *simProc, f *simkernel.Fault) bool {
	if s.fuse.calls == 0 || s.fuse.victim.Dead() {
		return false
	}
	if s.fuse.calls--; s.fuse.calls > 0 {
		return false
	}
	s.note("    %s is killed", s.fuse.victim.name)
	if s.fuse.victim == p && s.fuse.after {
		f.Kill = true
	} else {
		s.fuse.victim.Kill()
	}
	s.counts.deaths++
	return true
}

// others are threads of p that know nothing of links.
func (s *sim) others(p *simProc) {
	n := 1 + s.rng.IntN(12)
	switch s.rng.IntN(5) {
	case 0, 1:
		s.note("    another thread of %s closes up to %d", p.name, n)
		s.closeSome(p, n)
	case 2, 3:
		s.note("    another thread of %s opens up to %d", p.name, n)
		s.openSome(p, n)
	default:
		s.stepLimit(p)
	}
}

// stopOther stops a worker in the middle of a call of p, another process.
func (s *sim) stopOther(p *simProc) {
	if ws := s.alive(); len(ws) > 0 {
		if w := ws[s.rng.IntN(len(ws))]; w != p {
			s.note("    %s stops", w.name)
			w.Stop()
		}
	}
}

func (s *sim) failSend(c simkernel.Call, f *simkernel.Fault) {
	switch s.rng.IntN(6) {
	case 0, 1, 2:
		errnos := []syscall.Errno{syscall.ENOBUFS, syscall.ENOMEM, syscall.EAGAIN, syscall.ETOOMANYREFS}
		f.Errno = errnos[s.rng.IntN(len(errnos))]
	case 3:
		if s.refusing {
			f.Errno = syscall.EBADF
		}
		fallthrough
	case 4:
		f.Cut = s.rng.IntN(c.Messages)
	default:
		f.Bytes = 1 + s.rng.IntN(40)
	}
}

func (s *sim) failRecv(c simkernel.Call, f *simkernel.Fault) {
	switch s.rng.IntN(6) {
	case 0:
		f.Errno = syscall.ENOBUFS
	case 1:
		f.Errno, f.Cut = syscall.ENOMEM, s.rng.IntN(c.Messages)
	case 2:
		f.Cut = s.rng.IntN(c.Messages)
	case 3, 4:
		f.Trunc = true
	default:
		f.Early = true
	}
}

func (s *sim) failWrite(f *simkernel.Fault) {
	switch s.rng.IntN(4) {
	case 0:
		f.Errno = syscall.EAGAIN
	case 1:
		f.Errno = syscall.ENOBUFS
	case 2:
		f.Errno = syscall.ENOMEM
	default:
		f.Bytes = 1 + s.rng.IntN(30)
	}
}
