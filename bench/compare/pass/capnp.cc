//go:build ignore

// Passes descriptors with Cap'n Proto's KJ: AsyncCapabilityStream's writeWithFds and tryReadWithFds.
// Arguments and output: process_linux.go, type program. (The line above is for the go command.)

#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <kj/async-io.h>
#include <kj/debug.h>
#include <kj/io.h>
#include <kj/vector.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

namespace {

constexpr int LINK = 3, FIRST = 4;
constexpr size_t CHECKED = 8;

struct Outcome {
	size_t passed = 0;
	kj::Vector<unsigned long> inodes;
};

int64_t wall() {
	timespec t;
	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec * 1000000000ll + t.tv_nsec;
}

int64_t cpu() {
	rusage u;
	getrusage(RUSAGE_SELF, &u);
	return (u.ru_utime.tv_sec + u.ru_stime.tv_sec) * 1000000000ll + (u.ru_utime.tv_usec + u.ru_stime.tv_usec) * 1000ll;
}

Outcome send(kj::AsyncCapabilityStream &link, kj::WaitScope &scope, size_t batch, size_t total, bool give, size_t pooled) {
	Outcome o;
	const kj::byte data[1] = {0};
	auto lent = kj::heapArray<int>(batch);
	auto given = kj::heapArray<kj::AutoCloseFd>(batch);
	for (size_t next = 0; o.passed < total; o.passed += batch) {
		for (size_t i = 0; i < batch; i++, next++) {
			lent[i] = FIRST + next % pooled;
			if (give) {
				int copied;
				KJ_SYSCALL(copied = dup(lent[i]));
				given[i] = kj::AutoCloseFd(copied);
			}
		}
		if (give) {
			link.writeWithFds(data, nullptr, kj::ArrayPtr<const kj::AutoCloseFd>(given)).wait(scope);
			for (auto &fd : given)
				fd = nullptr;
		} else {
			link.writeWithFds(data, nullptr, kj::ArrayPtr<const int>(lent)).wait(scope);
		}
	}
	return o;
}

Outcome receive(kj::AsyncCapabilityStream &link, kj::WaitScope &scope, size_t batch, size_t total) {
	Outcome o;
	kj::byte data[1];
	auto fds = kj::heapArray<kj::AutoCloseFd>(batch);
	while (o.passed < total) {
		auto got = link.tryReadWithFds(data, 1, 1, fds.begin(), batch).wait(scope);
		KJ_REQUIRE(got.capCount > 0, "a message without descriptors");
		for (auto &fd : fds.slice(0, got.capCount)) {
			struct stat st;
			if (o.inodes.size() < CHECKED && fstat(fd, &st) == 0)
				o.inodes.add(st.st_ino);
			fd = nullptr;
		}
		o.passed += got.capCount;
	}
	return o;
}

} // namespace

int main(int argc, char **argv) {
	if (argc != 6)
		return 2;
	size_t batch = atol(argv[2]), total = atol(argv[3]), pooled = atol(argv[5]);
	bool give = !strcmp(argv[4], "give");
	auto io = kj::setupAsyncIo();
	auto link = io.lowLevelProvider->wrapUnixSocketFd(LINK, kj::LowLevelAsyncIoProvider::TAKE_OWNERSHIP);
	puts("ready");
	fflush(stdout);
	getchar();

	int64_t start = wall(), before = cpu();
	Outcome o = !strcmp(argv[1], "send") ? send(*link, io.waitScope, batch, total, give, pooled)
					     : receive(*link, io.waitScope, batch, total);
	int64_t end = wall(), used = cpu() - before;

	printf("{\"start\":%lld,\"end\":%lld,\"cpu\":%lld,\"passed\":%zu,\"inodes\":[", (long long)start, (long long)end, (long long)used, o.passed);
	for (size_t i = 0; i < o.inodes.size(); i++)
		printf("%s%lu", i ? "," : "", o.inodes[i]);
	puts("]}");
	fflush(stdout);
	while (getchar() != EOF)
		;
	return 0;
}
