//go:build ignore

// limit measures how fast this kernel passes descriptors from one process to another.
//
// Two processes, one socket pair (or what the options say), and nothing of the library: no ring, no frame, no
// acknowledgement. The sender puts --batch descriptors into each SCM_RIGHTS message and
// --messages messages into each sendmmsg(2); the receiver takes them with recvmmsg(2) and
// closes them. What remains is the kernel's share, and every published figure of the
// library is a ratio to it, measured in the same run.
//
//	cc -O2 -Wall -Wextra -pthread -o limit limit.c && ./limit --help
//
// The build constraint above is for the go command, which would otherwise refuse a C file
// in a package without cgo. limit.go embeds this file and compiles it when it is needed.

#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <netinet/in.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#ifndef SYS_close_range
#define SYS_close_range 436 // Linux 5.9; headers may be older than the kernel
#endif

enum {
	BATCH_MAX = 253,   // SCM_MAX_FD: what one message may carry
	MESSAGES_MAX = 64, // per system call; beyond some 8 nothing is gained
	SOCKETS = 2048,    // connections that the sender passes, over and over
	BODY = 8,          // bytes of data: on SOCK_STREAM a message without any is dropped, descriptors and all
	PAYLOAD_MAX = 4096,
	OPEN_MAX = 1 << 30,
	WORKERS_MAX = 256,
	TABLE = 16 << 10,  // descriptors that the table of a program with threads has room for from the start
	QUEUE_MAX = 256,   // messages that a socket holds by default, whatever they carry (278, in fact)
	SPARE = 64,        // descriptors that a process may have beside the measured ones
	EXIT_USAGE = 2,
};

static const int64_t TOTAL_DEFAULT = 2000000, TOTAL_MAX = 1000000000000;

struct config {
	int type;       // SOCK_SEQPACKET or SOCK_STREAM
	int batch;      // descriptors per message
	int messages;   // messages per system call
	int64_t total;  // descriptors in all, a multiple of batch
	bool give;      // the sender closes a copy of its own after each send, as whoever gives a connection away does
	bool close_run; // close_range(2) over contiguous runs instead of close(2)
	bool json;
	int payload;    // bytes of data per descriptor; 0: BODY per message
	int open;       // descriptors that both processes have open besides
	int workers;    // receivers, each with a socket of its own; they take turns, one system call's worth each
	bool threaded;  // both processes have a second thread, which sleeps
	bool cloexec;   // copies to give away are made close-on-exec, which takes another call than dup(2)
	int in_flight;  // one process sends so many and then receives them, turn about; 0: sender and receivers run beside each other
};

// One system call's worth of messages. The headers point into the other arrays, so a
// vector is filled in place and never moved.
static struct vector {
	struct mmsghdr head[MESSAGES_MAX];
	struct iovec data[MESSAGES_MAX];
	char *body;
	union {
		struct cmsghdr align;
		char bytes[CMSG_SPACE(BATCH_MAX * sizeof(int))];
	} control[MESSAGES_MAX];
} vec;

static int held[MESSAGES_MAX * BATCH_MAX]; // the descriptors of the vector, one after the other
static int sockets[SOCKETS];
static const char *who = "limit";

struct report {
	int64_t cpu; // ns
	int64_t got; // descriptors
};

// ---- endings -------------------------------------------------------------------------

static void __attribute__((noreturn)) fail(const char *what) {
	if (errno)
		fprintf(stderr, "%s: %s: %s\n", who, what, strerror(errno));
	else
		fprintf(stderr, "%s: %s\n", who, what);
	exit(EXIT_FAILURE);
}

static void __attribute__((noreturn, format(printf, 1, 2))) misuse(const char *format, ...) {
	va_list args;
	va_start(args, format);
	fputs("limit: ", stderr);
	vfprintf(stderr, format, args);
	fputs(" (see --help)\n", stderr);
	va_end(args);
	exit(EXIT_USAGE);
}

// ---- clocks --------------------------------------------------------------------------

static int64_t read_clock(clockid_t id) {
	struct timespec t;
	clock_gettime(id, &t);
	return t.tv_sec * INT64_C(1000000000) + t.tv_nsec;
}

static int64_t wall(void) { return read_clock(CLOCK_MONOTONIC); }
static int64_t cpu(void) { return read_clock(CLOCK_PROCESS_CPUTIME_ID); }

// ---- descriptors ---------------------------------------------------------------------

// The system call itself: every descriptor that this program closes was opened by it, so
// a failure is a bug worth stopping for.
static void close_span(int first, int last) {
	if (first == last ? close(first) : syscall(SYS_close_range, first, last, 0))
		fail(errno == ENOSYS ? "close_range(2) needs Linux 5.9; use --close each" : "closing a descriptor");
}

static void close_held(int n, bool in_runs) {
	int first = 0;
	for (int i = 1; i <= n; i++) {
		if (in_runs && i < n && held[i] == held[i - 1] + 1)
			continue;
		close_span(held[first], held[i - 1]);
		first = i;
	}
}

// Raises the soft limit as far as it goes and says so when that is not enough: a full
// table would destroy descriptors on their way in, and the figure would mean nothing.
static void need_descriptors(rlim_t need) {
	struct rlimit r;
	if (getrlimit(RLIMIT_NOFILE, &r))
		fail("getrlimit");
	if (r.rlim_max < need) {
		fprintf(stderr, "limit: needs %ju descriptors, the hard limit is %ju (ulimit -Hn)\n",
			(uintmax_t)need, (uintmax_t)r.rlim_max);
		exit(EXIT_FAILURE);
	}
	r.rlim_cur = r.rlim_max;
	if (setrlimit(RLIMIT_NOFILE, &r))
		fail("setrlimit");
}

// Opens so many descriptors, which get the lowest numbers.
static void fill_table(int count) {
	for (int i = 0; i < count; i++)
		if (open("/dev/null", O_RDONLY | O_CLOEXEC) < 0)
			fail("filling the descriptor table");
}

// Accepted TCP connections, the kind of descriptor that the library is for. Their client
// ends move up to `above`, so that the copies of a giving sender get contiguous numbers.
static void accept_sockets(int above) {
	struct sockaddr_in addr = {.sin_family = AF_INET};
	socklen_t size = sizeof addr;
	addr.sin_addr.s_addr = htonl(INADDR_LOOPBACK);

	int listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (listener < 0 || bind(listener, (struct sockaddr *)&addr, size) ||
	    getsockname(listener, (struct sockaddr *)&addr, &size) || listen(listener, 16))
		fail("listening on loopback");
	for (int i = 0; i < SOCKETS; i++) {
		int client = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
		if (client < 0 || connect(client, (struct sockaddr *)&addr, size))
			fail("connecting over loopback");
		sockets[i] = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
		if (sockets[i] < 0 || fcntl(client, F_DUPFD_CLOEXEC, above) < 0)
			fail("accepting over loopback");
		close(client);
	}
	close(listener);
}

// ---- messages ------------------------------------------------------------------------

static size_t body_of(const struct config *c) { return c->payload ? (size_t)c->payload * c->batch : BODY; }

static void prepare(const struct config *c) {
	size_t body = body_of(c);
	vec.body = malloc(c->messages * body);
	if (!vec.body)
		fail("allocating the messages");
	memset(vec.body, 'x', c->messages * body);
	for (int i = 0; i < c->messages; i++) {
		struct msghdr *h = &vec.head[i].msg_hdr;
		vec.data[i].iov_base = vec.body + i * body;
		vec.data[i].iov_len = body;
		h->msg_iov = &vec.data[i];
		h->msg_iovlen = 1;
		h->msg_control = vec.control[i].bytes;
		h->msg_controllen = CMSG_SPACE(c->batch * sizeof(int));
		struct cmsghdr *cm = CMSG_FIRSTHDR(h);
		cm->cmsg_len = CMSG_LEN(c->batch * sizeof(int));
		cm->cmsg_level = SOL_SOCKET;
		cm->cmsg_type = SCM_RIGHTS;
	}
}

// Gathers the descriptors of the first n messages into held; returns how many there were.
static int gather(int n) {
	int count = 0;
	for (int i = 0; i < n; i++) {
		struct msghdr *h = &vec.head[i].msg_hdr;
		struct cmsghdr *cm = CMSG_FIRSTHDR(h);
		errno = 0;
		if (vec.head[i].msg_len == 0)
			fail("the sender went away");
		if (h->msg_flags & MSG_CTRUNC || !cm || cm->cmsg_level != SOL_SOCKET || cm->cmsg_type != SCM_RIGHTS)
			fail("a message came without all of its descriptors");
		size_t bytes = cm->cmsg_len - CMSG_LEN(0);
		memcpy(held + count, CMSG_DATA(cm), bytes);
		count += bytes / sizeof(int);
	}
	return count;
}

static int64_t receive(int sock, const struct config *c, int64_t total) {
	int64_t got = 0;
	while (got < total) {
		// The kernel cuts msg_controllen back to what it filled; all else stays as prepared.
		for (int i = 0; i < c->messages; i++)
			vec.head[i].msg_hdr.msg_controllen = CMSG_SPACE(c->batch * sizeof(int));
		int n = recvmmsg(sock, vec.head, c->messages, MSG_WAITFORONE | MSG_CMSG_CLOEXEC, NULL);
		if (n < 0) {
			if (errno == EINTR)
				continue;
			fail("recvmmsg");
		}
		int count = gather(n);
		close_held(count, c->close_run);
		got += count;
	}
	return got;
}

// A copy to give away. It stands for a connection that was accepted, so it is made by the cheapest call:
// where there are threads, fcntl(2) counts two more references to the file.
static int copy_of(int fd, const struct config *c) {
	int copy = c->cloexec ? fcntl(fd, F_DUPFD_CLOEXEC, 0) : dup(fd);
	if (copy < 0)
		fail("copying a descriptor");
	return copy;
}

// Fills n messages: with the sockets themselves, or with a fresh copy of each to give away.
static void load(int n, const struct config *c) {
	static unsigned turn;
	for (int i = 0; i < n * c->batch; i++) {
		held[i] = sockets[turn++ % SOCKETS];
		if (c->give)
			held[i] = copy_of(held[i], c);
	}
	for (int i = 0; i < n; i++)
		memcpy(CMSG_DATA(CMSG_FIRSTHDR(&vec.head[i].msg_hdr)), held + i * c->batch, c->batch * sizeof(int));
}

// Returns how often the kernel refused for lack of room. ETOOMANYREFS: without privilege the
// descriptors in flight may not exceed the soft limit, a blocking send fails and nothing announces the end of it.
static int64_t send_loaded(int sock, int n) {
	int64_t refused = 0;
	for (int done = 0; done < n;) {
		int k = sendmmsg(sock, vec.head + done, n - done, MSG_NOSIGNAL);
		if (k >= 0)
			done += k;
		else if (errno == ETOOMANYREFS || errno == ENOBUFS || errno == ENOMEM)
			refused++, sched_yield();
		else if (errno != EINTR)
			fail(errno == EPIPE || errno == ECONNRESET ? "the receiver went away" : "sendmmsg");
	}
	return refused;
}

static int64_t send_all(const int *socks, const struct config *c, int64_t total) {
	int64_t refused = 0, left = total / c->batch;
	for (int turn = 0; left > 0; turn = (turn + 1) % c->workers) {
		int n = left < c->messages ? (int)left : c->messages;
		load(n, c);
		refused += send_loaded(socks[turn], n);
		if (c->give)
			close_held(n * c->batch, c->close_run);
		left -= n;
	}
	return refused;
}

// ---- the two processes ---------------------------------------------------------------

static void *sleep_on(void *unused) {
	for (;;)
		pause();
	return unused;
}

// With a second thread the table of descriptors is shared: every system call then counts a reference to the file that it is
// asked about, up and down. Each process of the Go runtime has several.
//
// The table is made large first: with threads the kernel waits each time that it doubles until no processor can be looking at the
// old one, which would be in the middle of the measurement.
static void start_thread(const struct config *c) {
	pthread_t t;
	if (!c->threaded)
		return;
	close(fcntl(STDERR_FILENO, F_DUPFD_CLOEXEC, TABLE - 1)); // fails where the limit is lower
	if ((errno = pthread_create(&t, NULL, sleep_on, NULL)))
		fail("pthread_create");
}

static void __attribute__((noreturn)) be_receiver(int sock, int go, int result, const struct config *c) {
	char byte;
	struct report r = {0};
	who = "limit: receiver";
	prepare(c);
	start_thread(c);
	fill_table(c->open);
	if (write(result, &r, sizeof r) != sizeof r || read(go, &byte, 1) != 1)
		_exit(EXIT_FAILURE); // the sender failed to start and has said why
	int64_t before = cpu();
	r.got = receive(sock, c, c->total / c->workers);
	r.cpu = cpu() - before;
	_exit(write(result, &r, sizeof r) == sizeof r ? EXIT_SUCCESS : EXIT_FAILURE);
}

static void print(const struct config *c, int64_t elapsed, int64_t sender_cpu, int64_t receiver_cpu, int64_t refused) {
	double n = c->total, each = elapsed / n;
	const char *type = c->type == SOCK_STREAM ? "stream" : "seq", *source = c->give ? "give" : "lend",
		   *closing = c->close_run ? "range" : "each";
	printf(c->json ? "{\"descriptors_per_second\":%.0f,\"ns_per_descriptor\":%.2f,\"sender_cpu_ns\":%.2f,\"receiver_cpu_ns\":%.2f,"
			 "\"refused\":%jd,\"config\":{\"type\":\"%s\",\"batch\":%d,\"messages\":%d,\"total\":%jd,\"source\":\"%s\",\"close\":\"%s\","
			 "\"payload\":%d,\"open\":%d,\"workers\":%d,\"in_flight\":%d,\"threaded\":%s,\"cloexec\":%s}}\n"
		       : "%.0f descriptors/s, %.1f ns each; CPU per descriptor: sender %.1f ns, receiver %.1f ns; refused %jd times\n"
			 "(%s, batch %d, messages %d, total %jd, %s, close %s, payload %d, open %d, workers %d, in flight %d, threaded: %s, cloexec: %s)\n",
	       n * 1e9 / elapsed, each, sender_cpu / n, receiver_cpu / n, (intmax_t)refused, type, c->batch, c->messages,
	       (intmax_t)c->total, source, closing, c->payload, c->open, c->workers, c->in_flight,
	       c->threaded ? "true" : "false", c->cloexec ? "true" : "false");
	if (fflush(stdout) || ferror(stdout))
		fail("writing the result");
}

// Starts the receivers, which write an empty report to result when they are ready, wait for a byte from go, and report, and
// fills in the sender's sockets.
// They start before the connections exist: a receiver's table is as good as empty, as a worker's is.
static void start_receivers(int *socks, const int go[2], const int result[2], const struct config *c) {
	for (int i = 0; i < c->workers; i++) {
		int link[2];
		if (socketpair(AF_UNIX, c->type | SOCK_CLOEXEC, 0, link))
			fail("socketpair");
		pid_t child = fork();
		if (child < 0)
			fail("fork");
		if (child == 0) {
			close(link[0]);
			for (int k = 0; k < i; k++)
				close(socks[k]);
			close(go[1]);
			close(result[0]);
			be_receiver(link[1], go[0], result[1], c);
		}
		close(link[1]);
		socks[i] = link[0];
	}
	close(go[0]);
	close(result[1]);
}

// Adds up the receivers' reports. One that fails says why, and ends without a report.
static struct report collect(int result, int workers) {
	struct report sum = {0}, r;
	for (int i = 0; i < workers; i++) {
		if (read(result, &r, sizeof r) != sizeof r)
			exit(EXIT_FAILURE);
		sum.cpu += r.cpu;
		sum.got += r.got;
	}
	return sum;
}

static void measure_beside(const struct config *c, int above) {
	int socks[WORKERS_MAX], go[2], result[2];
	static const char start_all[WORKERS_MAX];

	if (pipe2(go, O_CLOEXEC) || pipe2(result, O_CLOEXEC))
		fail("pipe2");
	start_receivers(socks, go, result, c);
	prepare(c);
	start_thread(c);
	fill_table(c->open);
	accept_sockets(above);
	collect(result[0], c->workers);

	int64_t start = wall(), before = cpu();
	if (write(go[1], start_all, c->workers) != c->workers)
		fail("starting the receivers");
	int64_t refused = send_all(socks, c, c->total);
	int64_t mine = cpu() - before;
	struct report r = collect(result[0], c->workers);
	int64_t elapsed = wall() - start;
	while (wait(NULL) > 0)
		;
	errno = 0;
	if (r.got != c->total)
		fail("not every descriptor arrived");
	print(c, elapsed, mine, r.cpu, refused);
}

static void measure_turn_about(const struct config *c, int above) {
	int link[2];
	int64_t refused = 0;

	if (socketpair(AF_UNIX, c->type | SOCK_CLOEXEC, 0, link))
		fail("socketpair");
	prepare(c);
	start_thread(c);
	fill_table(c->open);
	accept_sockets(above);

	int64_t start = wall(), before = cpu();
	for (int64_t done = 0; done < c->total; done += c->in_flight) {
		refused += send_all(link, c, c->in_flight);
		receive(link[1], c, c->in_flight);
	}
	print(c, wall() - start, cpu() - before, 0, refused);
}

static void measure(const struct config *c) {
	int flight = c->batch * c->messages, rest = SPARE + c->workers + c->open;
	int above = rest + SOCKETS + (c->give || c->in_flight ? flight : 0);

	need_descriptors(above + SOCKETS > rest + flight ? above + SOCKETS : rest + flight);
	if (c->in_flight)
		measure_turn_about(c, above);
	else
		measure_beside(c, above);
}

// ---- options -------------------------------------------------------------------------

static void help(void) {
	printf("Usage: limit [options]\n"
	       "Measures how fast this kernel passes descriptors from one process to another over\n"
	       "a Unix socket: sendmmsg on one side, recvmmsg and close on the other, no library.\n"
	       "\n"
	       "  --type seq|stream    SOCK_SEQPACKET or SOCK_STREAM (default seq)\n"
	       "  --batch N            descriptors per message, 1 to %d (default %d)\n"
	       "  --messages N         messages per system call, 1 to %d (default 8)\n"
	       "  --total N            descriptors to pass, rounded up to whole messages (default %jd)\n"
	       "  --give               the sender copies each descriptor and closes the copy once it\n"
	       "                       is sent, as when connections are given away (default)\n"
	       "  --lend               the sender passes %d sockets that it keeps: no copying, no closing\n"
	       "  --close each|range   close(2) one by one, or close_range(2) over contiguous runs;\n"
	       "                       receiver, and sender with --give (default range)\n"
	       "  --payload N          bytes of data with each descriptor, 1 to %d (default: %d per\n"
	       "                       message; seq only)\n"
	       "  --open N             descriptors that both processes have open besides (default 0)\n"
	       "  --workers N          receivers, 1 to %d, that get a system call's worth in turn\n"
	       "                       (default 1; total is rounded up to whole turns)\n"
	       "  --in-flight N        one process sends N, in at most %d messages, and then receives\n"
	       "                       them, turn about (default: two processes)\n"
	       "  --threaded           both processes have a second thread, which sleeps, as every process of\n"
	       "                       the Go runtime has: system calls then count references to files\n"
	       "  --cloexec            the sender's copies are made with F_DUPFD_CLOEXEC, which costs more\n"
	       "                       (default: dup(2))\n"
	       "  --json               one JSON object on one line instead of text\n"
	       "  --help               this text\n"
	       "\n"
	       "The JSON object:\n"
	       "  descriptors_per_second, ns_per_descriptor   wall clock, first send to last close\n"
	       "  sender_cpu_ns, receiver_cpu_ns              CPU time of each process per descriptor\n"
	       "  refused   sends that the kernel refused for lack of room and that were repeated\n"
	       "            (ETOOMANYREFS without privilege; not 0: the figure is not the limit)\n"
	       "  config    {type, batch, messages, total, source, close, payload, open, workers, in_flight,\n"
	       "            threaded, cloexec}\n"
	       "\n"
	       "Exit status: 0 measured, 1 could not be measured, 2 bad option.\n",
	       BATCH_MAX, BATCH_MAX, MESSAGES_MAX, (intmax_t)TOTAL_DEFAULT, SOCKETS, PAYLOAD_MAX, BODY, WORKERS_MAX, QUEUE_MAX);
}

static int64_t number(const char *option, const char *text, int64_t max) {
	char *end;
	errno = 0;
	long long v = strtoll(text, &end, 10);
	if (errno || end == text || *end || v < 1 || v > max)
		misuse("--%s takes a number from 1 to %jd, not \"%s\"", option, (intmax_t)max, text);
	return v;
}

// True for the second of two words; anything else is misuse.
static bool choice(const char *option, const char *text, const char *first, const char *second) {
	if (strcmp(text, first) && strcmp(text, second))
		misuse("--%s takes %s or %s, not \"%s\"", option, first, second, text);
	return strcmp(text, second) == 0;
}

static int64_t round_up(int64_t n, int64_t unit) { return (n + unit - 1) / unit * unit; }

static struct config parse(int argc, char **argv) {
	enum { TYPE = 1, BATCH, MESSAGES, TOTAL, GIVE, LEND, CLOSE, PAYLOAD, OPEN, WORKERS, IN_FLIGHT, THREADED, CLOEXEC, JSON, HELP };
	static const struct option options[] = {
		{"type", required_argument, NULL, TYPE},   {"batch", required_argument, NULL, BATCH},
		{"messages", required_argument, NULL, MESSAGES}, {"total", required_argument, NULL, TOTAL},
		{"give", no_argument, NULL, GIVE},         {"lend", no_argument, NULL, LEND},
		{"close", required_argument, NULL, CLOSE}, {"json", no_argument, NULL, JSON},
		{"payload", required_argument, NULL, PAYLOAD}, {"open", required_argument, NULL, OPEN},
		{"workers", required_argument, NULL, WORKERS}, {"in-flight", required_argument, NULL, IN_FLIGHT},
		{"threaded", no_argument, NULL, THREADED}, {"cloexec", no_argument, NULL, CLOEXEC},
		{"help", no_argument, NULL, HELP},
		{0},
	};
	struct config c = {.type = SOCK_SEQPACKET, .batch = BATCH_MAX, .messages = 8, .total = TOTAL_DEFAULT, .give = true, .close_run = true, .workers = 1};
	bool give = false, lend = false;

	// _only: there are no letters to cluster, and a wrong "-xy" is named as it was written.
	for (int o; (o = getopt_long_only(argc, argv, ":", options, NULL)) != -1;) {
		switch (o) {
		case TYPE: c.type = choice("type", optarg, "seq", "stream") ? SOCK_STREAM : SOCK_SEQPACKET; break;
		case BATCH: c.batch = number("batch", optarg, BATCH_MAX); break;
		case MESSAGES: c.messages = number("messages", optarg, MESSAGES_MAX); break;
		case TOTAL: c.total = number("total", optarg, TOTAL_MAX); break;
		case GIVE: give = true; break;
		case LEND: lend = true; break;
		case CLOSE: c.close_run = choice("close", optarg, "each", "range"); break;
		case PAYLOAD: c.payload = number("payload", optarg, PAYLOAD_MAX); break;
		case OPEN: c.open = number("open", optarg, OPEN_MAX); break;
		case WORKERS: c.workers = number("workers", optarg, WORKERS_MAX); break;
		case IN_FLIGHT: c.in_flight = number("in-flight", optarg, QUEUE_MAX * BATCH_MAX); break;
		case THREADED: c.threaded = true; break;
		case CLOEXEC: c.cloexec = true; break;
		case JSON: c.json = true; break;
		case HELP: help(); exit(EXIT_SUCCESS);
		case ':': misuse("%s needs a value", argv[optind - 1]);
		default: misuse("bad option \"%s\"", argv[optind - 1]);
		}
	}
	if (optind < argc)
		misuse("unexpected argument \"%s\"", argv[optind]);
	if (give && lend)
		misuse("--give and --lend exclude each other");
	c.give = !lend;
	if (lend && c.cloexec)
		misuse("--cloexec is for copies, and --lend makes none");
	if (c.payload && c.type == SOCK_STREAM)
		misuse("--payload needs messages that stay whole: --type seq");
	if (c.in_flight && c.workers > 1)
		misuse("--in-flight is for one receiver");
	c.in_flight = round_up(c.in_flight, c.batch);
	if (c.in_flight / c.batch > QUEUE_MAX)
		misuse("--in-flight %d would be %d messages, and a socket holds %d", c.in_flight, c.in_flight / c.batch, QUEUE_MAX);
	c.total = round_up(c.total, c.in_flight ? c.in_flight : c.workers > 1 ? c.batch * c.messages * c.workers : c.batch);
	return c;
}

int main(int argc, char **argv) {
	struct config c = parse(argc, argv);
	signal(SIGPIPE, SIG_IGN); // a reader that left is an error to report, not a silent death
	measure(&c);
	return EXIT_SUCCESS;
}
