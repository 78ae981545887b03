package front

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"strconv"

	"example.com/fdpass/bench/compare/role"

	"golang.org/x/sys/unix"
)

// backlog is what the kernel lets a listening socket have by default (net.core.somaxconn).
const backlog = 4096

// team is a front with its workers, all of them running.
type team struct {
	ctx      context.Context
	kind     kind
	program  string // the C front
	role     string // of the workers
	listener *os.File
	address  *net.TCPAddr
	acceptor *process
	orders   *net.UnixConn // to the acceptor
	workers  []*process
}

// newTeam starts a front with workers in the given role. Program is the C front, for the kind that needs it.
func newTeam(ctx context.Context, k kind, role string, workers int, program string) (*team, error) {
	t := &team{ctx: ctx, kind: k, program: program, role: role}
	err := t.listen()
	if err == nil && k.acceptor != "" {
		err = t.startAcceptor(workers)
	}
	for slot := 0; slot < workers && err == nil; slot++ {
		var w *process
		if w, err = t.startWorker(slot); err == nil {
			t.workers = append(t.workers, w)
		}
	}
	if err != nil {
		return nil, errors.Join(err, t.stop())
	}
	return t, nil
}

// listen opens the port. Where each worker listens for itself, the port is only kept.
func (t *team) listen() error {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return os.NewSyscallError("socket", err)
	}
	t.listener = os.NewFile(uintptr(fd), "listener") // while it blocks: or else each connection would wake this process, too
	if err := unix.SetNonblock(fd, true); err != nil {
		return os.NewSyscallError("fcntl", err)
	}
	if t.kind.source == own {
		err = unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_REUSEPORT, 1)
	}
	if err == nil {
		err = unix.Bind(fd, &unix.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}})
	}
	if err == nil && t.kind.source != own {
		err = unix.Listen(fd, backlog)
	}
	if err != nil {
		return os.NewSyscallError("listen", err)
	}
	name, err := unix.Getsockname(fd)
	if err != nil {
		return os.NewSyscallError("getsockname", err)
	}
	a := name.(*unix.SockaddrInet4)
	t.address = &net.TCPAddr{IP: a.Addr[:], Port: a.Port}
	return nil
}

func (t *team) startAcceptor(workers int) error {
	here, there, err := socketPair()
	if err != nil {
		return err
	}
	defer there.Close()
	if t.orders, err = role.UnixConn(here); err != nil {
		return err
	}
	if t.kind.acceptor == inC {
		t.acceptor, err = start(exec.CommandContext(t.ctx, t.program, strconv.Itoa(workers)), there, t.listener)
	} else {
		task := acceptorTask{Policy: t.kind.policy, Protocol: t.kind.protocol, Workers: workers}
		t.acceptor, err = startRole(t.ctx, t.kind.acceptor, task, there, t.listener)
	}
	return err
}

// startWorker starts a worker, waits until it is ready, and has the acceptor give it connections in the place of the
// one that had the slot before, if there was one.
func (t *team) startWorker(slot int) (*process, error) {
	task := workerTask{Source: t.kind.source, Address: t.address.String()}
	var mine, its *os.File
	switch task.Source {
	case inherited:
		its = t.listener
	case framed, bare:
		var err error
		if mine, its, err = socketPair(); err != nil {
			return nil, err
		}
		defer mine.Close()
		defer its.Close()
	}
	w, err := startRole(t.ctx, t.role, task, its)
	if err != nil {
		return nil, err
	}
	if err = w.hear(new(done)); err == nil && mine != nil {
		rights := unix.UnixRights(int(mine.Fd()))
		_, _, err = t.orders.WriteMsgUnix([]byte{byte(slot)}, rights, nil)
	}
	if err != nil {
		return nil, errors.Join(err, w.stop())
	}
	return w, nil
}

// replace puts a new worker in the place of one, which finishes what it has and ends.
func (t *team) replace(slot int) error {
	w, err := t.startWorker(slot)
	if err != nil {
		return err
	}
	before := t.workers[slot]
	t.workers[slot] = w
	if t.orders == nil {
		err = before.order("drain")
	} // or else the end of its link tells it
	return errors.Join(err, before.wait())
}

// accepted asks the acceptor what it has done so far.
func (t *team) accepted() (a accepted, err error) {
	if t.orders == nil {
		return a, nil
	}
	if _, err = t.orders.Write([]byte{0}); err != nil {
		return a, err
	}
	var text [256]byte
	n, err := t.orders.Read(text[:])
	if err != nil {
		return a, fmt.Errorf("the acceptor: %w", err)
	}
	return a, json.Unmarshal(text[:n], &a)
}

// done asks the workers what they have done so far.
func (t *team) done() ([]done, error) {
	all := make([]done, len(t.workers))
	for i, w := range t.workers {
		if err := w.order("report"); err != nil {
			return nil, err
		}
		if err := w.hear(&all[i]); err != nil {
			return nil, err
		}
	}
	return all, nil
}

// stop ends all processes: the acceptor first, whose links end the workers in order.
func (t *team) stop() (err error) {
	if t.orders != nil {
		t.orders.Close()
	}
	if t.acceptor != nil {
		err = t.acceptor.wait()
	}
	for _, w := range t.workers {
		err = errors.Join(err, w.stop())
	}
	return errors.Join(err, t.listener.Close())
}

// socketPair makes the two ends of a link.
func socketPair() (here, there *os.File, err error) {
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_SEQPACKET|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, nil, os.NewSyscallError("socketpair", err)
	}
	return os.NewFile(uintptr(fds[0]), "link"), os.NewFile(uintptr(fds[1]), "link"), nil
}
