//go:build ignore

// The limit for a front: it accepts connections and passes them to worker processes, and does nothing else and nothing
// of it in a library. accept4 until the queue is empty or a message full, one message with SCM_RIGHTS to each worker
// that gets some of them (in turn, connection by connection), close_range over the copies.
//
//	front WORKERS
//
// Descriptors: 3, a seqpacket socket over which orders come, and 4, the listening socket, non-blocking. An order that
// brings a descriptor makes it the link of the worker whose number is the message's byte; the link it replaces is closed,
// which tells that worker to finish. An order without one is answered with {"cpu_ns", "passed", "messages"}. The end of
// the orders ends the program. Accepting begins when every worker has a link.
#define _GNU_SOURCE
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

enum {
	ORDERS = 3,
	LISTENER = 4,
	BATCH = 253, // the kernel's limit per message
	WORKERS_MAX = 256,
};

static int links[WORKERS_MAX], workers, linked;
static int64_t passed, messages;
static int accepted[BATCH];

static union {
	struct cmsghdr head;
	char bytes[CMSG_SPACE(BATCH * sizeof(int))];
} control;

static void __attribute__((noreturn)) fail(const char *what) {
	fprintf(stderr, "C front: %s: %s\n", what, strerror(errno));
	exit(EXIT_FAILURE);
}

static struct msghdr message(struct iovec *data) {
	return (struct msghdr){.msg_iov = data, .msg_iovlen = 1, .msg_control = control.bytes, .msg_controllen = sizeof control};
}

static void answer(void) {
	struct timespec t;
	char text[128];
	clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
	int n = snprintf(text, sizeof text, "{\"cpu_ns\":%jd,\"passed\":%jd,\"messages\":%jd}",
		(intmax_t)t.tv_sec * 1000000000 + t.tv_nsec, (intmax_t)passed, (intmax_t)messages);
	if (send(ORDERS, text, n, MSG_NOSIGNAL) < 0)
		fail("answering an order");
}

static void obey(void) {
	unsigned char slot;
	struct iovec data = {&slot, 1};
	struct msghdr m = message(&data);
	ssize_t n = recvmsg(ORDERS, &m, MSG_CMSG_CLOEXEC);
	if (n < 0)
		fail("reading an order");
	if (n == 0)
		exit(EXIT_SUCCESS);
	struct cmsghdr *c = CMSG_FIRSTHDR(&m);
	if (!c) {
		answer();
		return;
	}
	if (links[slot])
		close(links[slot]);
	else
		linked++;
	memcpy(&links[slot], CMSG_DATA(c), sizeof(int));
}

static int accept_waiting(void) {
	int n = 0;
	while (n < BATCH) {
		int fd = accept4(LISTENER, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
		if (fd >= 0)
			accepted[n++] = fd;
		else if (errno == EAGAIN)
			break;
		else if (errno != ECONNABORTED && errno != EINTR)
			fail("accept4");
	}
	return n;
}

// Sends the worker every connection from the first on that is its own: each in turn gets one.
static void pass(int worker, int first, int n) {
	struct iovec data = {"", 1};
	struct msghdr m = message(&data);
	int *fds = (int *)CMSG_DATA(&control.head), count = 0;
	for (int i = first; i < n; i += workers)
		fds[count++] = accepted[i];
	control.head = (struct cmsghdr){CMSG_LEN(count * sizeof(int)), SOL_SOCKET, SCM_RIGHTS};
	m.msg_controllen = CMSG_SPACE(count * sizeof(int));
	while (sendmsg(links[worker], &m, MSG_NOSIGNAL) < 0) {
		if (errno != EINTR)
			fail("passing connections");
	}
	messages++;
}

static void close_runs(int n) {
	for (int i = 0, end; i < n; i = end) {
		for (end = i + 1; end < n && accepted[end] == accepted[end - 1] + 1; end++)
			;
		if (end - i == 1 ? close(accepted[i]) : syscall(SYS_close_range, accepted[i], accepted[end - 1], 0))
			fail("closing");
	}
}

int main(int argc, char **argv) {
	workers = argc == 2 ? atoi(argv[1]) : 0;
	if (workers < 1 || workers > WORKERS_MAX) {
		fprintf(stderr, "usage: front WORKERS (1 to %d)\n", WORKERS_MAX);
		return 2;
	}
	int turn = 0;
	for (;;) {
		struct pollfd ready[] = {{.fd = LISTENER, .events = POLLIN}, {.fd = ORDERS, .events = POLLIN}};
		bool open = linked == workers;
		if (poll(ready + !open, 1 + open, -1) < 0 && errno != EINTR)
			fail("poll");
		if (ready[1].revents)
			obey();
		if (!ready[0].revents)
			continue;
		int n = accept_waiting();
		for (int i = 0; i < n && i < workers; i++)
			pass((turn + i) % workers, i, n);
		close_runs(n);
		turn = (turn + n) % workers;
		passed += n;
	}
}
