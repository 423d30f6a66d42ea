/*
 * Pid 1 of an instance: a tiny static program in the finished sandbox, with the
 * tenant's rights.  It starts the program when the gateway says so, reaps,
 * cleans up between CGI executions and reports the end.
 *
 *   fcgi-host-init cgi|fastcgi [plain] [terminal] -- PROGRAM ARGUMENT…
 *
 * It trusts nobody: an order that is malformed ends it, and with it the whole
 * pid namespace.  The program shares its uid, so init is not dumpable and the
 * program runs one Landlock domain deeper: neither /proc/1/mem nor ptrace nor
 * its descriptors can be reached ("plain" leaves the domain out, for tests).
 *
 * With "terminal" its session has one, and the program stays in it and in init's
 * process group: the kernel signals that group (it cannot signal init so), and
 * does not stop a program of it that no shell would continue.
 */
#include "sandbox/init_msg.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/landlock.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "sandbox/init_clean.h"
#include "sandbox/init_memory.h"
#include "sandbox/init_secrets.h"

/* Processes that outlive the main one have this long to end by themselves. */
#define GRACE_MS 100
#define SHORT_BYTES 8192 /* of a message: a request's environment mostly is */

/* Exit codes, for the log of whoever wonders. */
enum init_exit { EXIT_DONE = 0, EXIT_USAGE = 64, EXIT_SETUP, EXIT_PROTOCOL };

enum init_state { STATE_IDLE, STATE_RUNNING, STATE_GRACE };

struct init {
	bool is_fastcgi;
	bool has_terminal;
	bool has_started; /* FastCGI: the one start has been */
	const char *program;
	char *const *argv;
	int signal_fd;
	int ruleset_fd; /* the program's deeper domain, or -1 */
	enum init_state state;
	pid_t main_pid;
	uint64_t grace_until_ms;
	uint64_t reaped_peak_kib; /* since the last INIT_MEASURE */
	struct init_report report;
};

/* Too large for a stack; only the pages that a message fills become resident.
 * Whole pages, so that giving them back takes nothing else along. */
static union __attribute__((aligned(4096))) {
	struct init_order order;
	char bytes[sizeof(struct init_order) + INIT_ENV_MAX + 1];
} message;
static char *environment[INIT_ENV_COUNT_MAX + 1];
static size_t message_bytes, environment_count; /* of it used */
static char program_path[4096];

static uint64_t
now_ms(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

static uint64_t
timeval_us(const struct timeval *time)
{
	return (uint64_t)time->tv_sec * 1000000 + (uint64_t)time->tv_usec;
}

/* ------------------------------------------------------------------ reports */

static void
send_report(struct init *init, uint32_t type)
{
	init->report.magic = INIT_MAGIC;
	init->report.type = type;
	if (send(INIT_SOCK_FD, &init->report, sizeof(init->report),
	        MSG_NOSIGNAL) != sizeof(init->report))
		_exit(EXIT_DONE);
}

static void
report_clear(struct init *init, uint64_t serial)
{
	memset(&init->report, 0, sizeof(init->report));
	init->report.serial = serial;
}

/* What a request carried must not lie about in memory until the next one, and
 * not count as resident while the instance idles. */
static void
forget_message(void)
{
	/* a short one is wiped where it is: giving pages back and faulting them
	 * in again costs more than all else here, beside the program's start */
	if (message_bytes <= SHORT_BYTES ||
	    madvise(&message, sizeof(message), MADV_DONTNEED) != 0)
		memset(&message, 0, message_bytes);
	memset(environment, 0, environment_count * sizeof(environment[0]));
	secrets_forget();
	message_bytes = environment_count = 0;
}

/* ------------------------------------------------------------------ reaping */

static void
account(struct init *init, const struct rusage *usage)
{
	uint64_t peak_kib = (uint64_t)usage->ru_maxrss;

	init->report.user_us += timeval_us(&usage->ru_utime);
	init->report.system_us += timeval_us(&usage->ru_stime);
	if (init->report.memory_kib < peak_kib)
		init->report.memory_kib = peak_kib;
	if (init->reaped_peak_kib < peak_kib)
		init->reaped_peak_kib = peak_kib;
}

enum reaped { REAPED_MAIN = 1, REAPED_ALL = 2 };

/* Takes every child that has ended; with is_blocking, until none is left. */
static unsigned
reap(struct init *init, bool is_blocking)
{
	unsigned result = 0;

	for (;;) {
		struct rusage usage;
		int status;
		pid_t pid = wait4(-1, &status, is_blocking ? 0 : WNOHANG, &usage);

		if (pid < 0 && errno == EINTR)
			continue;
		if (pid < 0)
			return result | REAPED_ALL;
		if (pid == 0)
			return result;
		account(init, &usage);
		if (is_blocking && pid != init->main_pid)
			init->report.killed++;
		if (pid != init->main_pid)
			continue;
		init->report.wait_status = status;
		init->main_pid = -1;
		result |= REAPED_MAIN;
	}
}

/* The main process has ended and whoever outlived it had its grace. */
static void
finish_run(struct init *init, bool is_empty)
{
	int cleaned;

	/* kill(-1) walks every process of the machine: only when needed. */
	if (!is_empty) {
		kill(-1, SIGKILL);
		reap(init, true);
	}
	cleaned = init->is_fastcgi ? 0 : clean_all();
	init->state = STATE_IDLE;
	send_report(init, cleaned == 0 ? INIT_EXIT : INIT_DIRTY);
	/* a FastCGI program's socket stays until the gateway has seen whose
	 * connections nobody accepted: INIT_END, or its hang-up */
	if (cleaned != 0)
		_exit(EXIT_DONE);
}

static void
on_children(struct init *init)
{
	struct signalfd_siginfo info;
	unsigned reaped;

	while (read(init->signal_fd, &info, sizeof(info)) > 0)
		continue;
	reaped = reap(init, false);
	if (init->state == STATE_RUNNING && init->main_pid == -1) {
		init->state = STATE_GRACE;
		init->grace_until_ms = now_ms() + GRACE_MS;
	}
	if (init->state == STATE_GRACE && (reaped & REAPED_ALL))
		finish_run(init, true);
}

/* -------------------------------------------------------------- the program */

/* In the child that vfork made, on init's memory: system calls only. */
static _Noreturn void
become_program(const struct init *init, const int fds[3], volatile int *error)
{
	sigset_t none;

	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
	/* Not a session: the kernel would make and free a group of its
	 * scheduler with each, with a weight of its own. */
	if (!init->has_terminal)
		setpgid(0, 0);
	if (init->ruleset_fd >= 0 &&
	    syscall(SYS_landlock_restrict_self, init->ruleset_fd, 0) != 0)
		goto out;
	/* All of fds are above 5: none is overwritten before it is used. */
	for (int i = 0; i < 3; i++) {
		if (dup2(fds[i], i) < 0)
			goto out;
	}
	if (syscall(SYS_close_range, 3, ~0U, 0) != 0)
		goto out;
	execve(init->program, init->argv, environment);
out:
	*error = errno;
	_exit(127);
}

/* In a function of its own, so that no variable of a caller can be clobbered
 * by the child. */
static __attribute__((noinline)) pid_t
spawn(const struct init *init, const int fds[3], volatile int *error)
{
	pid_t pid = vfork();

	if (pid == 0)
		become_program(init, fds, error);
	if (pid < 0)
		*error = errno;
	return pid;
}

static void
start_program(struct init *init, const int *passed)
{
	volatile int error;
	int fds[3];

	fds[0] = init->is_fastcgi ? INIT_LISTEN_FD : passed[0];
	fds[1] = passed[init->is_fastcgi ? 0 : 1];
	fds[2] = passed[init->is_fastcgi ? 1 : 2];
	error = secrets_add(environment, &environment_count, fds[2]);
	if (error == 0)
		init->main_pid = spawn(init, fds, &error);
	init->has_started = true;
	forget_message();
	if (error == 0) {
		init->state = STATE_RUNNING;
		return;
	}
	if (init->main_pid > 0)
		reap(init, true);
	init->report.value = error;
	send_report(init, INIT_EXEC_FAILED);
	if (init->is_fastcgi)
		_exit(EXIT_DONE);
}

/* ------------------------------------------------------------------- orders */

/* Cuts the block into variables.  -1: not a block. */
static int
parse_environment(char *block, size_t length)
{
	size_t count = 0;

	if (length > 0 && block[length - 1] != '\0')
		return -1;
	for (size_t at = 0; at < length; at += strlen(block + at) + 1) {
		const char *equals = strchr(block + at, '=');

		if (equals == NULL || equals == block + at ||
		    count == INIT_ENV_COUNT_MAX)
			return -1;
		environment[count++] = block + at;
		environment_count = count;
	}
	environment[count] = NULL;
	return 0;
}

static void
on_run(struct init *init, size_t n, const int *fds, size_t fd_count)
{
	const struct init_order *order = &message.order;

	if (init->state != STATE_IDLE ||
	    (init->is_fastcgi && init->has_started) ||
	    fd_count != (init->is_fastcgi ? 2u : 3u) ||
	    n - sizeof(*order) != order->env_length ||
	    parse_environment(message.bytes + sizeof(*order),
	        order->env_length) != 0)
		_exit(EXIT_PROTOCOL);
	report_clear(init, order->serial);
	start_program(init, fds);
}

/* The order may cross the report of an end: then there is nothing to do. */
static void
on_end(struct init *init)
{
	if (init->state == STATE_IDLE && init->is_fastcgi && init->has_started)
		_exit(EXIT_DONE);
	if (init->state == STATE_IDLE)
		return;
	kill(-1, SIGKILL);
	reap(init, true);
	finish_run(init, true);
}

/* Its answer keeps apart from the report that a running program builds up. */
static void
on_measure(struct init *init, uint64_t serial)
{
	struct init_report kept = init->report;
	uint64_t now_kib, peak_kib = memory_peak_kib(INIT_PROC_FD, &now_kib);

	if (peak_kib < init->reaped_peak_kib)
		peak_kib = init->reaped_peak_kib;
	init->reaped_peak_kib = 0;
	report_clear(init, serial);
	init->report.memory_kib = peak_kib;
	init->report.memory_now_kib = now_kib;
	send_report(init, INIT_MEMORY);
	init->report = kept;
}

/* Likewise. */
static void
on_look(struct init *init, uint64_t serial)
{
	struct init_report kept = init->report;

	report_clear(init, serial);
	init->report.memory_kib = memory_held_kib(INIT_PROC_FD,
	    &init->report.memory_now_kib);
	send_report(init, INIT_HELD);
	init->report = kept;
}

static void
on_order(struct init *init, size_t n, const int *fds, size_t fd_count)
{
	const struct init_order *order = &message.order;

	if (n < sizeof(*order) || order->magic != INIT_MAGIC ||
	    order->pad != 0 || order->env_length > INIT_ENV_MAX)
		_exit(EXIT_PROTOCOL);
	if (order->type == INIT_RUN) {
		on_run(init, n, fds, fd_count);
		return;
	}
	if (n != sizeof(*order) || order->env_length != 0 || fd_count != 0)
		_exit(EXIT_PROTOCOL);
	if (order->type == INIT_END)
		on_end(init);
	else if (order->type == INIT_MEASURE)
		on_measure(init, order->serial);
	else if (order->type == INIT_LOOK)
		on_look(init, order->serial);
	else
		_exit(EXIT_PROTOCOL);
}

/* The kernel hands all of a message's descriptors over in one piece, and we ask
 * for nothing else. */
static size_t
take_descriptors(struct msghdr *header, int *fds, size_t max)
{
	const struct cmsghdr *part = CMSG_FIRSTHDR(header);
	size_t bytes;

	if (part == NULL)
		return 0;
	bytes = part->cmsg_len - CMSG_LEN(0);
	if (part->cmsg_level != SOL_SOCKET || part->cmsg_type != SCM_RIGHTS ||
	    bytes > max * sizeof(int) ||
	    header->msg_controllen > CMSG_SPACE(bytes))
		_exit(EXIT_PROTOCOL);
	memcpy(fds, CMSG_DATA(part), bytes);
	return bytes / sizeof(int);
}

static void
on_socket(struct init *init)
{
	union {
		struct cmsghdr align;
		char bytes[CMSG_SPACE(4 * sizeof(int))];
	} control;
	struct iovec iov = { message.bytes, sizeof(message.bytes) };
	struct msghdr header = { .msg_iov = &iov, .msg_iovlen = 1,
		.msg_control = &control, .msg_controllen = sizeof(control) };
	int fds[4] = { -1, -1, -1, -1 };
	size_t fd_count;
	ssize_t n = recvmsg(INIT_SOCK_FD, &header,
	    MSG_CMSG_CLOEXEC | MSG_DONTWAIT);

	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	if (n <= 0) /* the gateway is gone, and all ends with pid 1 */
		_exit(EXIT_DONE);
	if (header.msg_flags & (MSG_TRUNC | MSG_CTRUNC))
		_exit(EXIT_PROTOCOL);
	message_bytes = (size_t)n;
	fd_count = take_descriptors(&header, fds, 4);
	on_order(init, (size_t)n, fds, fd_count);
	for (size_t i = 0; i < fd_count; i++)
		close(fds[i]);
}

static _Noreturn void
serve(struct init *init)
{
	for (;;) {
		struct pollfd polls[2] = {
			{ INIT_SOCK_FD, POLLIN, 0 },
			{ init->signal_fd, POLLIN, 0 },
		};
		int timeout_ms = -1;

		if (init->state == STATE_GRACE) {
			uint64_t now = now_ms();

			if (now >= init->grace_until_ms) {
				finish_run(init, false);
				continue;
			}
			timeout_ms = (int)(init->grace_until_ms - now);
		}
		if (poll(polls, 2, timeout_ms) < 0 && errno != EINTR)
			_exit(EXIT_SETUP);
		if (polls[1].revents)
			on_children(init);
		if (polls[0].revents)
			on_socket(init);
	}
}

/* -------------------------------------------------------------------- start */

/*
 * A domain that takes nothing which matters (device nodes, which no tenant can
 * make anyway): its use is to be deeper than init's, since a process can trace
 * or, from ABI 6, signal only its own domain and those below.  Renaming across
 * directories must be handled and allowed, because a domain that does not name
 * that right refuses it.  Returns the ruleset, or -1 without Landlock.
 */
static int
make_deeper_domain(void)
{
	struct {
		uint64_t fs, net, scoped; /* grows with the ABI */
	} attr = { LANDLOCK_ACCESS_FS_MAKE_CHAR | LANDLOCK_ACCESS_FS_MAKE_BLOCK |
		    LANDLOCK_ACCESS_FS_REFER, 0, 0 };
	struct landlock_path_beneath_attr root = {
		.allowed_access = LANDLOCK_ACCESS_FS_REFER
	};
	long abi = syscall(SYS_landlock_create_ruleset, NULL, 0,
	    LANDLOCK_CREATE_RULESET_VERSION);
	size_t size = abi >= 6 ? sizeof(attr) : sizeof(attr.fs);
	int ruleset, added;

	if (abi < 1)
		return -1;
	if (abi < 2)
		attr.fs &= ~(uint64_t)LANDLOCK_ACCESS_FS_REFER;
	if (abi >= 6)
		attr.scoped = 3; /* abstract sockets, signals */
	ruleset = (int)syscall(SYS_landlock_create_ruleset, &attr, size, 0);
	root.parent_fd = open("/", O_PATH | O_CLOEXEC);
	if (ruleset < 0 || root.parent_fd < 0)
		_exit(EXIT_SETUP);
	added = abi < 2 ? 0 : (int)syscall(SYS_landlock_add_rule, ruleset,
	    LANDLOCK_RULE_PATH_BENEATH, &root, 0);
	if (added != 0)
		_exit(EXIT_SETUP);
	close(root.parent_fd);
	return ruleset;
}

/* "php-cgi" → "/usr/bin/php-cgi"; what is not found fails at execve. */
static const char *
find_program(const char *name)
{
	static const char *const places[] = { "/usr/local/bin/", "/usr/bin/",
		"/usr/local/sbin/", "/usr/sbin/" };

	if (strchr(name, '/') != NULL || strlen(name) > 255)
		return name;
	for (size_t i = 0; i < sizeof(places) / sizeof(places[0]); i++) {
		strcpy(program_path, places[i]);
		strcat(program_path, name);
		if (access(program_path, X_OK) == 0)
			return program_path;
	}
	return name;
}

/* What is ignored stays ignored over exec and clone, and a service manager
 * ignores SIGPIPE; a program expects it. */
static void
reset_signals(void)
{
	for (int i = 1; i < NSIG; i++)
		signal(i, SIG_DFL);
}

static int
parse_arguments(struct init *init, int argc, char **argv, bool *is_plain)
{
	int at = 2;

	if (argc < 4)
		return -1;
	init->is_fastcgi = strcmp(argv[1], "fastcgi") == 0;
	if (!init->is_fastcgi && strcmp(argv[1], "cgi") != 0)
		return -1;
	*is_plain = strcmp(argv[at], "plain") == 0;
	at += *is_plain;
	init->has_terminal = at < argc && strcmp(argv[at], "terminal") == 0;
	at += init->has_terminal;
	if (at + 1 >= argc || strcmp(argv[at], "--") != 0)
		return -1;
	init->argv = argv + at + 1;
	return 0;
}

int
main(int argc, char **argv)
{
	struct init init = { .main_pid = -1, .ruleset_fd = -1 };
	sigset_t child;
	bool is_plain;

	/* First of all: exec has made init dumpable again. */
	if (prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) != 0 || getpid() != 1)
		_exit(EXIT_SETUP); /* kill(-1) anywhere else would be a disaster */
	secrets_find(); /* before a descriptor takes an empty place */
	if (parse_arguments(&init, argc, argv, &is_plain) != 0)
		_exit(EXIT_USAGE);
	reset_signals();
	sigemptyset(&child);
	sigaddset(&child, SIGCHLD);
	sigprocmask(SIG_BLOCK, &child, NULL);
	init.signal_fd = signalfd(-1, &child, SFD_CLOEXEC | SFD_NONBLOCK);
	if (init.signal_fd < 0 || chdir("/fn") != 0)
		_exit(EXIT_SETUP);
	init.program = find_program(init.argv[0]);
	if (!is_plain)
		init.ruleset_fd = make_deeper_domain();
	serve(&init);
}
