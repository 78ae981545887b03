//go:build unix && race

package fastpass

import (
	"bytes"
	"os"
	"testing"
	"time"
)

func init() { roles["race for the buffer of a Conn"] = raceForBuffer }

// raceForBuffer writes to a slice that a Read beside it fills: the race detector ends it.
func raceForBuffer() {
	t := new(testing.T)
	fd, peer := connSocket(t, "tcp4")
	c, err := NewConn(Desc{FD: fd})
	must(err)
	b := make([]byte, 16)
	done := make(chan struct{})
	go func() {
		c.Read(b)
		close(done)
	}()
	b[3] = 1
	time.Sleep(20 * time.Millisecond)
	peer.Write(make([]byte, 16))
	<-done
	os.Exit(0)
}

func TestTheRaceDetectorSeesTheBufferOfARead(t *testing.T) {
	cmd := childCommand(t, "race for the buffer of a Conn", nil)
	var errs bytes.Buffer
	cmd.Stderr = &errs
	if err := cmd.Run(); err == nil || !bytes.Contains(errs.Bytes(), []byte("DATA RACE")) {
		t.Errorf("no race: %v, %s", err, &errs)
	}
}
