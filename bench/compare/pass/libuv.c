//go:build ignore

// Passes TCP handles with libuv: uv_write2 on an IPC pipe, one handle with each write; uv_accept on the other side.
// Arguments and output: process_linux.go, type program. (The line above is for the go command.)

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>
#include <uv.h>

enum { LINK = 3, FIRST = 4, WRITES = 64, CHECKED = 8 }; // WRITES: requests that are under way at the same time

struct passing {
	uv_write_t write;
	uv_tcp_t *handle;
};

static uv_loop_t *loop;
static uv_pipe_t pipe_;
static uv_tcp_t *lent; // opened once
static struct passing requests[WRITES];
static int total, give, pooled, begun, passed, checked;
static unsigned long inodes[CHECKED];

static void must(int status, const char *what) {
	if (status < 0) {
		fprintf(stderr, "libuv: %s: %s\n", what, uv_strerror(status));
		exit(1);
	}
}

static int64_t wall(void) {
	struct timespec t;
	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec * INT64_C(1000000000) + t.tv_nsec;
}

static int64_t cpu(void) {
	struct rusage u;
	getrusage(RUSAGE_SELF, &u);
	return (u.ru_utime.tv_sec + u.ru_stime.tv_sec) * INT64_C(1000000000) + (u.ru_utime.tv_usec + u.ru_stime.tv_usec) * INT64_C(1000);
}

static void release(uv_handle_t *handle) { free(handle); }

static uv_tcp_t *copy_of(int fd) {
	uv_tcp_t *handle = malloc(sizeof *handle);
	int copied = dup(fd);
	if (!handle || copied < 0)
		must(-1, "copying a descriptor");
	must(uv_tcp_init(loop, handle), "uv_tcp_init");
	must(uv_tcp_open(handle, copied), "uv_tcp_open");
	return handle;
}

static void pass_next(struct passing *p);

static void written(uv_write_t *write, int status) {
	struct passing *p = write->data;
	must(status, "writing");
	passed++;
	if (give)
		uv_close((uv_handle_t *)p->handle, release);
	pass_next(p);
}

static void pass_next(struct passing *p) {
	if (begun == total)
		return;
	int which = begun++ % pooled;
	uv_buf_t byte = uv_buf_init("x", 1);
	p->handle = give ? copy_of(FIRST + which) : &lent[which];
	p->write.data = p;
	must(uv_write2(&p->write, (uv_stream_t *)&pipe_, &byte, 1, (uv_stream_t *)p->handle, written), "uv_write2");
}

static void send_all(void) {
	for (int i = 0; i < WRITES; i++)
		pass_next(&requests[i]);
}

static void lend_all(void) {
	lent = calloc(pooled, sizeof *lent);
	for (int i = 0; i < pooled; i++) {
		must(uv_tcp_init(loop, &lent[i]), "uv_tcp_init");
		must(uv_tcp_open(&lent[i], FIRST + i), "uv_tcp_open");
	}
}

static void room(uv_handle_t *handle, size_t suggested, uv_buf_t *buf) {
	static char bytes[65536];
	(void)handle, (void)suggested;
	*buf = uv_buf_init(bytes, sizeof bytes);
}

static void check(uv_tcp_t *handle) {
	uv_os_fd_t fd;
	struct stat st;
	if (uv_fileno((uv_handle_t *)handle, &fd) == 0 && fstat(fd, &st) == 0)
		inodes[checked++] = st.st_ino;
}

static void came(uv_stream_t *stream, ssize_t n, const uv_buf_t *buf) {
	(void)buf;
	must(n, "reading");
	while (uv_pipe_pending_count(&pipe_) > 0) {
		uv_tcp_t *handle = malloc(sizeof *handle);
		if (!handle)
			must(UV_ENOMEM, "a handle for what came");
#ifndef UNTYPED // it makes four system calls
		if (uv_pipe_pending_type(&pipe_) != UV_TCP)
			must(UV_EINVAL, "what came is no TCP handle");
#endif
		must(uv_tcp_init(loop, handle), "uv_tcp_init");
		must(uv_accept(stream, (uv_stream_t *)handle), "uv_accept");
		if (checked < CHECKED)
			check(handle);
		uv_close((uv_handle_t *)handle, release);
		passed++;
	}
	if (passed == total)
		uv_read_stop(stream);
}

int main(int argc, char **argv) {
	if (argc != 6)
		return 2;
	int sends = strcmp(argv[1], "send") == 0;
	total = atoi(argv[3]), give = strcmp(argv[4], "give") == 0, pooled = atoi(argv[5]);
	loop = uv_default_loop();
	must(uv_pipe_init(loop, &pipe_, 1), "uv_pipe_init");
	must(uv_pipe_open(&pipe_, LINK), "uv_pipe_open");
	if (sends && !give)
		lend_all();
	puts("ready");
	fflush(stdout);
	getchar();

	int64_t start = wall(), before = cpu();
	if (sends)
		send_all();
	else
		must(uv_read_start((uv_stream_t *)&pipe_, room, came), "uv_read_start");
	uv_run(loop, UV_RUN_DEFAULT);
	int64_t end = wall(), used = cpu() - before;

	printf("{\"start\":%lld,\"end\":%lld,\"cpu\":%lld,\"passed\":%d,\"inodes\":[", (long long)start, (long long)end, (long long)used, passed);
	for (int i = 0; i < checked; i++)
		printf("%s%lu", i ? "," : "", inodes[i]);
	puts("]}");
	fflush(stdout);
	while (getchar() != EOF)
		; // libuv at the other end would drop what it has not read when this end is closed
	return 0;
}
