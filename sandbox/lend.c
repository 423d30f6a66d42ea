#include "sandbox/lend.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/timerfd.h>
#include <sys/utsname.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "fcgi-host/sock.h"

/* The child's; below it lies a page that nobody may touch. */
#define STACK_BYTES (128 * 1024)
#define GUARD_BYTES 4096
/* How often one is looked at: somebody may have stopped it; and when its time is
 * over it may not be there yet. */
#define LOOK_MS 50
#define MS_NS 1000000

struct lender {
	pid_t pid; /* the process that all of this is of; 0: not made */
	pthread_t guard;
	char *stack;
	int dump_fd; /* fs.suid_dumpable; -1: not to be read */
	int timer_fd;
	pid_t timer_pid; /* whose the timer is */
	pthread_mutex_t lock; /* of what follows */
	bool is_lent, is_ending;
	enum lend_hold hold;
	uint64_t until_ns;
	/* the kernel writes it before the child runs, the guard reads it */
	volatile int pidfd;
};

static uint64_t
now_ns(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * 1000 * MS_NS + (uint64_t)now.tv_nsec;
}

bool
lend_is_stopped(int pidfd)
{
	siginfo_t info = { .si_pid = 0 };

	return pidfd >= 0 && waitid(P_PIDFD, (id_t)pidfd, &info,
	    WSTOPPED | WNOHANG | WNOWAIT) == 0 && info.si_pid != 0;
}

/* ----------------------------------------------------------------- the guard */

/* Whether it goes on.  A look that comes late finds another start's time, or
 * none lent, and does nothing. */
static bool
guard_look(struct lender *lender)
{
	bool goes_on;

	pthread_mutex_lock(&lender->lock);
	goes_on = !lender->is_ending;
	/* one that was killed, and not there then, again */
	if (lender->is_lent && lender->hold == LEND_NOTHING)
		lender->hold = lend_is_stopped(lender->pidfd) ? LEND_STOP :
		    now_ns() >= lender->until_ns ? LEND_TIME : LEND_NOTHING;
	if (lender->is_lent && lender->hold != LEND_NOTHING &&
	    lender->pidfd >= 0)
		syscall(SYS_pidfd_send_signal, lender->pidfd, SIGKILL, NULL, 0);
	pthread_mutex_unlock(&lender->lock);
	return goes_on;
}

static void *
guard_run(void *data)
{
	struct lender *lender = data;
	uint64_t times;

	do {
		while (read(lender->timer_fd, &times, sizeof(times)) < 0 &&
		    errno == EINTR)
			continue;
	} while (guard_look(lender));
	return NULL;
}

/* All signals are the first thread's. */
static int
guard_start(struct lender *lender)
{
	sigset_t all, before;
	int error;

	sigfillset(&all);
	error = pthread_sigmask(SIG_SETMASK, &all, &before);
	if (error != 0)
		return -error;
	error = pthread_create(&lender->guard, NULL, guard_run, lender);
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	return -error;
}

static void
timer_set(const struct lender *lender, uint64_t after_ns)
{
	const struct itimerspec when = {
		.it_value = { (time_t)(after_ns / (1000 * MS_NS)),
		    (long)(after_ns % (1000 * MS_NS)) },
		.it_interval = { 0, after_ns == 0 ? 0 : LOOK_MS * MS_NS },
	};

	(void)timerfd_settime(lender->timer_fd, 0, &when, NULL);
}

/* ------------------------------------------------------------------ the lender */

struct lender *
lender_new(void)
{
	struct lender *lender = calloc(1, sizeof(*lender));

	if (lender == NULL)
		return NULL;
	lender->timer_fd = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC);
	if (lender->timer_fd < 0) {
		free(lender);
		return NULL;
	}
	lender->dump_fd = open("/proc/sys/fs/suid_dumpable",
	    O_RDONLY | O_CLOEXEC);
	lender->timer_pid = getpid();
	return lender;
}

static void
unmake(struct lender *lender)
{
	if (lender->stack != NULL)
		munmap(lender->stack, GUARD_BYTES + STACK_BYTES);
	lender->stack = NULL;
	lender->pid = 0;
}

void
lender_free(struct lender *lender)
{
	if (lender == NULL)
		return;
	/* a forked process has the memory, and no such thread */
	if (lender->pid == getpid()) {
		pthread_mutex_lock(&lender->lock);
		lender->is_ending = true;
		pthread_mutex_unlock(&lender->lock);
		timer_set(lender, 1);
		pthread_join(lender->guard, NULL);
	}
	unmake(lender);
	close_fd(&lender->timer_fd);
	close_fd(&lender->dump_fd);
	free(lender);
}

static int
stack_make(struct lender *lender)
{
	void *stack = mmap(NULL, GUARD_BYTES + STACK_BYTES, PROT_NONE,
	    MAP_PRIVATE | MAP_ANONYMOUS | MAP_STACK | MAP_NORESERVE, -1, 0);

	if (stack == MAP_FAILED)
		return -errno;
	lender->stack = stack;
	return mprotect(lender->stack + GUARD_BYTES, STACK_BYTES,
	    PROT_READ | PROT_WRITE) != 0 ? -errno : 0;
}

/* A forked process shares its parent's timer, and must not set that. */
static int
timer_renew(struct lender *lender)
{
	int fd = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC);

	if (fd < 0)
		return -errno;
	close_fd(&lender->timer_fd);
	lender->timer_fd = fd;
	lender->timer_pid = getpid();
	return 0;
}

static int
make(struct lender *lender)
{
	int error = lender->timer_pid == getpid() ? 0 : timer_renew(lender);

	if (error != 0)
		return error;
	unmake(lender); /* what a fork has left of its parent's */
	pthread_mutex_init(&lender->lock, NULL);
	lender->is_lent = false;
	error = stack_make(lender);
	if (error == 0 && prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) != 0)
		error = -errno;
	if (error == 0)
		error = guard_start(lender);
	if (error != 0)
		unmake(lender);
	else
		lender->pid = getpid();
	return error;
}

static void
lend(struct lender *lender, unsigned limit_ms)
{
	const uint64_t limit_ns = (uint64_t)limit_ms * MS_NS;

	pthread_mutex_lock(&lender->lock);
	lender->is_lent = true;
	lender->hold = LEND_NOTHING;
	lender->pidfd = -1;
	lender->until_ns = now_ns() + limit_ns;
	pthread_mutex_unlock(&lender->lock);
	timer_set(lender, limit_ms < LOOK_MS ? limit_ns : LOOK_MS * MS_NS);
}

static enum lend_hold
take_back(struct lender *lender)
{
	enum lend_hold hold;

	pthread_mutex_lock(&lender->lock);
	lender->is_lent = false;
	hold = lender->hold;
	pthread_mutex_unlock(&lender->lock);
	timer_set(lender, 0);
	return hold;
}

/* ---------------------------------------------------------------- who looks in */

/* Linux 5.16 was the first to kill, at a dump, that process alone. */
static bool
kills_one(const char *release)
{
	unsigned major, minor;

	return sscanf(release, "%u.%u", &major, &minor) == 2 &&
	    (major > 5 || (major == 5 && minor >= 16));
}

bool
lend_may(char suid_dumpable, const char *release)
{
	return suid_dumpable == '0' ||
	    (suid_dumpable == '2' && kills_one(release));
}

/* At each start: an administrator may set it at any time. */
static bool
stays_closed(const struct lender *lender)
{
	struct utsname kernel;
	char value;

	return pread(lender->dump_fd, &value, 1, 0) == 1 &&
	    uname(&kernel) == 0 && lend_may(value, kernel.release);
}

/* ------------------------------------------------------------------- the clone */

#if defined(__x86_64__) && !defined(__SANITIZE_ADDRESS__)
#define CAN_LEND true
/* The C library's clone3 is not to be had, and a function that returned twice
 * would find its frame overwritten: so the child's part begins at the call. */
static long
clone_and_run(const struct clone_args *arguments, void (*run)(const void *),
    const void *with)
{
	register long result __asm__("rax") = SYS_clone3;
	register void (*start)(const void *) __asm__("r12") = run;
	register const void *start_with __asm__("r13") = with;

	__asm__ volatile("syscall\n\t"
	    "testq %%rax, %%rax\n\t"
	    "jnz 1f\n\t"
	    "movq %%r13, %%rdi\n\t"
	    "callq *%%r12\n\t"
	    "hlt\n"
	    "1:"
	    : "+r"(result)
	    : "D"(arguments), "S"(sizeof(*arguments)), "r"(start),
	      "r"(start_with)
	    : "rcx", "r11", "cc", "memory");
	return result;
}
#else
#define CAN_LEND false
static long
clone_and_run(const struct clone_args *arguments, void (*run)(const void *),
    const void *with)
{
	(void)arguments;
	(void)run;
	(void)with;
	return -ENOTSUP;
}
#endif

long
lend_clone(struct lender *lender, struct clone_args *arguments,
    void (*run)(const void *with), const void *with, unsigned limit_ms,
    int *pidfd, enum lend_hold *hold)
{
	long pid;

	if (!CAN_LEND || !stays_closed(lender) ||
	    (lender->pid != getpid() && make(lender) != 0))
		return -ENOTSUP;
	arguments->flags |= CLONE_PIDFD | CLONE_VM | CLONE_VFORK;
	arguments->pidfd = (uint64_t)(uintptr_t)&lender->pidfd;
	arguments->stack = (uint64_t)(uintptr_t)(lender->stack + GUARD_BYTES);
	arguments->stack_size = STACK_BYTES;
	lend(lender, limit_ms);
	pid = clone_and_run(arguments, run, with);
	*hold = take_back(lender);
	if (pid > 0)
		*pidfd = lender->pidfd;
	return pid;
}
