package growth

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"sync"
	"sync/atomic"
	"time"

	"example.com/fdpass/bench/compare/role"
	"example.com/fdpass/bench/limit"
	"example.com/fdpass/fastpass"
	"example.com/fdpass/internal/loopback"
	"example.com/fdpass/internal/policy"

	"golang.org/x/sys/unix"
)

func init() {
	role.RegisterTask("growth: pass", printed(passOn))
	role.RegisterTask("growth: take", printed(take))
}

// printed makes what does a task print the outcome.
func printed(do func(*task) (outcome, error)) func(*task) error {
	return func(t *task) error {
		o, err := do(t)
		if err != nil {
			return err
		}
		return json.NewEncoder(os.Stdout).Encode(o)
	}
}

// passOn passes descriptors for a while, and returns how many arrived.
func passOn(t *task) (o outcome, err error) {
	const rest = 100
	if err := role.NeedFiles(2*limit.Sockets + min(t.InFlight, batch*messages) + t.Open + rest); err != nil {
		return o, err
	}
	if err := fillTable(t.Open); err != nil {
		return o, err
	}
	if t.InFlight > 0 {
		return passTurnAbout(t)
	}
	team, err := newTeam(t)
	if err != nil {
		return o, err
	}
	conns, err := connections()
	if err != nil {
		return o, errors.Join(err, team.end())
	}
	source := newSource(conns, batch*messages, t)
	if err := team.pass(t, source, warmUp); err != nil {
		return o, errors.Join(err, team.end())
	}
	start, cpu, sent := time.Now(), role.CPUTime(), team.sent.Load()
	err = errors.Join(team.pass(t, source, t.For), team.deliver())
	o.Elapsed, o.CPU, o.N = time.Since(start), role.CPUTime()-cpu, int(team.sent.Load()-sent)
	err = errors.Join(err, team.wait())
	if err == nil && team.taken.N != int(team.sent.Load()) {
		err = fmt.Errorf("sent %d descriptors, %d arrived", team.sent.Load(), team.taken.N)
	}
	if o.N > 0 { // the receivers' processor time is that of all they took
		o.CPU += team.taken.CPU * time.Duration(o.N) / time.Duration(team.taken.N)
	}
	return o, err
}

// warmUp is for what is made on first use.
const warmUp = 50 * time.Millisecond

// team is a link with its receiver, or a pool with its workers.
type team struct {
	link  *fastpass.Passer
	pool  *fastpass.Pool
	takes []*taker
	sent  atomic.Int64
	taken outcome // by all of them, after end
}

// taker is a receiving process.
type taker struct {
	cmd  *exec.Cmd
	says *json.Decoder
}

func newTeam(t *task) (_ *team, err error) {
	team := new(team)
	if t.Workers > 0 {
		team.pool, err = fastpass.NewPool(&fastpass.PoolConfig{Policy: policy.ByName(t.Policy)})
	}
	for i := 0; i < max(1, t.Workers) && err == nil; i++ {
		err = team.hire(t)
	}
	if err != nil {
		return nil, errors.Join(err, team.end())
	}
	return team, nil
}

func (team *team) hire(t *task) error {
	cmd, err := role.TaskCommand(context.Background(), "growth: take", t)
	if err != nil {
		return err
	}
	cmd.Stderr = os.Stderr
	says, err := cmd.StdoutPipe()
	if err != nil {
		return err
	}
	link, err := fastpass.Spawn(cmd, t.config(fastpass.SendOnly))
	if err != nil {
		return err
	}
	r := &taker{cmd, json.NewDecoder(says)}
	team.takes = append(team.takes, r)
	if team.pool != nil {
		err = team.pool.Add(link)
	} else {
		team.link = link
	}
	return errors.Join(err, r.says.Decode(new(outcome))) // it is ready
}

// end waits until everything has arrived, and the receivers have ended.
func (team *team) end() error { return errors.Join(team.deliver(), team.wait()) }

// deliver waits until everything has arrived.
func (team *team) deliver() (err error) {
	if team.pool != nil {
		err = team.pool.Shutdown(context.Background())
	} else if team.link != nil {
		err = team.link.Shutdown(context.Background())
	}
	for _, r := range team.takes {
		var o outcome
		err = errors.Join(err, r.says.Decode(&o))
		team.taken.N += o.N
		team.taken.CPU += o.CPU
	}
	return err
}

// wait waits until the receivers have ended.
func (team *team) wait() (err error) {
	for _, r := range team.takes {
		err = errors.Join(err, r.cmd.Wait())
	}
	return err
}

// pass sends for a while.
func (team *team) pass(t *task, s *source, d time.Duration) error {
	until := time.Now().Add(d)
	switch {
	case team.pool != nil:
		return team.repeat(until, func() (int, error) { return team.pool.Dispatch(s.take(batch)) })
	case t.Goroutines > 0:
		return team.passFromMany(t.Goroutines, s, until)
	}
	return team.repeat(until, func() (int, error) { return team.link.SendBatch(s.take(batch * messages)) })
}

func (team *team) repeat(until time.Time, send func() (int, error)) error {
	for {
		n, err := send()
		team.sent.Add(int64(n))
		if err != nil || !time.Now().Before(until) {
			return err
		}
	}
}

func (team *team) passFromMany(goroutines int, s *source, until time.Time) error {
	var all sync.WaitGroup
	errs := make([]error, goroutines)
	for i := range goroutines {
		own := *s
		own.next = i * limit.Sockets / goroutines
		all.Go(func() {
			errs[i] = team.repeat(until, func() (n int, err error) {
				for n < 100 && err == nil {
					if err = team.link.Send(own.take(1)[0]); err == nil {
						n++
					}
				}
				return n, err
			})
		})
	}
	all.Wait()
	return errors.Join(errs...)
}

// passTurnAbout sends so many descriptors and then receives them, on one goroutine.
func passTurnAbout(t *task) (o outcome, err error) {
	here, f, err := fastpass.Pair(t.config(fastpass.SendOnly))
	if err != nil {
		return o, err
	}
	defer here.Close()
	c, err := role.UnixConn(f)
	if err != nil {
		return o, err
	}
	there, err := fastpass.New(c, t.config(fastpass.RecvOnly))
	if err != nil {
		return o, err
	}
	defer there.Close()
	conns, err := connections()
	if err != nil {
		return o, err
	}
	turns := turns{here: here, there: there, source: newSource(conns, t.InFlight, t), inFlight: t.InFlight}
	if _, err := turns.take(warmUp); err != nil {
		return o, err
	}
	return turns.take(t.For)
}

// turns sends and receives in turn.
type turns struct {
	here, there *fastpass.Passer
	source      *source
	inFlight    int
	receiver    receiver
}

func (t *turns) take(d time.Duration) (o outcome, err error) {
	start, cpu := time.Now(), role.CPUTime()
	for o.N == 0 || time.Since(start) < d {
		if _, err := t.here.SendBatch(t.source.take(t.inFlight)); err != nil {
			return o, err
		}
		for n := 0; n < t.inFlight; {
			k, err := t.receiver.take(t.there)
			if err != nil {
				return o, err
			}
			n += k
		}
		o.N += t.inFlight
	}
	o.Elapsed, o.CPU = time.Since(start), role.CPUTime()-cpu
	return o, nil
}

// take takes descriptors and closes them, until the link ends.
func take(t *task) (o outcome, err error) {
	if err := fillTable(t.Open); err != nil {
		return o, err
	}
	link, err := fastpass.Inherit(t.config(fastpass.RecvOnly))
	if err != nil {
		return o, err
	}
	defer link.Close()
	if err := json.NewEncoder(os.Stdout).Encode(o); err != nil { // ready
		return o, err
	}
	cpu := role.CPUTime()
	var r receiver
	for {
		n, err := r.take(link)
		o.N += n
		if err == io.EOF {
			o.CPU = role.CPUTime() - cpu
			return o, nil
		}
		if err != nil {
			return o, err
		}
	}
}

// receiver has the slices that receiving takes.
type receiver struct {
	ds  [batch * messages]fastpass.Desc
	fds [batch * messages]int
}

func (r *receiver) take(link *fastpass.Passer) (int, error) {
	n, err := link.RecvBatch(r.ds[:])
	fds := r.fds[:n]
	for i := range fds {
		fds[i] = r.ds[i].FD
	}
	fastpass.CloseFDs(fds)
	return n, err
}

// source hands out the connections in turn, all of them whatever the case: of fewer the kernel's processor would have
// more in its caches.
type source struct {
	ds   []fastpass.Desc // once around, and behind that the first ones again, so that each batch is a slice of it
	next int
}

// newSource is for batches of so many at most.
func newSource(conns []int, most int, t *task) *source {
	s, bytes := new(source), make([]byte, t.Payload)
	for i := range len(conns) + most {
		d := fastpass.Desc{FD: conns[i%len(conns)], Keep: true, Payload: bytes}
		if t.Policy == "Hash" {
			d.Tag = uint64(i%len(conns) + 1) // that it goes by
		}
		s.ds = append(s.ds, d)
	}
	return s
}

func (s *source) take(n int) []fastpass.Desc {
	ds := s.ds[s.next : s.next+n]
	s.next = (s.next + n) % limit.Sockets
	return ds
}

// connections are accepted over loopback; their other ends stay open until the process ends.
func connections() (conns []int, err error) {
	err = loopback.Connections(limit.Sockets, unix.SOCK_NONBLOCK, func(_, accepted int) error {
		conns = append(conns, accepted)
		return nil
	})
	return conns, err
}

// fillTable opens so many descriptors, which stay open until the process ends.
func fillTable(n int) error {
	for range n {
		if _, err := unix.Open("/dev/null", unix.O_RDONLY|unix.O_CLOEXEC, 0); err != nil {
			return os.NewSyscallError("open", err)
		}
	}
	return nil
}
