package pass

import (
	"context"
	_ "embed"
	"os/exec"
	"strings"

	"example.com/fdpass/bench/compare/peer"
	"example.com/fdpass/bench/compare/result"

	"golang.org/x/sys/unix"
)

// The programs in other languages.
var (
	//go:embed libuv.c
	libuvSource []byte
	//go:embed capnp.cc
	capnpSource []byte
	//go:embed fdpass.py
	pythonSource []byte
	//go:embed fdpass.pl
	perlSource []byte
)

// foreign is a program that get turns into a command line.
func foreign(name, how string, unable func(work) string,
	get func(context.Context, *peer.Shop) (line []string, version string, err error),
) program {
	var line []string
	return program{
		name: name, role: result.Peer, how: how, socket: unix.SOCK_STREAM, unable: unable,
		prepare: func(ctx context.Context, shop *peer.Shop) (version string, err error) {
			line, version, err = get(ctx, shop)
			return version, err
		},
		command: func(ctx context.Context, args ...string) *exec.Cmd {
			return exec.CommandContext(ctx, line[0], append(line[1:len(line):len(line)], args...)...)
		},
	}
}

func libuv(name, how string, flags ...string) program {
	return foreign(name, how, oneOnly,
		func(ctx context.Context, shop *peer.Shop) ([]string, string, error) {
			version, err := shop.Need(ctx, "gcc", "libuv1-dev")
			if err != nil {
				return nil, "", err
			}
			path, err := shop.Build(ctx, peer.C, "libuv"+strings.Join(flags, "")+".c", libuvSource, append(flags, "-luv")...)
			return []string{path}, version, err
		})
}

func capnp() program {
	return foreign("Cap'n Proto kj", "AsyncCapabilityStream: writeWithFds, tryReadWithFds", nil,
		func(ctx context.Context, shop *peer.Shop) ([]string, string, error) {
			version, err := shop.Need(ctx, "g++", "libcapnp-dev")
			if err != nil {
				return nil, "", err
			}
			path, err := shop.Build(ctx, peer.CXX, "capnp.cc", capnpSource, "-std=c++17", "-lkj-async", "-lkj", "-lpthread")
			return []string{path}, version, err
		})
}

func python() program {
	return foreign("Python", "socket.send_fds, socket.recv_fds, os.close", nil,
		func(ctx context.Context, shop *peer.Shop) ([]string, string, error) {
			version, err := peer.VersionOf(ctx, "python3", "--version")
			if err != nil {
				return nil, "", err
			}
			path, err := shop.Put("fdpass.py", pythonSource)
			return []string{"python3", path}, version, err
		})
}

func perl() program {
	return foreign("Perl IO::FDPass", "IO::FDPass::send, IO::FDPass::recv; one with each call", oneOnly,
		func(ctx context.Context, shop *peer.Shop) ([]string, string, error) {
			if _, err := shop.Need(ctx, "libio-fdpass-perl"); err != nil {
				return nil, "", err
			}
			version, err := peer.VersionOf(ctx, "perl", "-MIO::FDPass", "-e", `print "perl $^V, IO::FDPass $IO::FDPass::VERSION"`)
			if err != nil {
				return nil, "", err
			}
			path, err := shop.Put("fdpass.pl", perlSource)
			return []string{"perl", path}, version, err
		})
}
