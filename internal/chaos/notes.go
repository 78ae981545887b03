//go:build linux

package main

import (
	"encoding/json"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"sync"
	"time"
)

// note is what a front or a worker tells the controller, over a socket: what is written there outlives the writer.
type note struct {
	Kind   string
	At     time.Time
	Worker int      `json:",omitempty"`
	PID    int      `json:",omitempty"` // who it is about, if the front knows a worker by its process only
	Labels []uint64 `json:",omitempty"` // connections
	Count  int      `json:",omitempty"`
	Text   string   `json:",omitempty"`
}

// Kinds of notes.
const (
	noteHello   = "hello"   // both, when they are ready for faults: Worker, 0 for a front, and PID
	noteTaken   = "taken"   // worker: its application was given Labels
	noteRemark  = "remark"  // on Labels: Text
	noteMixed   = "mixed"   // worker: Labels are the tag and the client of one connection, and differ
	noteJoined  = "joined"  // front: a link with Worker or PID
	noteAcked   = "acked"   // front: Worker or PID has acknowledged Labels
	noteLeft    = "left"    // front: the link has ended, Count came back, Text says why
	noteUnborn  = "unborn"  // front: Worker could not be started, Text says why
	noteFailure = "failure" // both: what must not happen: Text
	noteBye     = "bye"     // last, from both: Count leaked, Text says what
)

// order is what the controller tells a child.
type order struct {
	Do     string
	Worker *workerSpec   `json:",omitempty"`
	For    time.Duration `json:",omitempty"`
}

// Orders.
const (
	orderSpawn  = "spawn"  // front: start Worker
	orderLeave  = "leave"  // both: leave in order, and end
	orderRejoin = "rejoin" // worker: leave in order, and dial again
	orderFlap   = "flap"   // worker: open and close descriptors, For so long
)

// line is a child's connection to the controller.
type line struct {
	conn   *net.UnixConn
	orders chan order
	mu     sync.Mutex
	notes  *json.Encoder
}

func controlPath(dir string) string       { return filepath.Join(dir, "control") }
func linkPath(dir, network string) string { return filepath.Join(dir, network) }

// dialLine connects a child to the controller, without which it does not live.
func dialLine(dir string) (*line, error) {
	conn, err := net.DialUnix("unix", nil, &net.UnixAddr{Name: controlPath(dir), Net: "unix"})
	if err != nil {
		return nil, err
	}
	l := &line{conn: conn, orders: make(chan order, 16), notes: json.NewEncoder(conn)}
	go func() {
		for d := json.NewDecoder(conn); ; {
			var o order
			if d.Decode(&o) != nil {
				os.Exit(1)
			}
			l.orders <- o
		}
	}()
	return l, nil
}

func (l *line) hello(worker int) { l.say(note{Kind: noteHello, Worker: worker, PID: os.Getpid()}) }

// say returns when n is written, all of it: whatever happens to this process then, the controller will read it.
func (l *line) say(n note) {
	n.At = time.Now()
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.notes.Encode(n) != nil {
		os.Exit(1)
	}
}

func (l *line) fail(worker int, format string, args ...any) {
	l.say(note{Kind: noteFailure, Worker: worker, Text: fmt.Sprintf(format, args...)})
}
