/*
 * What a compiled program does in a function: each query string is one part.
 * By glibc with a library in its own folder, and static by musl.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <semaphore.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define MAPPED (64 << 20)

static void __attribute__((noreturn))
fail(const char *what)
{
	printf("Status: 500\nContent-Type: text/plain\n\n%s: %s\n", what,
	    strerror(errno));
	exit(1);
}

static void
claim(int is_true, const char *what)
{
	if (!is_true)
		fail(what);
}

static void *
add_up(void *lock)
{
	static int total;

	for (int i = 0; i < 10000; i++) {
		pthread_mutex_lock(lock);
		total++;
		pthread_mutex_unlock(lock);
	}
	return &total;
}

static int
part_threads(void)
{
	pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
	pthread_t threads[8];
	void *total = NULL;

	for (int i = 0; i < 8; i++)
		claim(pthread_create(&threads[i], NULL, add_up, &lock) == 0,
		    "pthread_create");
	for (int i = 0; i < 8; i++)
		pthread_join(threads[i], &total);
	return *(int *)total;
}

static volatile sig_atomic_t rung;

static void
ring(int number)
{
	rung = number;
}

/* A timer of the thread's own processor time, as Go's profiler sets them. */
static int
part_timer(void)
{
	struct sigevent event = { .sigev_notify = SIGEV_SIGNAL,
		.sigev_signo = SIGPROF };
	struct itimerspec soon = { .it_value.tv_nsec = 5000000 };
	time_t until = time(NULL) + 10;
	timer_t timer;

	signal(SIGPROF, ring);
	claim(timer_create(CLOCK_THREAD_CPUTIME_ID, &event, &timer) == 0,
	    "timer_create");
	claim(timer_settime(timer, 0, &soon, NULL) == 0, "timer_settime");
	while (!rung && time(NULL) < until)
		;
	return rung == SIGPROF;
}

/* A file mapped by two processes, in /data and as shared memory. */
static int
part_mapped(void)
{
	int data = open("/data/mapped", O_RDWR | O_CREAT, 0600);
	int shared = shm_open("/work", O_RDWR | O_CREAT, 0600);
	int total = 0;

	claim(data >= 0 && ftruncate(data, MAPPED) == 0, "/data");
	claim(shared >= 0 && ftruncate(shared, 65536) == 0, "shm_open");
	char *file = mmap(NULL, MAPPED, PROT_READ | PROT_WRITE, MAP_SHARED,
	    data, 0);
	int *block = mmap(NULL, 65536, PROT_READ | PROT_WRITE, MAP_SHARED,
	    shared, 0);
	claim(file != MAP_FAILED && block != MAP_FAILED, "mmap");
	sem_t *gate = sem_open("/gate", O_CREAT, 0600, 0);
	claim(gate != SEM_FAILED, "sem_open");
	pid_t pid = fork();
	if (pid == 0) {
		file[MAPPED - 1] = 40;
		block[0] = 2;
		sem_post(gate);
		_exit(msync(file, MAPPED, MS_SYNC) != 0);
	}
	sem_wait(gate);
	total = file[MAPPED - 1] + block[0];
	int status = 1;
	waitpid(pid, &status, 0);
	claim(status == 0, "msync");
	return total;
}

#ifdef WITH_DLOPEN
static void
copy(const char *from, const char *to)
{
	char command[200];

	snprintf(command, sizeof(command), "cp %s %s", from, to);
	claim(system(command) == 0, command);
}

static int
part_library(void)
{
	void *library = dlopen("/fn/libplug.so", RTLD_NOW);
	int (*answer)(void);

	claim(library != NULL, "dlopen");
	*(void **)&answer = dlsym(library, "plug_answer");
	claim(answer != NULL && answer() == 42, "plug_answer");
	/* What the function can write is never code. */
	copy("/fn/libplug.so", "/data/libplug.so");
	copy("/fn/libplug.so", "/tmp/libplug.so");
	claim(dlopen("/data/libplug.so", RTLD_NOW) == NULL, "from /data");
	claim(strstr(dlerror(), "failed to map segment") != NULL, "the reason");
	claim(dlopen("/tmp/libplug.so", RTLD_NOW) == NULL, "from /tmp");
	return answer();
}
#endif

int
main(void)
{
	static const struct {
		const char *name;
		int (*run)(void);
	} parts[] = {
		{ "threads", part_threads }, { "timer", part_timer },
		{ "mapped", part_mapped },
#ifdef WITH_DLOPEN
		{ "library", part_library },
#endif
	};
	const char *name = getenv("QUERY_STRING");

	for (size_t i = 0; i < sizeof(parts) / sizeof(parts[0]); i++) {
		if (strcmp(parts[i].name, name) != 0)
			continue;
		int found = parts[i].run();
		printf("Content-Type: text/plain\n\n%s: ok %d\n", name, found);
		return 0;
	}
	fail("no such part");
}
