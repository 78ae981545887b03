//go:build unix

package fastpass_test

import (
	"context"
	"errors"
	"log"
	"net"
	"os"
	"os/exec"
	"os/signal"
	"syscall"
	"time"

	"example.com/fdpass/fastpass"

	"golang.org/x/sys/unix"
)

const workers = 4

// A front that replaces itself at SIGHUP, by the binary that has its name then. The new front has workers of its own,
// and takes over the listening socket when they are ready: no client is refused, and no connection is lost.
func ExamplePool_replace() {
	var old *fastpass.Passer // the link to the front that this one replaces
	var err error
	if os.Getenv("FASTPASS_FD") != "" {
		if old, err = fastpass.Inherit(&fastpass.Config{Direction: fastpass.RecvOnly}); err != nil { // before a worker is started
			log.Fatal(err)
		}
	}
	pool, err := fastpass.NewPool(&fastpass.PoolConfig{StallTimeout: 5 * time.Second})
	if err != nil {
		log.Fatal(err)
	}
	for range workers {
		cmd := exec.Command("./worker") // as in the example "worker"
		cmd.Stderr = os.Stderr
		worker, err := fastpass.Spawn(cmd, &fastpass.Config{Direction: fastpass.SendOnly})
		if err == nil {
			err = pool.Add(worker)
		}
		if err != nil {
			log.Fatal(err)
		}
		go cmd.Wait()
	}
	var ln net.Listener
	if old != nil {
		ln, err = takeOver(old, pool)
	} else {
		ln, err = net.Listen("tcp", ":8080")
	}
	if err != nil {
		log.Fatal(err)
	}

	hup := make(chan os.Signal, 1)
	signal.Notify(hup, syscall.SIGHUP)
	go func() {
		for range hup {
			if err := handOver(ln.(*net.TCPListener)); err != nil {
				log.Print(err) // this front goes on
				continue
			}
			ln.Close() // this front's descriptor of the socket: the new one has its own
			return
		}
	}()
	if err := pool.Serve(ln); !errors.Is(err, net.ErrClosed) {
		log.Fatal(err)
	}
	if err := pool.Shutdown(context.Background()); err != nil {
		log.Print(err)
	}
}

// takeOver waits until the workers are ready, and then takes the listening socket of the old front, which has accepted
// until now.
func takeOver(old *fastpass.Passer, pool *fastpass.Pool) (net.Listener, error) {
	for began := time.Now(); pool.Stats().Ready < workers; time.Sleep(10 * time.Millisecond) {
		if time.Since(began) > 30*time.Second {
			return nil, errors.New("the workers do not get ready") // the old front goes on
		}
	}
	d, err := old.Recv() // with this the old front's Shutdown returns
	if err != nil {
		return nil, err // the old front has given up, or has ended
	}
	go func() {
		old.Recv() // io.EOF: it has said goodbye
		old.Close()
	}()
	f := os.NewFile(uintptr(d.FD), "listener")
	defer f.Close() // FileListener makes a duplicate
	return net.FileListener(f)
}

// handOver starts the new front and gives it a duplicate of ln. It returns nil when the new front has taken that.
func handOver(ln *net.TCPListener) error {
	cmd := exec.Command(os.Args[0])
	cmd.Stderr = os.Stderr
	link, err := fastpass.Spawn(cmd, &fastpass.Config{Direction: fastpass.SendOnly})
	if err != nil {
		return err
	}
	go cmd.Wait()
	defer link.Close()
	fd, err := duplicate(ln)
	if err != nil {
		return err
	}
	if err := link.Send(fastpass.Desc{FD: fd}); err != nil {
		return errors.Join(err, unix.Close(fd))
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	return link.Shutdown(ctx)
}
