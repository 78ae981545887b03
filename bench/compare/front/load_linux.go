package front

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"runtime"
	"strings"
	"sync"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"
	"golang.org/x/sys/unix"
)

// loadTask is what the load is told.
type loadTask struct {
	IP      [4]byte
	Port    int
	Clients int
	Mixture mixture
}

// mixture is what is asked for.
type mixture struct {
	Silent bool    // nothing: the worker greets
	Light  int     // units of work
	Heavy  int     // likewise
	Share  float64 // of heavy requests
}

var (
	silent = mixture{Silent: true}
	light  = mixture{}
	mixed  = mixture{Light: 1, Heavy: 100, Share: 0.02}
)

// totals is what came of it.
type totals struct {
	Answered, Failed uint64
	Elapsed          time.Duration
	P50, P99, Max    time.Duration // from connect until the connection has ended behind the answer, of light requests
	Error            string        // one of the failures
}

// loadUntilTold opens connections until its standard input ends, and then says what came of them. A line there has it
// count from anew.
func loadUntilTold(task loadTask) error {
	// Each client blocks in the kernel, in a thread of its own, as one in C would: that costs least.
	runtime.GOMAXPROCS(task.Clients + 2)
	l := load{task: task, begin: time.Now(), latency: newHistogram()}
	var clients sync.WaitGroup
	for i := range task.Clients {
		clients.Go(func() { l.run(i) })
	}
	for in := bufio.NewScanner(os.Stdin); in.Scan(); {
		l.mu.Lock()
		l.totals, l.begin = totals{Failed: l.totals.Failed, Error: l.totals.Error}, time.Now()
		l.latency.Reset()
		l.mu.Unlock()
	}
	l.mu.Lock()
	l.told = true
	l.mu.Unlock()
	clients.Wait()
	l.totals.P50 = time.Duration(l.latency.ValueAtQuantile(50))
	l.totals.P99 = time.Duration(l.latency.ValueAtQuantile(99))
	l.totals.Max = time.Duration(l.latency.Max())
	return json.NewEncoder(os.Stdout).Encode(l.totals)
}

func newHistogram() *hdrhistogram.Histogram {
	return hdrhistogram.New(int64(time.Microsecond), int64(2*patience), 3)
}

type load struct {
	task loadTask

	mu      sync.Mutex
	begin   time.Time
	told    bool // to end
	over    bool
	totals  totals
	latency *hdrhistogram.Histogram
}

// run is one client.
func (l *load) run(number int) {
	c := client{
		target: unix.SockaddrInet4{Addr: l.task.IP, Port: l.task.Port},
		source: unix.SockaddrInet4{Addr: [4]byte{127, 0, 1, byte(number)}}, // a client of its own to the Hash policy
		random: rand.New(rand.NewPCG(0, uint64(number))),
		buffer: make([]byte, 4096),
	}
	for over := false; !over; {
		units, isLight := l.task.Mixture.next(c.random)
		start := time.Now()
		var err error
		if l.task.Mixture.Silent {
			err = c.visit("", "")
		} else {
			token := fmt.Sprintf("%d-%d", number, start.UnixNano())
			err = c.visit(fmt.Sprintf("GET /%d/%s HTTP/1.1\r\nHost: front\r\nConnection: close\r\n\r\n", units, token), token)
		}
		over = l.note(time.Since(start), isLight, err)
	}
}

func (m mixture) next(random *rand.Rand) (units int, isLight bool) {
	if m.Share > 0 && random.Float64() < m.Share {
		return m.Heavy, false
	}
	return m.Light, true
}

// note counts what came of a visit, and returns whether it is over. It is when the load is told so, and not before
// something was counted. An answer that comes later adds to no rate, but how long it took counts, and so does one that
// does not come.
func (l *load) note(took time.Duration, isLight bool, err error) (over bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	switch {
	case err != nil:
		l.totals.Failed++
		l.totals.Error = err.Error()
	default:
		if !l.over {
			l.totals.Answered++
		}
		if isLight {
			_ = l.latency.RecordValue(int64(took))
		}
	}
	if l.told && !l.over {
		l.over, l.totals.Elapsed = true, time.Since(l.begin)
	}
	return l.over
}

// patience is how long a client waits before it counts a request as failed.
const patience = 20 * time.Second

type client struct {
	target, source unix.SockaddrInet4
	random         *rand.Rand
	buffer         []byte
}

// visit makes a connection, sends question, and reads until the other end closes; the answer has to end with token.
// Without a question it waits to be greeted.
func (c *client) visit(question, token string) error {
	fd, err := c.connect()
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	if question == "" {
		return c.readGreeting(fd)
	}
	if _, err := unix.Write(fd, []byte(question)); err != nil {
		return os.NewSyscallError("write", err)
	}
	answer, err := c.readAll(fd)
	switch {
	case err != nil:
		return os.NewSyscallError("read", err)
	case answer == "":
		return io.ErrUnexpectedEOF
	case !strings.HasPrefix(answer, "HTTP/1.1 200 ") || !strings.HasSuffix(answer, "\r\n\r\n"+token):
		return fmt.Errorf("asked for %q, the answer is %q", token, answer)
	}
	return nil
}

// connect makes a blocking socket and connects it.
func (c *client) connect() (fd int, err error) {
	fd, err = unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return -1, os.NewSyscallError("socket", err)
	}
	// Closing it then leaves no TIME_WAIT on either side, or else ports run out.
	err = unix.SetsockoptLinger(fd, unix.SOL_SOCKET, unix.SO_LINGER, &unix.Linger{Onoff: 1})
	wait := unix.NsecToTimeval(int64(patience))
	err = errors.Join(err, unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &wait))
	err = errors.Join(err, unix.SetsockoptInt(fd, unix.IPPROTO_IP, unix.IP_BIND_ADDRESS_NO_PORT, 1))
	err = errors.Join(err, unix.Bind(fd, &c.source))
	if err == nil {
		err = again(func() error { return unix.Connect(fd, &c.target) })
	}
	if err != nil {
		unix.Close(fd)
		return -1, os.NewSyscallError("connect", err)
	}
	return fd, nil
}

func (c *client) readGreeting(fd int) error {
	var k int
	err := again(func() (err error) { k, err = unix.Read(fd, c.buffer[:1]); return err })
	if err == nil && k == 0 {
		err = io.ErrUnexpectedEOF
	}
	return err
}

func (c *client) readAll(fd int) (string, error) {
	for n := 0; n < len(c.buffer); {
		var k int
		err := again(func() (err error) { k, err = unix.Read(fd, c.buffer[n:]); return err })
		if k <= 0 {
			return string(c.buffer[:n]), err
		}
		n += k
	}
	return "", errors.New("the answer is too long")
}

// again makes a system call until no signal, of the runtime's say, interrupts it.
func again(call func() error) error {
	for {
		if err := call(); err != unix.EINTR {
			return err
		}
	}
}
