"""Passes descriptors with socket.send_fds and socket.recv_fds. Arguments and output: process_linux.go, type program."""

import json
import os
import resource
import socket
import sys
import time

what, batch, total, keep, pooled = sys.argv[1:]
batch, total, pooled = int(batch), int(total), int(pooled)
link = socket.socket(fileno=3)


def cpu():
    used = resource.getrusage(resource.RUSAGE_SELF)
    return int((used.ru_utime + used.ru_stime) * 1e9)


def send():
    fds = list(range(4, 4 + pooled)) * 2  # so that each batch is a slice of it
    at = 0
    for _ in range(total // batch):
        some = fds[at : at + batch]
        if keep == "keep":
            socket.send_fds(link, [b"x"], some)
        else:
            copies = [os.dup(fd) for fd in some]
            socket.send_fds(link, [b"x"], copies)
            for fd in copies:
                os.close(fd)
        at = (at + batch) % pooled
    return total, []


def receive():
    passed, inodes = 0, []
    while passed < total:
        _, fds, _, _ = socket.recv_fds(link, 1, batch)
        if not fds:
            sys.exit("a message without descriptors")
        if not inodes:
            inodes = [os.fstat(fd).st_ino for fd in fds[:8]]
        for fd in fds:
            os.close(fd)
        passed += len(fds)
    return passed, inodes


print("ready", flush=True)
sys.stdin.readline()
start, before = time.monotonic_ns(), cpu()
passed, inodes = send() if what == "send" else receive()
end, used = time.monotonic_ns(), cpu() - before
print(json.dumps({"start": start, "end": end, "cpu": used, "passed": passed, "inodes": inodes}), flush=True)
sys.stdin.read()
