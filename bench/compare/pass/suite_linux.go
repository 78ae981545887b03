// Package pass is the suite "Passing between two processes": one process sends descriptors of TCP connections over a
// Unix socket, another one receives and closes them.
//
// Each measurement is a new pair of processes (process_linux.go says what they have to do); for the contenders in Go
// they are this program in a role (role_linux.go and contender_*_linux.go), the others are the small programs beside.
package pass

import (
	"fmt"
	"math"
	"time"

	"example.com/fdpass/bench/compare/result"
	"example.com/fdpass/bench/compare/suite"
)

const about = `Descriptors of accepted TCP connections go from one process to another, which closes them. *Keeping*: the sender
lends the same 2,048 connections again and again. *Giving away*: it makes a copy of each with dup, passes the copy and
closes it, as a front does with the connections that it accepts.

The time is wall clock, from the first send until both sides are done, over the number of descriptors. CPU time is each process's
own (getrusage). System calls are those of both processes together, counted by strace in separate runs (without nanosleep,
which is Go's timer thread). Allocations are those of both processes together, where the language counts them. Every receiver counts what it
got, and compares the inodes of the first ones with those sent.

*Merging* stands for Send one by one, on a link with the defaults, on which full messages form by themselves: what a user gets who
does not batch. That is not one per message, so it neither wins nor loses.

The C limit puts up to 8 messages into a system call, and with 1 per message makes a call for each one, as the peers do. fastpass is handed
one descriptor at a time then, sends those together that have to wait, and takes what is there, up to 32 messages in a call: "C
limit, 32 messages a call" is C doing that. A dash: there is no way to put that many into one message.`

var (
	perDescriptor = result.Metric{Key: "ns", Name: "ns per descriptor", Chart: true}
	metrics       = []result.Metric{
		perDescriptor,
		{Key: "rate", Name: "descriptors/s", More: true},
		{Key: "sender", Name: "sender CPU ns"},
		{Key: "receiver", Name: "receiver CPU ns"},
		{Key: "calls", Name: "system calls each", Digits: 3},
		{Key: "mallocs", Name: "allocations each", Digits: 3},
	}
)

func cases(quick bool) (all []suite.Case) {
	batches := []int{1, 8, 64, 253}
	if quick {
		batches = []int{1, 253}
	}
	for _, w := range []work{{Give: false}, {Give: true}} {
		group := "keeping"
		if w.Give {
			group = "giving away"
		}
		for _, w.Batch = range batches {
			label := fmt.Sprintf("%d per message", w.Batch)
			all = append(all, suite.Case{
				Case: result.Case{Name: label + ", " + group, Group: group, Label: label, X: float64(w.Batch)},
				Work: w,
			})
		}
	}
	return all
}

// Suite returns the suite. yardstick is the path of another C program to check the C limit with, or "".
func Suite(yardstick string) *suite.Suite {
	s := &suite.Suite{
		Name: "pass", Title: "Passing between two processes", About: about,
		Metrics: metrics, Cases: cases,
		Tools: []string{"strace"},
		Each:  time.Second, Quick: 80 * time.Millisecond,
		Close: sockets.close,
	}
	s.Contenders = append(s.Contenders, theLimit(), theThreadedLimit(), theVectoredLimit())
	if yardstick != "" {
		s.Contenders = append(s.Contenders, theYardstick(yardstick))
		s.Verdicts = agreement
	}
	for _, p := range programs() {
		s.Contenders = append(s.Contenders, p.contender())
	}
	return s
}

// agreement says whether the C limit is what the yardstick is.
func agreement(r *result.Suite) (all []string) {
	for _, c := range r.Cases {
		f, ok := r.Ratio(c.Name, perDescriptor, limitName, yardstickName)
		if !ok {
			continue
		}
		verdict := "within 5%"
		if math.Abs(f.Median-1) > 0.05 {
			verdict = "NOT within 5%"
		}
		all = append(all, fmt.Sprintf("%s: %s at %.3f (%.3f to %.3f) of the rate of %s: %s",
			c.Name, limitName, f.Median, f.Q1, f.Q3, yardstickName, verdict))
	}
	return all
}
