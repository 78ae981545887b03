package roundtrip

import (
	"fmt"
	"strconv"
	"time"

	"example.com/fdpass/bench/compare/process"
	"example.com/fdpass/bench/compare/role"

	"golang.org/x/sys/unix"
)

// What a process is started with; echo has no connection.
const (
	link   = 3
	second = 4
	conn   = 5
)

// An end passes single descriptors over the link.
type end interface {
	give(fd int) error // passes the descriptor and closes it
	take() (int, error)
}

// A way is how a contender in Go passes descriptors over the link.
type way struct {
	name string
	end  func(pings bool) (end, error)
}

func ways() []way {
	return []way{
		viaFramed, viaFramedSpin, viaFramedTwo, viaFramedTwoSpin, viaBare, viaBareSpin, viaBareTwo, viaBareTwoSpin,
		viaFDChannel, viaNet,
	}
}

func init() {
	for _, w := range ways() {
		role.Register(w.role(), w.play)
	}
}

func (w way) role() string { return "roundtrip " + w.name }

func (w way) play(args []string) error {
	if len(args) != 2 {
		return fmt.Errorf("%d arguments", len(args))
	}
	n, err := strconv.Atoi(args[1])
	if err != nil {
		return err
	}
	pings := args[0] == "ping"
	e, err := w.end(pings)
	if err != nil {
		return err
	}
	if err := process.Ready(); err != nil {
		return err
	}
	play := echo
	if pings {
		play = ping
	}
	o, err := play(e, n)
	if err != nil {
		return err
	}
	return process.Report(o)
}

func ping(e end, n int) (o outcome, err error) {
	o.Took = make([]int64, n)
	fd := conn
	for i := range o.Took {
		start := time.Now()
		if err := e.give(fd); err != nil {
			return o, err
		}
		if fd, err = e.take(); err != nil {
			return o, err
		}
		o.Took[i] = time.Since(start).Nanoseconds()
		o.Passed++
	}
	var st unix.Stat_t
	err = unix.Fstat(fd, &st)
	o.Inode = st.Ino
	return o, err
}

func echo(e end, n int) (o outcome, err error) {
	for range n {
		fd, err := e.take()
		if err != nil {
			return o, err
		}
		if err := e.give(fd); err != nil {
			return o, err
		}
		o.Passed++
	}
	return o, nil
}
