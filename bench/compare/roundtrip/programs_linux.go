package roundtrip

import (
	"context"
	_ "embed"
	"os/exec"

	"example.com/fdpass/bench/compare/peer"
	"example.com/fdpass/bench/compare/result"
	"example.com/fdpass/bench/compare/role"

	"golang.org/x/sys/unix"
)

var (
	//go:embed fdecho.c
	cSource []byte
	//go:embed fdecho.py
	pythonSource []byte
)

const blockingC = "C, blocking"

// programs are the contenders in the order of the tables.
func programs() []program {
	return []program{
		inC(),
		inGo(viaFramed, "fastpass Framed", result.Own, unix.SOCK_SEQPACKET, "Send, Recv; both directions over one link, acknowledged"),
		inGo(viaFramedSpin, "fastpass Framed, Spin", result.Own, unix.SOCK_SEQPACKET, "the same, Recv spins for 50 µs"),
		inGo(viaFramedTwo, "fastpass Framed, two links", result.Own, unix.SOCK_SEQPACKET, "Send, Recv; a link for each direction, acknowledged"),
		inGo(viaFramedTwoSpin, "fastpass Framed, two links, Spin", result.Own, unix.SOCK_SEQPACKET, "the same, Recv spins for 50 µs"),
		inGo(viaBare, "fastpass Bare", result.Own, unix.SOCK_SEQPACKET, "Send, Recv; both directions over one link"),
		inGo(viaBareSpin, "fastpass Bare, Spin", result.Own, unix.SOCK_SEQPACKET, "the same, Recv spins for 50 µs"),
		inGo(viaBareTwo, "fastpass Bare, two links", result.Own, unix.SOCK_SEQPACKET, "Send, Recv; a link for each direction"),
		inGo(viaBareTwoSpin, "fastpass Bare, two links, Spin", result.Own, unix.SOCK_SEQPACKET, "the same, Recv spins for 50 µs"),
		inGVisor(),
		inGo(viaNet, "Go net", result.Peer, unix.SOCK_STREAM, "WriteMsgUnix, ReadMsgUnix with ParseUnixRights, close"),
		inPython(),
	}
}

// inGo is a program that is this one, in a role.
func inGo(w way, name string, of result.Role, socket int, how string) program {
	return program{name: name, role: of, how: how, socket: socket, command: func(ctx context.Context, args ...string) *exec.Cmd {
		return role.Command(ctx, w.role(), args...)
	}}
}

func inGVisor() program {
	p := inGo(viaFDChannel, "gVisor fdchannel", result.Peer, unix.SOCK_SEQPACKET, "SendFD, RecvFD, close")
	p.prepare = func(context.Context, *peer.Shop) (string, error) {
		return peer.VersionOfModule("gvisor.dev/gvisor"), nil
	}
	return p
}

func inC() program {
	var path string
	return program{
		name: blockingC, role: result.Limit, how: "sendmsg, recvmsg, close on a blocking socket", socket: unix.SOCK_SEQPACKET,
		prepare: func(ctx context.Context, shop *peer.Shop) (version string, err error) {
			if version, err = shop.Need(ctx, "gcc", "libc6-dev"); err == nil {
				path, err = shop.Build(ctx, peer.C, "fdecho.c", cSource)
			}
			return version, err
		},
		command: func(ctx context.Context, args ...string) *exec.Cmd { return exec.CommandContext(ctx, path, args...) },
	}
}

func inPython() program {
	var path string
	return program{
		name: "Python", role: result.Peer, how: "socket.send_fds, socket.recv_fds, os.close", socket: unix.SOCK_STREAM,
		prepare: func(ctx context.Context, shop *peer.Shop) (version string, err error) {
			if version, err = peer.VersionOf(ctx, "python3", "--version"); err == nil {
				path, err = shop.Put("fdecho.py", pythonSource)
			}
			return version, err
		},
		command: func(ctx context.Context, args ...string) *exec.Cmd {
			return exec.CommandContext(ctx, "python3", append([]string{path}, args...)...)
		},
	}
}
