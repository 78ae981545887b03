//go:build linux

package fastpass

import (
	"errors"
	"net"
	"testing"
	"time"
)

func TestNeverFullBesideClose(t *testing.T) {
	for _, how := range []string{"TrySend", "Push"} {
		t.Run(how, func(t *testing.T) {
			for i := range 500 {
				p, q := pairOf(t, &Config{Window: 1 << 16}, nil)
				done := make(chan error)
				go func() {
					for n := 0; ; n++ {
						var err error
						if how == "Push" {
							err = p.Push(Desc{FD: 0, Keep: true})
						} else {
							err = p.TrySend(Desc{FD: 0, Keep: true})
						}
						if err != nil {
							if errors.Is(err, ErrFull) && n >= 1<<16-100 {
								err = nil
							}
							done <- err
							return
						}
					}
				}()
				time.Sleep(time.Duration(i%100) * time.Microsecond)
				p.Close()
				if err := <-done; errors.Is(err, ErrFull) {
					t.Fatalf("round %d: %v, and the link is closed", i, err)
				} else if err != nil && !errors.Is(err, net.ErrClosed) {
					t.Fatal(err)
				}
				q.Close()
			}
		})
	}
}
