/*
 * The sandbox's own starts, without a host: a static program by posix_spawn, in
 * a sandbox that was prepared, and in one that is made for it, by turns.  Prints
 * one line of JSON: for each kind the time to the first byte, and the processor
 * time of making, running and unmaking it: what this process and its children
 * used, and beside it what the kernel's own threads did (on a busy machine for
 * others, too).  With -k one kind alone; with -m the memory of so many idle
 * prepared ones instead.
 *
 *   BUILDDIR=DIR start-load [-n COUNT] [-w PAUSE_MS] [-k KIND] [-m COUNT] PROGRAM
 */
#include <dirent.h>
#include <err.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/sendfile.h>
#include <sys/stat.h>
#include <unistd.h>

#include "fcgi-host/privileges.h"
#include "fcgi-host/sock.h"
#include "sandbox/netns.h"
#include "tests/bench/bare.h"
#include "tests/bench/samples.h"
#include "tests/unit/box.h"

/* Of one kind, before it is the next one's turn. */
#define TURN 10
/* What the kernel unmakes behind our back is done by then. */
#define SETTLE_MS 20
#define MEMORY_SETTLE_MS 1000
/* Of all idle ones together. */
#define UID_PROCESSES 4096

struct bench {
	struct box_host host;
	const char *program;
	char copy[96]; /* of the program, in the function's folder */
	unsigned pause_ms;
	int netns_fd; /* kept, as the spawner does for a function */
};

struct kind {
	const char *name;
	uint64_t (*first_byte_us)(struct bench *bench);
	struct samples samples;
	uint64_t own_us, kernel_us;
};

/* -------------------------------------------------------------- the function */

static void
copy_program(struct bench *bench)
{
	CLEANUP_FD int from = open(bench->program, O_RDONLY | O_CLOEXEC);
	CLEANUP_FD int to = -1;
	struct stat st;

	snprintf(bench->copy, sizeof(bench->copy), "%s/main",
	    bench->host.folder);
	to = open(bench->copy, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0755);
	if (from < 0 || to < 0 || fstat(from, &st) != 0 ||
	    sendfile(to, from, NULL, (size_t)st.st_size) != st.st_size)
		err(1, "%s", bench->program);
}

static void
start(struct bench *bench, int netns_fd, struct box *box)
{
	char program[] = SANDBOX_FN_DIR "/main";
	char *argv[] = { program, NULL };
	struct sandbox_plan plan;
	int error;

	box_plan(&bench->host, &plan, argv);
	plan.netns_fd = netns_fd;
	plan.uid_processes = UID_PROCESSES;
	error = box_start(&bench->host, &plan, box);
	box_plan_release(&plan);
	if (error != 0)
		errx(1, "start: %s: %s", box->child.failed_step,
		    strerror(-error));
}

/* An execution, until the first byte; the rest is awaited, too. */
static uint64_t
run(struct box *box, uint64_t from_us)
{
	CLEANUP_FD int null = open("/dev/null", O_RDWR | O_CLOEXEC);
	struct init_report report;
	char data[4096];
	int out[2];
	uint64_t us;

	if (null < 0 || sock_pipe(out) != 0 ||
	    fd_set_nonblock(out[0], false) != 0)
		err(1, "pipe");
	if (box_order(box, INIT_RUN, bare_environment,
	    (const int[]){ null, out[1], null }, 3) != 0)
		errx(1, "init does not listen");
	close(out[1]);
	if (read(out[0], data, sizeof(data)) <= 0)
		errx(1, "no output");
	us = samples_clock_us() - from_us;
	while (read(out[0], data, sizeof(data)) > 0)
		continue;
	close(out[0]);
	if (box_report(box, 5000, &report) != 0 ||
	    report.type != INIT_EXIT || report.wait_status != 0)
		errx(1, "the program did not end well");
	return us;
}

static uint64_t
bare(struct bench *bench)
{
	return bare_first_byte_us(bench->copy);
}

static uint64_t
prepared(struct bench *bench)
{
	struct box box;
	uint64_t us;

	start(bench, bench->netns_fd, &box);
	usleep(bench->pause_ms * 1000);
	us = run(&box, samples_clock_us());
	box_end(&bench->host, &box);
	return us;
}

static uint64_t
fresh_in(struct bench *bench, int netns_fd)
{
	uint64_t from_us = samples_clock_us(), us;
	struct box box;

	start(bench, netns_fd, &box);
	us = run(&box, from_us);
	box_end(&bench->host, &box);
	return us;
}

static uint64_t
fresh(struct bench *bench)
{
	return fresh_in(bench, bench->netns_fd);
}

static uint64_t
fresh_net(struct bench *bench)
{
	return fresh_in(bench, 0);
}

/* ------------------------------------------------------------ processor time */

static uint64_t
usage_us(int who)
{
	struct rusage usage;

	getrusage(who, &usage);
	return (uint64_t)(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) *
	    1000000 + (uint64_t)(usage.ru_utime.tv_usec +
	    usage.ru_stime.tv_usec);
}

static uint64_t
file_number(int dir, const char *pid, const char *file, const char *format)
{
	char path[300], text[512];
	unsigned long long number = 0;
	CLEANUP_FD int fd = -1;
	ssize_t n;

	snprintf(path, sizeof(path), "%s/%s", pid, file);
	fd = openat(dir, path, O_RDONLY | O_CLOEXEC);
	n = fd < 0 ? -1 : read(fd, text, sizeof(text) - 1);
	if (n <= 0)
		return 0;
	text[n] = '\0';
	return sscanf(text, format, &number) == 1 ? number : 0;
}

/* The children of kthreadd. */
static uint64_t
kernel_us(void)
{
	DIR *dir = opendir("/proc");
	struct dirent *entry;
	uint64_t ns = 0;

	while (dir != NULL && (entry = readdir(dir)) != NULL) {
		if (entry->d_name[0] < '0' || entry->d_name[0] > '9' ||
		    file_number(dirfd(dir), entry->d_name, "stat",
		    "%*d (%*[^)]) %*c %llu") != 2)
			continue;
		ns += file_number(dirfd(dir), entry->d_name, "schedstat",
		    "%llu");
	}
	if (dir != NULL)
		closedir(dir);
	return ns / 1000;
}

static void
take_turn(struct bench *bench, struct kind *kind)
{
	uint64_t own_us, before_us, after_us;

	usleep(SETTLE_MS * 1000);
	before_us = kernel_us();
	own_us = usage_us(RUSAGE_SELF) + usage_us(RUSAGE_CHILDREN);
	for (unsigned i = 0; i < TURN; i++) {
		samples_add(&kind->samples, kind->first_byte_us(bench));
		usleep(bench->pause_ms * 1000);
	}
	kind->own_us += usage_us(RUSAGE_SELF) + usage_us(RUSAGE_CHILDREN) -
	    own_us;
	usleep(SETTLE_MS * 1000);
	after_us = kernel_us();
	/* a thread that has ended takes its time along */
	kind->kernel_us += after_us > before_us ? after_us - before_us : 0;
}

static void
measure_time(struct bench *bench, unsigned count, const char *only)
{
	struct kind kinds[] = { { .name = "bare", .first_byte_us = bare },
		{ .name = "prepared", .first_byte_us = prepared },
		{ .name = "fresh", .first_byte_us = fresh },
		{ .name = "fresh_net", .first_byte_us = fresh_net } };
	size_t kind_count = sizeof(kinds) / sizeof(kinds[0]);

	for (size_t i = 0; only != NULL && i < kind_count; i++) {
		if (strcmp(kinds[i].name, only) != 0)
			continue;
		kinds[0] = kinds[i];
		kind_count = 1;
	}
	for (unsigned done = 0; done < count; done += TURN)
		for (size_t i = 0; i < kind_count; i++)
			take_turn(bench, &kinds[i]);
	printf("{");
	for (size_t i = 0; i < kind_count; i++) {
		struct kind *kind = &kinds[i];

		printf("%s\"%s\":{\"own_us\":%llu,\"kernel_us\":%llu,",
		    i == 0 ? "" : ",", kind->name, (unsigned long long)
		    (kind->own_us / kind->samples.count),
		    (unsigned long long)
		    (kind->kernel_us / kind->samples.count));
		samples_summarise(&kind->samples, "first_byte_us");
		printf("}");
		samples_free(&kind->samples);
	}
	printf("}\n");
}

/* -------------------------------------------------------------------- memory */

/* Objects in use; slabs that are kept for the next ones hold none. */
static double
slab_kib(void)
{
	FILE *file = fopen("/proc/slabinfo", "re");
	unsigned long long active, all, size;
	double sum = 0;
	char line[512];

	if (file == NULL)
		err(1, "/proc/slabinfo");
	while (fgets(line, sizeof(line), file) != NULL) {
		if (sscanf(line, "%*s %llu %llu %llu", &active, &all,
		    &size) == 3)
			sum += (double)active * (double)size;
	}
	fclose(file);
	return sum / 1024;
}

/*
 * What the kernel counts as used for other than pages of processes and files.
 * Free memory would tell of everybody's, and of slabs that an earlier round has
 * left to this one.
 */
static double
kernel_kib(void)
{
	static const char *const formats[] = { "KernelStack: %llu",
		"PageTables: %llu", "Percpu: %llu", "Shmem: %llu" };
	FILE *file = fopen("/proc/meminfo", "re");
	unsigned long long kib;
	double sum = slab_kib();
	char line[256];

	while (file != NULL && fgets(line, sizeof(line), file) != NULL) {
		for (size_t i = 0; i < sizeof(formats) / sizeof(formats[0]); i++)
			if (sscanf(line, formats[i], &kib) == 1)
				sum += (double)kib;
	}
	if (file != NULL)
		fclose(file);
	return sum;
}

static uint64_t
pss_kib(pid_t pid)
{
	char path[64], line[256];
	unsigned long long kib = 0;
	FILE *file;

	snprintf(path, sizeof(path), "/proc/%d/smaps_rollup", (int)pid);
	file = fopen(path, "re");
	while (file != NULL && fgets(line, sizeof(line), file) != NULL &&
	    sscanf(line, "Pss: %llu", &kib) != 1)
		continue;
	if (file != NULL)
		fclose(file);
	return kib;
}

/*
 * What each of so many prepared sandboxes holds, every one with the network
 * namespace of another function; and how far the kernel is from where it was when
 * they are gone: what others took or gave back meanwhile.
 */
static void
measure_memory(struct bench *bench, unsigned count)
{
	struct box *boxes = calloc(count, sizeof(*boxes));
	double before_kib, during_kib, after_kib;
	uint64_t pss = 0;

	if (boxes == NULL)
		err(1, "memory");
	usleep(MEMORY_SETTLE_MS * 1000);
	before_kib = kernel_kib();
	for (unsigned i = 0; i < count; i++)
		start(bench, -1, &boxes[i]);
	usleep(MEMORY_SETTLE_MS * 1000);
	during_kib = kernel_kib();
	for (unsigned i = 0; i < count; i++)
		pss += pss_kib(boxes[i].child.pid);
	for (unsigned i = 0; i < count; i++)
		box_end(&bench->host, &boxes[i]);
	usleep(MEMORY_SETTLE_MS * 1000);
	after_kib = kernel_kib();
	free(boxes);
	printf("{\"all_kib\":%.1f,\"pss_kib\":%.1f,\"drift_kib\":%.1f}\n",
	    (during_kib - before_kib + (double)pss) / count,
	    (double)pss / count, (after_kib - before_kib) / count);
}

int
main(int argc, char **argv)
{
	struct bench bench = { .pause_ms = 20, .netns_fd = -1 };
	unsigned count = 20, sandboxes = 0;
	const char *only = NULL;
	char problem[256];
	int option;

	while ((option = getopt(argc, argv, "n:w:k:m:")) != -1) {
		if (option == 'n')
			count = (unsigned)atoi(optarg);
		else if (option == 'w')
			bench.pause_ms = (unsigned)atoi(optarg);
		else if (option == 'k')
			only = optarg;
		else if (option == 'm')
			sandboxes = (unsigned)atoi(optarg);
		else
			return 2;
	}
	if (optind + 1 != argc)
		errx(2, "usage: start-load [-n COUNT] [-w PAUSE_MS] [-k KIND] "
		    "[-m COUNT] PROGRAM");
	bench.program = argv[optind];
	if (box_setup(&bench.host) != 0)
		return 1;
	copy_program(&bench);
	/* with the rights of the spawner, which starts them elsewhere */
	if (privileges_shrink(problem, sizeof(problem)) != 0)
		errx(1, "%s", problem);
	bench.netns_fd = netns_new();
	if (bench.netns_fd < 0)
		errx(1, "network namespace: %s", strerror(-bench.netns_fd));
	if (sandboxes > 0)
		measure_memory(&bench, sandboxes);
	else
		measure_time(&bench, count, only);
	close_fd(&bench.netns_fd);
	unlink(bench.copy);
	box_teardown(&bench.host);
	return 0;
}
