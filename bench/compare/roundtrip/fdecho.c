//go:build ignore

// Passes one descriptor there and back with blocking system calls. Arguments and output: suite_linux.go, type program.
// (The line above is for the go command.)

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

enum { LINK = 3, CONN = 5 };

static char byte;
static struct iovec data = {&byte, 1};
static union {
	struct cmsghdr head;
	char bytes[CMSG_SPACE(sizeof(int))];
} control;
static struct msghdr message = {.msg_iov = &data, .msg_iovlen = 1, .msg_control = control.bytes};

static void fail(const char *what) {
	perror(what);
	exit(1);
}

static void give(int fd) {
	message.msg_controllen = sizeof control.bytes;
	control.head = (struct cmsghdr){CMSG_LEN(sizeof fd), SOL_SOCKET, SCM_RIGHTS};
	memcpy(CMSG_DATA(&control.head), &fd, sizeof fd);
	if (sendmsg(LINK, &message, MSG_NOSIGNAL) != 1)
		fail("sendmsg");
	close(fd);
}

static int take(void) {
	int fd;
	message.msg_controllen = sizeof control.bytes;
	if (recvmsg(LINK, &message, MSG_CMSG_CLOEXEC) != 1 || message.msg_controllen == 0)
		fail("recvmsg");
	memcpy(&fd, CMSG_DATA(&control.head), sizeof fd);
	return fd;
}

static int64_t now(void) {
	struct timespec t;
	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec * INT64_C(1000000000) + t.tv_nsec;
}

static void ping(int n) {
	struct stat st;
	int64_t *took = calloc(n, sizeof *took);
	int fd = CONN;
	for (int i = 0; i < n; i++) {
		int64_t start = now();
		give(fd);
		fd = take();
		took[i] = now() - start;
	}
	if (fstat(fd, &st))
		fail("fstat");
	printf("{\"passed\":%d,\"inode\":%lu,\"took\":[", n, (unsigned long)st.st_ino);
	for (int i = 0; i < n; i++)
		printf("%s%lld", i ? "," : "", (long long)took[i]);
	puts("]}");
}

static void echo(int n) {
	for (int i = 0; i < n; i++)
		give(take());
	printf("{\"passed\":%d}\n", n);
}

int main(int argc, char **argv) {
	if (argc != 3)
		return 2;
	int n = atoi(argv[2]);
	puts("ready");
	fflush(stdout);
	getchar();
	if (strcmp(argv[1], "ping") == 0)
		ping(n);
	else
		echo(n);
	fflush(stdout);
	while (getchar() != EOF)
		;
	return 0;
}
