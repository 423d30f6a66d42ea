/*
 * Orders to the init of an instance: of any bytes, with any descriptors, in
 * any order, while the program and its children end as they like.  init's own
 * source is compiled in; the system calls that would start, end or await
 * something are played.  A malformed order ends it and nothing else does; an
 * order that is well-formed has its effect once, and its report carries its
 * serial.
 */
#include "tests/fuzz/fuzz.h"

#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "fcgi-host/sock.h"
#include "sandbox/init_msg.h"
#include "sandbox/init_secrets.h"

#define INPUT_MAX 4096
#define PROGRAM_PID 77
#define STEPS_MAX 64

static struct {
	const uint8_t *data;
	size_t left;
	int sock[2]; /* 0: the gateway's end */
	int fds[8];  /* that came with the last order */
	size_t fd_count;
	jmp_buf end;
	int exit_code;
	bool is_bad_order; /* the last one */
	bool cannot_exec;
	/* what the kernel has of the program */
	bool is_main_alive;
	unsigned others;
	int clean_result;
	/* reports so far, and what is owed */
	uint64_t serial; /* of the RUN that has no report yet */
	bool is_owed;
	uint64_t measure_serial;
	bool is_measure_owed;
} play;

static uint8_t
next(void)
{
	return take_byte(&play.data, &play.left);
}

/* ------------------------------------------------------- what init calls on */

static _Noreturn void
played_exit(int code)
{
	play.exit_code = code;
	longjmp(play.end, 1);
}

static int
played_kill(pid_t pid, int number)
{
	CLAIM(pid == -1 && number == SIGKILL);
	play.is_main_alive = false;
	return 0;
}

/* One that has ended, 0 while there are others, -1 when there are none; after
 * a kill the blocking calls take them all. */
static pid_t
played_wait4(pid_t pid, int *status, int options, struct rusage *usage)
{
	static bool is_main_reaped = true;

	CLAIM(pid == -1);
	if (status == NULL) { /* a program has started */
		is_main_reaped = false;
		return 0;
	}
	memset(usage, 0, sizeof(*usage));
	*status = 9;
	if (!is_main_reaped && !play.is_main_alive) {
		is_main_reaped = true;
		return PROGRAM_PID;
	}
	if (play.others > 0 && (options == 0 || next() % 2 == 0)) {
		play.others--;
		return PROGRAM_PID + 1 + (pid_t)play.others;
	}
	if (play.others > 0 || play.is_main_alive)
		return 0;
	errno = ECHILD;
	return -1;
}

static ssize_t
played_send(int fd, const void *data, size_t n, int flags)
{
	const struct init_report *report = data;

	(void)fd;
	(void)flags;
	CLAIM(init_report_check(report, n) == 0);
	if (report->type == INIT_MEMORY || report->type == INIT_HELD) {
		CLAIM(play.is_measure_owed &&
		    report->serial == play.measure_serial);
		play.is_measure_owed = false;
	} else {
		CLAIM(play.is_owed && report->serial == play.serial);
		CLAIM((report->type == INIT_EXEC_FAILED) == play.cannot_exec);
		play.is_owed = false;
	}
	return (ssize_t)n;
}

static ssize_t
played_recvmsg(int fd, struct msghdr *header, int flags)
{
	ssize_t n = recvmsg(play.sock[1], header, flags);
	struct cmsghdr *part = n > 0 ? CMSG_FIRSTHDR(header) : NULL;

	(void)fd;
	play.fd_count = 0;
	if (part != NULL) {
		play.fd_count = (part->cmsg_len - CMSG_LEN(0)) / sizeof(int);
		memcpy(play.fds, CMSG_DATA(part),
		    play.fd_count * sizeof(int));
	}
	return n;
}

static pid_t played_vfork(void);

int clean_all(void);
uint64_t memory_peak_kib(int proc_fd, uint64_t *now_kib);
uint64_t memory_held_kib(int proc_fd, uint64_t *resident_kib);

int
clean_all(void)
{
	CLAIM(!play.is_main_alive && play.others == 0);
	return play.clean_result;
}

uint64_t
memory_peak_kib(int proc_fd, uint64_t *now_kib)
{
	(void)proc_fd;
	*now_kib = 4;
	return 5;
}

uint64_t
memory_held_kib(int proc_fd, uint64_t *resident_kib)
{
	return memory_peak_kib(proc_fd, resident_kib);
}

/* No descriptor of them is there: fuzz_env_file has what reads such a file. */
void
secrets_find(void)
{
}

int
secrets_add(char **environment, size_t *count, int err_fd)
{
	(void)environment;
	(void)count;
	(void)err_fd;
	return 0;
}

void
secrets_forget(void)
{
}

int init_main(int argc, char **argv);
#define main init_main
#define _exit played_exit
#define kill played_kill
#define wait4 played_wait4
#define send played_send
#define recvmsg played_recvmsg
#define vfork played_vfork
#include "sandbox/init.c" /* NOLINT: its parts are static */
#undef main
#undef _exit
#undef kill
#undef wait4
#undef send
#undef recvmsg
#undef vfork

/* In the parent: the program runs, or execve failed and it has exited. */
static pid_t
played_vfork(void)
{
	size_t i;

	for (i = 0; environment[i] != NULL; i++)
		CLAIM(strchr(environment[i], '=') > environment[i]);
	CLAIM(i <= INIT_ENV_COUNT_MAX);
	for (i = 0; i < play.fd_count; i++)
		CLAIM(fcntl(play.fds[i], F_GETFD) == FD_CLOEXEC);
	if (play.cannot_exec)
		return -1;
	play.is_main_alive = true;
	play.others = next() % 3;
	(void)played_wait4(-1, NULL, 0, NULL);
	return PROGRAM_PID;
}

/* ------------------------------------------------------------------- orders */

/* What is sent: a head, then text; and how the rules judge it. */
static struct {
	struct init_order order;
	uint8_t text[INIT_ENV_MAX + 4096];
} sent;

static bool
is_block(const uint8_t *text, size_t n)
{
	size_t count = 0, length;

	for (; n > 0; text += length + 1, n -= length + 1, count++) {
		length = strnlen((const char *)text, n);
		if (length == n || length == 0 || text[0] == '=' ||
		    memchr(text, '=', length) == NULL)
			return false;
	}
	return count <= INIT_ENV_COUNT_MAX;
}

static bool
is_allowed(const struct init *init, size_t n, size_t fd_count)
{
	const struct init_order *order = &sent.order;
	size_t length = n - sizeof(*order);

	if (n < sizeof(*order) || order->magic != INIT_MAGIC ||
	    order->pad != 0 || order->env_length != length ||
	    length > INIT_ENV_MAX)
		return false;
	if (order->type != INIT_RUN)
		return (order->type == INIT_END ||
		    order->type == INIT_MEASURE ||
		    order->type == INIT_LOOK) && length == 0 &&
		    fd_count == 0;
	return init->state == STATE_IDLE &&
	    !(init->is_fastcgi && init->has_started) &&
	    fd_count == (init->is_fastcgi ? 2 : 3) &&
	    is_block(sent.text, length);
}

static size_t
make_order(const struct init *init, size_t *fd_count)
{
	uint8_t type = next(), how = next();
	size_t length = next(), i;
	bool is_run = type % 4 < 2;

	sent.order = (struct init_order){ .magic = INIT_MAGIC,
		.type = is_run ? INIT_RUN :
		    type % 4 + type / 4 % 2, .serial = next() };
	*fd_count = !is_run ? 0 : init->is_fastcgi ? 2 : 3;
	if (length > 0xe0)
		length = (length - 0xe0) * 4300; /* up to beyond the bound */
	if (!is_run && (how & 1) == 0)
		length = 0;
	if (length > sizeof(sent.text))
		length = sizeof(sent.text);
	for (i = 0; i < length; i++)
		sent.text[i] = (uint8_t)"A=1"[i % 4];
	if (length % 4 != 0 && (how & 2) == 0)
		length -= length % 4;
	sent.order.env_length = (uint32_t)length;
	if (how < 0xc0)
		return sizeof(sent.order) + length;
	/* now it is spoilt somehow */
	((uint8_t *)&sent.order)[next() % sizeof(sent.order)] = next();
	if (length > 0)
		sent.text[next() % length] = next();
	*fd_count = next() % 6;
	return sizeof(sent.order) + length - ((how & 4) != 0) * (next() % 32u) %
	    (length + sizeof(sent.order));
}

static void
give_order(struct init *init)
{
	int fds[6] = { 2, 2, 2, 2, 2, 2 };
	size_t fd_count, n = make_order(init, &fd_count);
	uint32_t type = sent.order.type;
	bool may;

	if (n == 0 || sock_send(play.sock[0], &sent, n, fds, fd_count) != 0)
		return;
	may = fd_count <= 4 && is_allowed(init, n, fd_count);
	play.is_bad_order = !may;
	if (may && type == INIT_RUN) {
		play.serial = sent.order.serial;
		play.is_owed = true;
	} else if (may && (type == INIT_MEASURE || type == INIT_LOOK)) {
		play.measure_serial = sent.order.serial;
		play.is_measure_owed = true;
	}
	on_socket(init);
	CLAIM(may); /* or it had ended */
	CLAIM(!play.is_measure_owed);
	CLAIM(type != INIT_END || init->state == STATE_IDLE);
	play.fd_count = 0;
}

static void
step(struct init *init)
{
	uint8_t op = next();

	switch (op % 8) {
	case 0:
		play.is_main_alive = false;
		on_children(init);
		break;
	case 1:
		on_children(init);
		break;
	case 2:
		if (init->state == STATE_GRACE)
			finish_run(init, false);
		break;
	case 3:
		play.cannot_exec = init->state == STATE_IDLE && (op & 8) != 0;
		play.clean_result = (op & 0x30) == 0x30 ? -1 : 0;
		break;
	default:
		give_order(init);
		break;
	}
	CLAIM(play.is_owed == (init->state != STATE_IDLE));
}

/* Ends that are not the orders' fault: nothing to serve any more. */
static void
check_end(const struct init *init)
{
	CLAIM(play.exit_code == (play.is_bad_order ? EXIT_PROTOCOL :
	    EXIT_DONE));
	CLAIM(play.is_bad_order || (!play.is_owed &&
	    (init->is_fastcgi || play.clean_result != 0)));
	while (play.fd_count > 0)
		close(play.fds[--play.fd_count]);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
	static struct init init;
	static volatile int steps;

	if (n > INPUT_MAX)
		return 0;
	memset(&play, 0, sizeof(play));
	play.data = data;
	play.left = n;
	init = (struct init){ .main_pid = -1, .ruleset_fd = -1,
		.signal_fd = -1, .is_fastcgi = (next() & 1) != 0 };
	CLAIM(sock_pair(play.sock) == 0);
	if (setjmp(play.end) == 0)
		for (steps = 0; steps < STEPS_MAX && play.left > 0; steps++)
			step(&init);
	else
		check_end(&init);
	close_fd(&play.sock[0]);
	close_fd(&play.sock[1]);
	forget_message();
	return 0;
}
