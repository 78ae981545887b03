"""Passes one descriptor there and back. Arguments and output: suite_linux.go, type program."""

import json
import os
import socket
import sys
import time

what, n = sys.argv[1], int(sys.argv[2])
link = socket.socket(fileno=3)


def give(fd):
    socket.send_fds(link, [b"x"], [fd])
    os.close(fd)


def take():
    return socket.recv_fds(link, 1, 1)[1][0]


def ping():
    fd, took = 5, []
    for _ in range(n):
        start = time.monotonic_ns()
        give(fd)
        fd = take()
        took.append(time.monotonic_ns() - start)
    return {"passed": n, "took": took, "inode": os.fstat(fd).st_ino}


def echo():
    for _ in range(n):
        give(take())
    return {"passed": n}


print("ready", flush=True)
sys.stdin.readline()
print(json.dumps(ping() if what == "ping" else echo()), flush=True)
sys.stdin.read()
