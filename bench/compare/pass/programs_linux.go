package pass

import (
	"context"
	"errors"
	"os/exec"

	"example.com/fdpass/bench/compare/peer"
	"example.com/fdpass/bench/compare/result"
	"example.com/fdpass/bench/compare/role"

	"golang.org/x/sys/unix"
)

// What the verdicts name.
const (
	bareName      = "fastpass Bare"
	framedName    = "fastpass Framed"
	fdchannelName = "gVisor fdchannel"
)

// programs are the contenders that are pairs of processes, in the order of the tables.
func programs() []program {
	all := []program{
		inGo(viaBare, bareName, result.Own, unix.SOCK_SEQPACKET, "SendBatch, RecvBatch, CloseFDs; plain SCM_RIGHTS, no acknowledgement"),
		inGo(viaFramed, framedName, result.Own, unix.SOCK_SEQPACKET, "SendBatch, RecvBatch, CloseFDs; acknowledged, none lost"),
		compared(inGo(viaFramedTagged, "fastpass Framed, tags", result.Aside, unix.SOCK_SEQPACKET, "the same, each descriptor with a tag")),
		merging(inGo(viaBareMerging, "fastpass Bare, merging", result.Aside, unix.SOCK_SEQPACKET, "Send one by one with the defaults: batches form by themselves")),
		merging(inGo(viaFramedMerging, "fastpass Framed, merging", result.Aside, unix.SOCK_SEQPACKET, "Send one by one with the defaults: batches form by themselves")),
		portable(viaBare, "fastpass Bare, portable"),
		portable(viaFramed, "fastpass Framed, portable"),
		ofModule("gvisor.dev/gvisor", inGo(viaUnet, "gVisor unet", result.Peer, unix.SOCK_SEQPACKET, "PackFDs and WriteVec, EnableFDs, ReadVec and ExtractFDs")),
		compared(ofModule("gvisor.dev/gvisor", inGo(viaFDChannel, fdchannelName, result.Peer, unix.SOCK_SEQPACKET, "SendFD, RecvFD"))),
		ofModule("golang.org/x/sys", inGo(viaSys, "x/sys", result.Peer, unix.SOCK_SEQPACKET, "unix.Sendmsg with UnixRights, unix.Recvmsg with ParseUnixRights")),
		inGo(viaNet, "Go net", result.Peer, unix.SOCK_STREAM, "TCPConn.File and UnixConn.WriteMsgUnix, ReadMsgUnix with ParseUnixRights"),
		inGo(viaNetControl, "Go net, no File", result.Peer, unix.SOCK_STREAM, "the same with SyscallConn and Control in place of File; gives away the benchmark's copies, as x/sys does"),
		libuv("libuv", "uv_write2, uv_accept; one handle with each write, 64 under way"),
		libuv("libuv, type not asked", "the same, but takes it for granted that a TCP handle comes: no uv_pipe_pending_type", "-DUNTYPED"),
		compared(capnp()), python(), perl(),
	}
	return all
}

// inGo is a program that is this one, in a role.
func inGo(w way, name string, of result.Role, socket int, how string) program {
	return program{
		name: name, role: of, how: how, socket: socket, unable: w.unable,
		command: func(ctx context.Context, args ...string) *exec.Cmd { return role.Command(ctx, w.role(), args...) },
	}
}

// portable is a program that is this one built with -tags fdpass_portable, in a role.
func portable(w way, name string) program {
	var binary string
	p := inGo(w, name, result.Own, unix.SOCK_SEQPACKET, "the same in the build for other systems: sendmsg, recvmsg, close")
	p.prepare = func(_ context.Context, shop *peer.Shop) (string, error) {
		if binary = shop.Portable; binary == "" {
			return "", errors.New("there is no build with -tags fdpass_portable beside this one; make compare builds both")
		}
		return "", nil
	}
	p.command = func(ctx context.Context, args ...string) *exec.Cmd {
		return role.CommandOf(ctx, binary, w.role(), args...)
	}
	return p
}

// merging restricts p to the case of single descriptors. As it does not hand them to the kernel one by one, it neither
// wins nor loses there.
func merging(p program) program {
	p.unable = oneOnly
	return p
}

// compared has p measured in turns with the others that a target is about.
func compared(p program) program {
	p.compared = true
	return p
}

// ofModule makes the version of p that of a Go module.
func ofModule(path string, p program) program {
	p.prepare = func(context.Context, *peer.Shop) (string, error) { return peer.VersionOfModule(path), nil }
	return p
}
