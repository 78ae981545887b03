//go:build linux

package fastpass

import (
	"errors"
	"os"
	"testing"
	"time"
)

// After the read deadline Recv fails, as documented, whether something has come or not, like any net.Conn.
func TestR2AfterTheDeadlineRecvFailsAlthoughSomethingHasCome(t *testing.T) {
	for _, l := range everyLink {
		for _, dir := range []Direction{Both, RecvOnly} {
			there := l.config()
			there.Direction = dir
			t.Run(l.String()+" "+dir.String(), func(t *testing.T) {
				p, q := link(t, l.config(), there)
				q.SetReadDeadline(time.Now().Add(time.Millisecond))
				if _, err := q.Recv(); !errors.Is(err, os.ErrDeadlineExceeded) {
					t.Fatal(err)
				}
				if err := p.Send(Desc{FD: null(t)}); err != nil {
					t.Fatal(err)
				}
				time.Sleep(50 * time.Millisecond)
				if d, err := q.Recv(); !errors.Is(err, os.ErrDeadlineExceeded) {
					t.Errorf("Recv: %v, %v", d, err)
					CloseFDs([]int{d.FD})
					return
				}
				q.SetReadDeadline(time.Time{})
				takeOne(t, q)
			})
		}
	}
}
