package pass

import (
	"context"
	"fmt"
	"os/exec"
	"slices"
	"strconv"
	"time"

	"example.com/fdpass/bench/compare/peer"
	"example.com/fdpass/bench/compare/process"
	"example.com/fdpass/bench/compare/result"
	"example.com/fdpass/bench/compare/suite"
	"example.com/fdpass/bench/limit"
)

// A program is a contender that is two processes. Both are started with the arguments
//
//	send|receive BATCH TOTAL keep|give SOCKETS
//
// and run as package process says; the sender has the connections to pass as the SOCKETS descriptors from 4 on. It
// passes TOTAL descriptors, BATCH in each message, the connections one after the other and from the first again after
// the last; the receiver takes as many and closes them. Both report an outcome.
type program struct {
	name   string
	role   result.Role
	how    string
	socket int // SOCK_SEQPACKET or SOCK_STREAM

	compared bool // see suite.Contender

	// unable says why the program cannot do a piece of work, or "". nil: it can do all.
	unable func(w work) string

	prepare func(ctx context.Context, shop *peer.Shop) (version string, err error) // nil: nothing to do
	command func(ctx context.Context, args ...string) *exec.Cmd
}

// outcome is what a process reports. Times are of CLOCK_MONOTONIC, which is the same clock in all processes.
type outcome struct {
	Start   int64    `json:"start"`
	End     int64    `json:"end"`
	CPU     int64    `json:"cpu"` // ns, user and system, between start and end
	Passed  int      `json:"passed"`
	Mallocs *uint64  `json:"mallocs"` // nil: not counted
	Inodes  []uint64 `json:"inodes"`  // receiver: of the first descriptors, at least one and at most 8
}

func (p program) contender() suite.Contender {
	var amounts amounts
	return suite.Contender{
		Name: p.name, Role: p.role, How: p.how, Compared: p.compared, Prepare: p.prepare,
		Measure: func(ctx context.Context, c suite.Case, d time.Duration) (suite.Sample, error) {
			if err := p.can(c); err != nil {
				return nil, err
			}
			return amounts.measure(c, d, func(w work, n int) (suite.Sample, error) {
				sent, got, err := p.pass(ctx, w, n, untraced)
				if err != nil {
					return nil, err
				}
				return sampleOf(n, sent, got), nil
			})
		},
		Count: func(ctx context.Context, c suite.Case) (suite.Sample, error) {
			w := c.Work.(work)
			return countCalls(w, func(n int, traced tracer) error {
				_, _, err := p.pass(ctx, w, n, traced)
				return err
			})
		},
	}
}

func (p program) can(c suite.Case) error {
	if p.unable == nil {
		return nil
	}
	if reason := p.unable(c.Work.(work)); reason != "" {
		return suite.Unable(reason)
	}
	return nil
}

// oneOnly is for programs whose library passes a single descriptor with each call.
func oneOnly(w work) string {
	if w.Batch > 1 {
		return "one descriptor per message"
	}
	return ""
}

func sampleOf(n int, sent, got outcome) suite.Sample {
	wall, each := float64(max(sent.End, got.End)-sent.Start), float64(n)
	s := suite.Sample{
		"ns": wall / each, "rate": each / wall * 1e9,
		"sender": float64(sent.CPU) / each, "receiver": float64(got.CPU) / each,
	}
	if sent.Mallocs != nil && got.Mallocs != nil {
		s["mallocs"] = float64(*sent.Mallocs+*got.Mallocs) / each
	}
	return s
}

// pass passes n descriptors, and makes sure that those arrived.
func (p program) pass(ctx context.Context, w work, n int, t tracer) (sent, got outcome, err error) {
	conns, err := sockets.get()
	if err != nil {
		return sent, got, err
	}
	ctx, cancel := context.WithTimeout(ctx, 2*time.Minute) // a program that hangs must not hang the comparison
	defer cancel()
	err = process.Run(p.socket,
		process.Side{Cmd: t(p.start(ctx, "send", w, n)), Files: conns.accepted, Result: &sent},
		process.Side{Cmd: t(p.start(ctx, "receive", w, n)), Result: &got})
	if err == nil {
		err = check(n, sent, got, conns.inodes)
	}
	return sent, got, err
}

func (p program) start(ctx context.Context, what string, w work, n int) *exec.Cmd {
	keep := "keep"
	if w.Give {
		keep = "give"
	}
	return p.command(ctx, what, strconv.Itoa(w.Batch), strconv.Itoa(n), keep, strconv.Itoa(limit.Sockets))
}

// check makes sure that what was sent is what was received.
func check(n int, sent, got outcome, inodes []uint64) error {
	switch {
	case sent.Passed != n:
		return fmt.Errorf("the sender passed %d descriptors of %d", sent.Passed, n)
	case got.Passed != n:
		return fmt.Errorf("the receiver got %d descriptors of %d", got.Passed, n)
	case len(got.Inodes) == 0 || !slices.Equal(got.Inodes, inodes[:min(len(got.Inodes), len(inodes))]):
		return fmt.Errorf("the receiver got inodes %v, the sender has %v", got.Inodes, inodes[:8])
	}
	return nil
}
