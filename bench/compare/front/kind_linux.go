package front

import (
	"context"
	_ "embed"

	"example.com/fdpass/bench/compare/peer"
	"example.com/fdpass/bench/compare/result"
	"example.com/fdpass/bench/compare/suite"
	"example.com/fdpass/fastpass"
)

// kind is a way from the port to the workers.
type kind struct {
	name     string
	how      string
	rank     result.Role
	source   source            // how the workers get connections
	acceptor string            // the role of the process that accepts; inC: front.c; "": the workers do
	policy   string            // of the pool
	protocol fastpass.Protocol // of its links
}

const (
	inC      = "C"
	withPool = "front: accept with a pool"
	withNet  = "front: accept with package net"
)

var (
	cFront = kind{
		name: "C front", rank: result.Limit, source: bare, acceptor: inC,
		how: "accept4 until the queue is empty, a message for each worker, close_range",
	}
	netFront = kind{
		name: "net.Accept + File + WriteMsgUnix", rank: result.Peer, source: bare, acceptor: withNet,
		how: "package net alone: one connection per message, to each worker in turn",
	}
	reuseport = kind{
		name: "SO_REUSEPORT", rank: result.Peer, source: own,
		how: "no front: each worker listens for itself, the kernel spreads by hash",
	}
	prefork = kind{
		name: "prefork", rank: result.Peer, source: inherited,
		how: "no front: the workers accept from one listening socket, which they have inherited",
	}
)

func pool(name, policy string, s source, p fastpass.Protocol) kind {
	return kind{
		name: name, rank: result.Own, source: s, acceptor: withPool, policy: policy, protocol: p,
		how: "Pool.Serve, " + policy + ", links " + p.String() + "; the workers serve Passer.NetListener",
	}
}

// program is the compiled C front.
type program struct{ path string }

//go:embed front.c
var cSource []byte

// contenderOf returns what all suites say of a kind.
func (p *program) contenderOf(k kind) suite.Contender {
	c := suite.Contender{Name: k.name, Role: k.rank, How: k.how, Compared: k == reuseport || k == goLoop}
	if k.acceptor == inC {
		c.Prepare = func(ctx context.Context, shop *peer.Shop) (version string, err error) {
			if p.path, err = shop.Build(ctx, peer.C, "front.c", cSource); err != nil {
				return "", err
			}
			return peer.VersionOfC(ctx)
		}
	}
	return c
}
