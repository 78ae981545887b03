package front

import (
	"context"
	"errors"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// burstSize is how many clients wait in the queue of the listening socket when the acceptor is let go.
const burstSize = backlog - 96

// measureBursts measures an acceptor that always finds its queue full: what it costs then is its own, whereas with a
// closed loop of clients the batches, and so the cost, depend on who gets the processor when.
func measureBursts(t *team, d time.Duration) (o outcome, err error) {
	if err := burst(t, new(outcome), burstSize); err != nil { // the first one warms up
		return o, err
	}
	before, err := t.accepted()
	if err != nil {
		return o, err
	}
	for start := time.Now(); o.Answered == 0 || time.Since(start) < d; {
		if err := burst(t, &o, burstSize); err != nil {
			return o, err
		}
	}
	o.accepted, err = t.accepted()
	o.accepted = o.accepted.since(before)
	return o, err
}

// burst has n clients connect while the acceptor is stopped, lets it go, and waits until each has been greeted.
func burst(t *team, o *outcome, n int) error {
	if err := t.pause(); err != nil {
		return err
	}
	over := context.AfterFunc(t.ctx, func() { _ = unix.Shutdown(int(t.listener.Fd()), unix.SHUT_RDWR) }) // those in its queue would wait in vain, with patience
	defer over()
	var fds []int
	defer func() {
		for _, fd := range fds {
			unix.Close(fd)
		}
	}()
	c := client{target: unix.SockaddrInet4{Addr: [4]byte(t.address.IP.To4()), Port: t.address.Port}, buffer: make([]byte, 1)}
	var err error
	for i := 0; i < n && err == nil; i++ {
		c.source.Addr = [4]byte{127, 0, 1, byte(i)}
		var fd int
		if fd, err = c.connect(); err == nil {
			fds = append(fds, fd)
		}
	}
	start := time.Now()
	err = errors.Join(err, t.acceptor.cmd.Process.Signal(syscall.SIGCONT))
	for i := 0; i < len(fds) && err == nil; i++ {
		err = c.readGreeting(fds[i])
	}
	o.Elapsed += time.Since(start)
	o.Answered += uint64(len(fds))
	return err
}

// pause stops the acceptor, and returns when it is stopped.
func (t *team) pause() error {
	p := t.acceptor.cmd.Process
	if err := p.Signal(syscall.SIGSTOP); err != nil {
		return err
	}
	return again(func() error { return unix.Waitid(unix.P_PID, p.Pid, nil, unix.WSTOPPED|unix.WNOWAIT, nil) })
}
