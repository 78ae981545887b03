package fastpass

import (
	"io"
	"testing"

	"example.com/fdpass/internal/sys"
)

// Whatever empty messages a peer leaves behind, what it has sent after them arrives, though the peer is gone.
func TestEmptyMessagesBeforeTheEndHideNothing(t *testing.T) {
	tight := &spaciousKernel{Kernel: sys.System}
	tight.free.Store(10)
	for name, k := range map[string]sys.Kernel{"room": sys.System, "tight": tight} {
		for _, script := range []string{"0d", "00d", "d00d", "000d", "0000000000d"} {
			t.Run(name+" "+script, func(t *testing.T) {
				if k == tight && sys.Implementation == "sendmsg/recvmsg" {
					t.Skip("without MSG_PEEK nothing comes into a table that has no room for the largest message")
				}
				noLeaks(t)
				p, r := bareOn(t, k, Config{})
				n := 0
				for _, c := range script {
					if c == '0' {
						r.send(nil, 0)
					} else {
						r.send([]byte("d"), 1)
						n++
					}
				}
				r.close()
				soon(t, "all arrive", func() {
					ds, err := recvN(p, n, 1)
					if err != nil {
						t.Error(err)
					}
					CloseFDs(fdsOf(ds))
					if d, err := p.Recv(); err != io.EOF {
						t.Errorf("Recv: %v, %v, want %v", d, err, io.EOF)
					}
				})
			})
		}
	}
}
