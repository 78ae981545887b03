package pass

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"time"

	"example.com/fdpass/bench/compare/peer"
	"example.com/fdpass/bench/compare/result"
	"example.com/fdpass/bench/compare/suite"
	"example.com/fdpass/bench/limit"
)

const (
	limitName     = "C limit"
	threadedName  = "C limit, two threads"
	vectoredName  = "C limit, 32 messages a call"
	yardstickName = "the yardstick"
	likeItName    = "C limit, copies close-on-exec"
)

// theLimit is the project's own C program, which starts both processes and measures by itself.
func theLimit() suite.Contender {
	return limitOf(suite.Contender{
		Name: limitName, Role: result.Limit, How: "sendmmsg, recvmmsg and close_range in C (bench/limit), nothing else",
	}, limit.Options{})
}

// theThreadedLimit is what the kernel leaves of the limit to programs with threads, as all in Go are.
func theThreadedLimit() suite.Contender {
	return limitOf(suite.Contender{
		Name: threadedName, Role: result.Aside, Compared: true,
		How: "the same with a second thread in each process, which sleeps: system calls then count references to files, as in any Go program",
	}, limit.Options{Threaded: true})
}

// theLimitLikeTheYardstick is the limit that copies what it gives away in the yardstick's way. All others copy with dup(2).
func theLimitLikeTheYardstick() suite.Contender {
	return limitOf(suite.Contender{
		Name: likeItName, Role: result.Check,
		How: "the same with F_DUPFD_CLOEXEC for dup(2), as the yardstick copies: only to compare the two",
	}, limit.Options{CloExec: true})
}

// theVectoredLimit is the limit where small messages that wait go into a system call together, as the library's do.
func theVectoredLimit() suite.Contender {
	return limitOf(suite.Contender{
		Name: vectoredName, Role: result.Aside, Compared: true,
		How: "the same, up to 32 messages in each sendmmsg and recvmmsg",
	}, limit.Options{Messages: 32})
}

// limitOf makes c a run of the C program with the options o. If they say how many messages go into a system call it is
// for small ones, and if they say how to copy it is for what is copied.
func limitOf(c suite.Contender, o limit.Options) suite.Contender {
	options := func(w work, n int) limit.Options {
		o := o
		if o.Messages == 0 {
			o.Messages = w.messages()
		}
		o.Batch, o.Total, o.Lend = w.Batch, int64(n), !w.Give
		return o
	}
	var amounts amounts
	c.Prepare = func(ctx context.Context, _ *peer.Shop) (string, error) {
		if _, err := limit.Build(ctx); err != nil {
			return "", err
		}
		return peer.VersionOfC(ctx)
	}
	c.Measure = func(ctx context.Context, c suite.Case, d time.Duration) (suite.Sample, error) {
		if o.Messages != 0 && c.Work.(work).Batch > 8 {
			return nil, suite.Unable("messages of so many gain nothing by it")
		}
		if o.CloExec && !c.Work.(work).Give {
			return nil, suite.Unable("what is lent is not copied")
		}
		return amounts.measure(c, d, func(w work, n int) (suite.Sample, error) {
			r, err := limit.Run(ctx, options(w, n))
			if err == nil && r.Refused > 0 {
				err = fmt.Errorf("the kernel refused %d sends: that is not the limit", r.Refused)
			}
			if err != nil {
				return nil, err
			}
			return suite.Sample{
				"ns": r.NsPerDescriptor, "rate": r.DescriptorsPerSecond, "sender": r.SenderCPUNs, "receiver": r.ReceiverCPUNs,
			}, nil
		})
	}
	c.Count = func(ctx context.Context, c suite.Case) (suite.Sample, error) {
		w := c.Work.(work)
		return countCalls(w, func(n int, traced tracer) error {
			path, err := limit.Build(ctx)
			if err != nil {
				return err
			}
			return traced(exec.CommandContext(ctx, path, options(w, n).Args()...)).Run()
		})
	}
	return c
}

// theYardstick is another C program, by which to check the first one. It takes TYPE BATCH MESSAGES TOTAL pool|dup
// each|range and prints "… descriptors/s, X ns each, sender CPU Y ns each" behind five words.
func theYardstick(source string) suite.Contender {
	var path string
	var amounts amounts
	return suite.Contender{
		Name: yardstickName, Role: result.Check,
		How: source + ": only to check the C limit with",
		Prepare: func(ctx context.Context, shop *peer.Shop) (string, error) {
			text, err := os.ReadFile(source)
			if err != nil {
				return "", err
			}
			path, err = shop.Build(ctx, peer.C, "yardstick.c", text)
			return "", err
		},
		Measure: func(ctx context.Context, c suite.Case, d time.Duration) (suite.Sample, error) {
			return amounts.measure(c, d, func(w work, n int) (suite.Sample, error) {
				from := "pool"
				if w.Give {
					from = "dup"
				}
				args := []string{"seq", strconv.Itoa(w.Batch), strconv.Itoa(w.messages()), strconv.Itoa(n), from, "range"}
				out, err := exec.CommandContext(ctx, path, args...).Output()
				if err != nil {
					return nil, fmt.Errorf("%s: %w", source, err)
				}
				return readYardstick(string(out))
			})
		},
	}
}

func readYardstick(line string) (suite.Sample, error) {
	var kind, b, m, from, closing string
	var rate, ns, cpu float64
	_, err := fmt.Sscanf(line, "%s %s %s %s %s %f descriptors/s, %f ns each, sender CPU %f ns each", &kind, &b, &m, &from, &closing, &rate, &ns, &cpu)
	if err != nil {
		return nil, fmt.Errorf("the yardstick says %q: %w", line, err)
	}
	return suite.Sample{"ns": ns, "rate": rate, "sender": cpu}, nil
}
