// Package pass is the suite "Passing between two processes": one process sends descriptors of TCP connections over a
// Unix socket, another one receives and closes them.
//
// Each measurement is a new pair of processes (process_linux.go says what they have to do); for the contenders in Go
// they are this program in a role (role_linux.go and way_*_linux.go), the others are the small programs beside.
package pass

import (
	"fmt"
	"math"
	"slices"
	"time"

	"example.com/fdpass/bench/compare/result"
	"example.com/fdpass/bench/compare/suite"
)

const about = `Descriptors of accepted TCP connections go from one process to another, which closes them. *Keeping*: the sender
lends the same 2,048 connections again and again. *Giving away*: it makes a copy of each with dup(2), passes the copy
and closes it, as a front does with the connections that it accepts.

The time is wall clock, from the first send until both sides are done, over the number of descriptors. CPU time is each process's
own. System calls are those of both processes together, counted in separate runs (without nanosleep,
which is Go's timer thread): by perf, or, where it may not, by strace, which slows down who makes many, so that less merges. Allocations are those of both processes together, where the language counts them, with what
the first use and the end of a link take, which does not grow with what passes. Every receiver counts what it
got, and the inodes of the first ones are compared with those sent (not in the C limit, which starts its own).

*Merging* stands for Send one by one, on a link with the defaults, on which full messages form by themselves: what a user gets who
does not batch. That is not one per message, so it neither wins nor loses.

The C limit puts up to 8 messages into a system call, no more than 512 descriptors if it gives them away (they are copies of 2,048 sockets,
to which both sides write), and with 1 per message makes a call for each one, as the peers do. fastpass is handed as many; if
one descriptor at a time, it sends those together that have to wait, and takes what is there, up to 32 messages in a call: "C
limit, 32 messages a call" is C doing that. Its window has 16,384 descriptors where they are lent, the default of a process that may open
32,768; with copies it has what the limit here leaves room for. What is written in Go begins with a table of 16,384 descriptors, as does the C limit
with two threads: the kernel has a process with threads wait, 5 to 32 ms here, each time that its table doubles, which is no part of passing.
A dash: there is no way to put that many into one message.`

var (
	perDescriptor = result.Metric{Key: "ns", Name: "ns per descriptor", Chart: true}
	metrics       = []result.Metric{
		perDescriptor,
		{Key: "rate", Name: "descriptors/s", More: true},
		{Key: "sender", Name: "sender CPU ns"},
		{Key: "receiver", Name: "receiver CPU ns"},
		{Key: systemCalls, Name: "system calls each", Digits: 3},
		{Key: "mallocs", Name: "allocations each", Digits: 3},
	}
)

const givingAway = "giving away" // the group

func cases(quick bool) (all []suite.Case) {
	batches := []int{1, 8, 64, 253}
	if quick {
		batches = []int{1, 253}
	}
	for _, w := range []work{{Give: false}, {Give: true}} {
		group := "keeping"
		if w.Give {
			group = givingAway
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
		Files: need,
		Each:  600 * time.Millisecond, Quick: 80 * time.Millisecond,
		Turns: 6,
		Close: sockets.close, Verdicts: verdicts,
	}
	s.Contenders = append(s.Contenders, theLimit(), theThreadedLimit(), theVectoredLimit())
	if yardstick != "" {
		s.Contenders = append(s.Contenders, theLimitLikeTheYardstick(), theYardstick(yardstick))
	}
	for _, p := range programs() {
		s.Contenders = append(s.Contenders, p.contender())
	}
	return s
}

// LimitSuite returns a suite for the C limit and its yardstick alone, of which many rounds are soon measured.
func LimitSuite(yardstick string) *suite.Suite {
	s := &suite.Suite{
		Name: "limit", Title: "The C limit", About: aboutLimit,
		Metrics: []result.Metric{perDescriptor}, Cases: cases,
		Files: need,
		Each:  400 * time.Millisecond, Quick: 80 * time.Millisecond,
		Turns:      4,
		Contenders: []suite.Contender{theLimit(), theThreadedLimit(), theVectoredLimit()},
		Verdicts:   agreement,
	}
	if yardstick != "" {
		s.Contenders = append(s.Contenders, theLimitLikeTheYardstick(), theYardstick(yardstick))
	}
	return s
}

const aboutLimit = `The C program of bench/limit alone, in the work of the suite pass, and beside it, with --yardstick, another one by which to check it.`

// verdicts say whether the C limit is what the yardstick is, if there is one, and whether the targets are met.
func verdicts(r *result.Suite) (all []string) {
	all = agreement(r)
	say := func(caseName, of, than string, target float64) {
		f, ok := r.Ratio(caseName, perDescriptor, of, than)
		if !ok {
			return
		}
		verdict := "."
		if target > 0 {
			verdict = fmt.Sprintf("; the target, %.2f, is %s.", target, f.AtLeast(target))
		}
		all = append(all, fmt.Sprintf("%s, %s: %.2f (%.2f to %.2f) of the rate of %s%s", caseName, of, f.Median, f.Q1, f.Q3, than, verdict))
	}
	for _, g := range r.Groups() {
		full := "253 per message, " + g
		say(full, bareName, limitName, 0.90)
		say(full, framedName, limitName, 0.85)
		say(full, bareName, threadedName, 0)
		say(full, framedName, threadedName, 0)
		single := "1 per message, " + g
		say(single, bareName, limitName, 0.95)
		say(single, bareName, vectoredName, 0)
		say(single, bareName, fdchannelName, 1)
		say(single, framedName, limitName, 0)
		say(single, framedName, fdchannelName, 0)
	}
	for _, g := range r.Groups() {
		if text := againstPeers(r, g); text != "" {
			all = append(all, text)
		}
	}
	if slices.ContainsFunc(r.Cells, wereCalls) {
		all = append(all, "System calls were counted by "+counter()+".")
	}
	return all
}

// wereCalls reports whether system calls were counted: not in a quick run, nor without a program that can.
func wereCalls(c result.Cell) bool { return len(c.Figures[systemCalls].Samples) > 0 }

// againstPeers compares the best of the library with the best peer, each with as many per message as suits it best.
func againstPeers(r *result.Suite, group string) string {
	best := func(role result.Role) (name string, ns result.Figure) {
		for _, c := range r.InGroup(group) {
			if of, f, ok := r.Best(c.Name, perDescriptor, role); ok && (ns.Median == 0 || f.Median < ns.Median) {
				name, ns = of, f
			}
		}
		return name, ns
	}
	for _, c := range r.Cells { // the best of those that are left is no measure
		of := r.Contenders[slices.IndexFunc(r.Contenders, func(of result.Contender) bool { return of.Name == c.Contender })]
		at := slices.ContainsFunc(r.InGroup(group), func(at result.Case) bool { return at.Name == c.Case })
		if at && c.Failed != "" && (of.Role == result.Peer || of.Role == result.Limit) {
			return fmt.Sprintf("%s, each at its best: not said, for %s failed at %s.", group, c.Contender, c.Case)
		}
	}
	own, ours := best(result.Own)
	peer, theirs := best(result.Peer)
	_, limit := best(result.Limit)
	if ours.Median == 0 || theirs.Median == 0 || limit.Median == 0 {
		return ""
	}
	f := result.Quotient(theirs, ours)
	c := result.Quotient(theirs, limit)
	return fmt.Sprintf("%s, each at its best: %s passes %.2f (%.2f to %.2f) times what %s does, the C limit %.2f (%.2f to %.2f) times; the target, 1.5, is %s.",
		group, own, f.Median, f.Q1, f.Q3, peer, c.Median, c.Q1, c.Q3, f.AtLeast(1.5))
}

// agreement says whether the C limit is what the yardstick is.
func agreement(r *result.Suite) (all []string) {
	for _, c := range r.Cases {
		of := limitName
		if c.Group == givingAway {
			of = likeItName
		}
		f, ok := r.Ratio(c.Name, perDescriptor, of, yardstickName)
		if !ok {
			continue
		}
		verdict := "within 5%"
		if math.Abs(f.Median-1) > 0.05 {
			verdict = "NOT within 5%"
		}
		all = append(all, fmt.Sprintf("%s: %s at %.3f (%.3f to %.3f) of the rate of %s: %s",
			c.Name, of, f.Median, f.Q1, f.Q3, yardstickName, verdict))
	}
	return all
}
