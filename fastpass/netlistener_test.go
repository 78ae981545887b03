//go:build unix && !aix

package fastpass

import (
	"io"
	"testing"
	"time"
)

// The client of a connection that a worker has closed reads to its end at once, however long the front takes to close its copy.
func TestClosingAnAcceptedConnectionDoesNotWaitForTheFront(t *testing.T) {
	for _, network := range connNetworks {
		t.Run(network, func(t *testing.T) {
			begun, busy := make(chan struct{}), make(chan struct{})
			front, worker := link(t, &Config{Direction: SendOnly, OnSent: func(d Desc) {
				if d.Tag == 1 {
					close(begun)
					<-busy // and reads no acknowledgement meanwhile
				}
			}}, &Config{Direction: RecvOnly})
			defer close(busy)
			fd, client := connSocket(t, network)
			if n, err := front.SendBatch([]Desc{{FD: null(t), Tag: 1}, {FD: fd}}); n != 2 {
				t.Fatal(err)
			}
			first, err := worker.Recv()
			if err != nil {
				t.Fatal(err)
			}
			CloseFDs([]int{first.FD})
			<-begun
			ln := worker.NetListener()
			c, err := ln.Accept()
			if err != nil {
				t.Fatal(err)
			}
			if err := c.Close(); err != nil {
				t.Error(err)
			}
			if !isOpen(fd) {
				t.Fatal("the front has closed its copy, so this shows nothing")
			}
			_ = client.SetReadDeadline(time.Now().Add(5 * time.Second)) // rather than hang
			if _, err := client.Read(make([]byte, 1)); err != io.EOF {
				t.Errorf("the client reads %v, want io.EOF", err)
			}
		})
	}
}
