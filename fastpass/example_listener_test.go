//go:build unix

package fastpass_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"

	"example.com/fdpass/fastpass"
)

// A process hands an open file to whoever connects; both ends are in one program here.
func ExampleListen() {
	dir, err := os.MkdirTemp("", "fastpass")
	if err != nil {
		log.Fatal(err)
	}
	defer os.RemoveAll(dir)
	path := filepath.Join(dir, "files.sock")

	l, err := fastpass.Listen(path, nil)
	if err != nil {
		log.Fatal(err)
	}
	defer l.Close()

	served := make(chan struct{})
	go func() {
		defer close(served)
		p, err := l.Accept(context.Background())
		if err != nil {
			log.Fatal(err)
		}
		r, w, err := os.Pipe()
		if err != nil {
			log.Fatal(err)
		}
		fmt.Fprint(w, "hello from the other end")
		w.Close()
		// Keep: r closes its descriptor itself.
		if err := p.Send(fastpass.Desc{FD: int(r.Fd()), Tag: 7, Keep: true}); err != nil {
			log.Fatal(err)
		}
		if err := p.Shutdown(context.Background()); err != nil {
			log.Fatal(err)
		}
		r.Close()
	}()

	p, err := fastpass.Dial(context.Background(), path, nil)
	if err != nil {
		log.Fatal(err)
	}
	defer p.Close()
	d, err := p.Recv()
	if err != nil {
		log.Fatal(err)
	}
	f := os.NewFile(uintptr(d.FD), "received")
	defer f.Close()
	b, err := io.ReadAll(f)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Printf("tag %d: %s\n", d.Tag, b)
	<-served
	// Output: tag 7: hello from the other end
}

// Workers connect to the front under a user of their own.
func ExampleListener_Accept() {
	const www = 33
	cfg := &fastpass.Config{
		Direction: fastpass.SendOnly,
		Authorize: func(c fastpass.Credentials) error {
			if c.UID != www {
				err := fmt.Errorf("process %d runs as user %d", c.PID, c.UID)
				log.Print("refused: ", err)
				return err
			}
			return nil
		},
	}
	l, err := fastpass.Listen("/run/front/workers.sock", cfg)
	if err != nil {
		log.Fatal(err)
	}
	// Mode 0600 lets only this process's user connect: make the socket the workers'.
	if err := os.Chown("/run/front/workers.sock", www, -1); err != nil {
		log.Fatal(err)
	}
	pool, err := fastpass.NewPool(nil)
	if err != nil {
		log.Fatal(err)
	}
	for {
		worker, err := l.Accept(context.Background())
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err != nil {
			log.Fatal(err)
		}
		if err := pool.Add(worker); err != nil {
			log.Print(err)
			worker.Close()
		}
	}
}

// The program starts itself again as a worker, and passes it the connections that it accepts.
func ExampleSpawn() {
	if os.Getenv("FASTPASS_FD") != "" { // the worker
		p, err := fastpass.Inherit(&fastpass.Config{Direction: fastpass.RecvOnly})
		if err != nil {
			log.Fatal(err)
		}
		log.Fatal(http.Serve(p.NetListener(), nil)) // ends with the front, in the middle of requests; the example "worker" does not
	}

	worker := exec.Command(os.Args[0])
	worker.Stderr = os.Stderr
	p, err := fastpass.Spawn(worker, &fastpass.Config{Direction: fastpass.SendOnly})
	if err != nil {
		log.Fatal(err)
	}
	ln, err := net.Listen("tcp", ":8080")
	if err != nil {
		log.Fatal(err)
	}
	pool, err := fastpass.NewPool(nil)
	if err != nil {
		log.Fatal(err)
	}
	if err := pool.Add(p); err != nil {
		log.Fatal(err)
	}
	if err := pool.Serve(ln); err != nil {
		log.Print(err)
	}
	if err := pool.Shutdown(context.Background()); err != nil {
		log.Print(err)
	}
	if err := worker.Wait(); err != nil {
		log.Print(err)
	}
}
