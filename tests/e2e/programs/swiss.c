/*
 * A function that does what its query string says, step by step, so that one
 * program serves most tests.  Compiled as a CGI program, and with -DWITH_FCGI
 * -lfcgi as a FastCGI program.  Steps are separated by '&':
 *
 *   head            Content-Type: text/plain and the empty line
 *   field=N:V       one header line;  end  ends the header
 *   raw=TEXT        bytes as they are; + is a blank, %XX is decoded
 *   out=N           N bytes of answer
 *   tick=N,MS       N lines "tick I", each followed by a pause
 *   err=TEXT        a line on stderr;  errbytes=N  one long line
 *   errlines=N      N lines
 *   cpu=MS          burns CPU time;  sys=MS burns it in the kernel
 *   threads=N,MS    N threads, each of which burns so much;  forks=N,MS  as many
 *                   children, which are waited for
 *   sleep=MS
 *   mem=KIB         touches memory and frees it;  hold=KIB keeps it
 *   env=NAME        prints NAME=VALUE;  environ  prints all;  process  prints
 *                   the environment of the process itself
 *   fds             what 0, 1 and 2 are, and how many others are open
 *   self            prints pid=, served=
 *   sum             reads the body, prints length= and crc=
 *   echo            copies the body to the answer, as it comes
 *   take=N          reads N bytes of the body
 *   keep=NAME       writes a file /tmp/NAME;  seen=NAME  is it there?
 *   data=NAME       appends a line to /data/NAME
 *   daemon=MS       a child in a session of its own that burns CPU and
 *                   outlives its parent;  orphan=MS  one that sleeps
 *   stubborn        ignores SIGTERM, SIGHUP and SIGINT
 *   after=MS        burns CPU once the answer has been ended (FastCGI)
 *   exit=N  kill=SIG  hang
 */
#include <ctype.h>
#include <errno.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/types.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>
#include <fcntl.h>
#include <pthread.h>

extern char **environ;
static int served;
static long after_ms;

#ifdef WITH_FCGI
#include <fcgiapp.h>
static FCGX_Stream *in, *out, *err;
static FCGX_ParamArray params;

static void
put(const char *data, size_t n)
{
	FCGX_PutStr(data, (int)n, out);
	FCGX_FFlush(out);
}

static long
get(char *data, size_t n)
{
	return FCGX_GetStr(data, (int)n, in);
}

static void
put_err(const char *data, size_t n)
{
	FCGX_PutStr(data, (int)n, err);
	FCGX_FFlush(err);
}

static const char *
var(const char *name)
{
	const char *value = FCGX_GetParam(name, params);

	return value != NULL ? value : getenv(name);
}

static char **
vars(void)
{
	return params;
}
#else
static void
write_all(int fd, const char *data, size_t n)
{
	while (n > 0) {
		ssize_t done = write(fd, data, n);

		if (done < 0 && errno == EINTR)
			continue;
		if (done < 0)
			_exit(77);
		data += done;
		n -= (size_t)done;
	}
}

static void
put(const char *data, size_t n)
{
	write_all(1, data, n);
}

static long
get(char *data, size_t n)
{
	return (long)read(0, data, n);
}

static void
put_err(const char *data, size_t n)
{
	write_all(2, data, n);
}

static const char *
var(const char *name)
{
	return getenv(name);
}

static char **
vars(void)
{
	return environ;
}
#endif

static void
say(const char *text)
{
	put(text, strlen(text));
}

static double
clock_ms(clockid_t clock)
{
	struct timespec now;

	clock_gettime(clock, &now);
	return (double)now.tv_sec * 1e3 + (double)now.tv_nsec / 1e6;
}

static void
nap(long ms)
{
	struct timespec left = { ms / 1000, ms % 1000 * 1000000 };

	while (nanosleep(&left, &left) < 0 && errno == EINTR)
		;
}

static void
burn(long ms, int in_kernel)
{
	double until = clock_ms(CLOCK_THREAD_CPUTIME_ID) + (double)ms;
	volatile unsigned spin = 0;
	char bytes[65536];
	int fd = in_kernel ? open("/dev/urandom", O_RDONLY) : -1;

	while (clock_ms(CLOCK_THREAD_CPUTIME_ID) < until) {
		for (int i = 0; fd < 0 && i < 10000; i++)
			spin += (unsigned)i;
		if (fd >= 0 && read(fd, bytes, sizeof(bytes)) < 0)
			break;
	}
	if (fd >= 0)
		close(fd);
}

static void
touch_memory(long kib, int is_kept)
{
	size_t n = (size_t)kib * 1024;
	volatile char *memory = malloc(n); /* else it is optimised away */

	if (memory == NULL) {
		say("mem=denied\n");
		return;
	}
	for (size_t i = 0; i < n; i += 512)
		memory[i] = (char)(i >> 9 | 1);
	if (!is_kept)
		free((void *)memory);
}

static void
put_bytes(long n, void (*to)(const char *, size_t))
{
	static char block[65536];

	for (size_t i = 0; i < sizeof(block); i++)
		block[i] = (char)('a' + i % 26);
	for (; n > 0; n -= (long)sizeof(block))
		to(block, n < (long)sizeof(block) ? (size_t)n : sizeof(block));
}

static uint32_t
crc(uint32_t sum, const char *data, long n)
{
	static uint32_t table[256];

	for (uint32_t i = 0; table[255] == 0 && i < 256; i++) {
		uint32_t c = i;

		for (int bit = 0; bit < 8; bit++)
			c = c & 1 ? 0xedb88320u ^ c >> 1 : c >> 1;
		table[i] = c;
	}
	for (long i = 0; i < n; i++)
		sum = table[(sum ^ (uint8_t)data[i]) & 255] ^ sum >> 8;
	return sum;
}

static void
take_body(long limit, int is_echo, int is_summed)
{
	static char block[65536];
	uint32_t sum = 0xffffffffu;
	long long total = 0;
	long n;

	while (limit < 0 || total < limit) {
		size_t want = sizeof(block);

		if (limit >= 0 && limit - total < (long long)want)
			want = (size_t)(limit - total);
		n = get(block, want);
		if (n <= 0)
			break;
		total += n;
		if (is_summed)
			sum = crc(sum, block, n);
		if (is_echo)
			put(block, (size_t)n);
	}
	if (is_summed) {
		char text[80];

		snprintf(text, sizeof(text), "length=%lld crc=%08x\n", total,
		    sum ^ 0xffffffffu);
		say(text);
	}
}

static void
tick(const char *arg)
{
	long count = atol(arg), ms = strchr(arg, ',') ?
	    atol(strchr(arg, ',') + 1) : 0;
	char text[40];

	for (long i = 0; i < count; i++) {
		snprintf(text, sizeof(text), "data: tick %ld\n\n", i);
		say(text);
		nap(ms);
	}
}

static void
leave_child(long ms, int is_burning)
{
	if (fork() != 0)
		return;
	setsid();
	if (is_burning)
		burn(ms, 0);
	else
		nap(ms);
	_exit(0);
}

static void
file_in_tmp(const char *name, int is_written)
{
	char path[200];
	int fd;

	snprintf(path, sizeof(path), "/tmp/%s", name);
	if (is_written) {
		fd = open(path, O_CREAT | O_WRONLY, 0600);
		say(fd >= 0 ? "kept\n" : "not kept\n");
	} else {
		fd = open(path, O_RDONLY);
		say(fd >= 0 ? "seen=yes\n" : "seen=no\n");
	}
	if (fd >= 0)
		close(fd);
}

static void
line_in_data(const char *name)
{
	char path[200];
	int fd;

	snprintf(path, sizeof(path), "/data/%s", name);
	fd = open(path, O_CREAT | O_WRONLY | O_APPEND, 0600);
	say(fd >= 0 && write(fd, "line\n", 5) == 5 ? "data=ok\n" :
	    "data=no\n");
	if (fd >= 0)
		close(fd);
}

static void
decode(char *text)
{
	char *to = text;

	for (; *text != '\0'; text++) {
		char hex[3] = { 0 };

		if (*text == '%' && isxdigit((unsigned char)text[1]) &&
		    isxdigit((unsigned char)text[2])) {
			memcpy(hex, text + 1, 2);
			*to++ = (char)strtol(hex, NULL, 16);
			text += 2;
		} else {
			*to++ = *text == '+' ? ' ' : *text;
		}
	}
	*to = '\0';
}

static void
put_environ(const char *name)
{
	char text[4096];

	if (name != NULL) {
		snprintf(text, sizeof(text), "%s=%s\n", name,
		    var(name) ? var(name) : "(unset)");
		say(text);
		return;
	}
	for (char **entry = vars(); *entry != NULL; entry++) {
		say(*entry);
		say("\n");
	}
}

static void
put_process(void)
{
	for (char **entry = environ; *entry != NULL; entry++) {
		say(*entry);
		say("\n");
	}
}

/* "listening", or the kind and inode of what it is. */
static void
put_fd(int fd)
{
	int is_listening = 0;
	socklen_t size = sizeof(is_listening);
	char text[120];
	struct stat facts;

	if (fstat(fd, &facts) != 0)
		snprintf(text, sizeof(text), "fd%d=closed\n", fd);
	else if (getsockopt(fd, SOL_SOCKET, SO_ACCEPTCONN, &is_listening,
	    &size) == 0 && is_listening) {
		struct sockaddr_un peer;

		size = sizeof(peer);
		snprintf(text, sizeof(text), "fd%d=listening %s\n", fd,
		    getpeername(fd, (struct sockaddr *)&peer, &size) < 0 &&
		    errno == ENOTCONN ? "ENOTCONN" : "connected");
	} else
		snprintf(text, sizeof(text), "fd%d=%s %lu%s\n", fd,
		    S_ISFIFO(facts.st_mode) ? "pipe" : "other",
		    (unsigned long)facts.st_ino,
		    fcntl(fd, F_GETFL) & O_NONBLOCK ? " nonblock" : "");
	say(text);
}

static void
put_fds(void)
{
	int others = 0;
	char text[40];

	for (int fd = 0; fd < 3; fd++)
		put_fd(fd);
	for (int fd = 3; fd < 1024; fd++)
		others += fcntl(fd, F_GETFD) >= 0;
	snprintf(text, sizeof(text), "others=%d\n", others);
	say(text);
}

static void
put_self(void)
{
	char text[80];

	snprintf(text, sizeof(text), "pid=%ld served=%d\n", (long)getpid(),
	    served);
	say(text);
}

static void
step_field(const char *arg)
{
	say(arg);
	say("\r\n");
}

static void
step_err(const char *arg)
{
	char text[4096];

	snprintf(text, sizeof(text), "%s\n", arg);
	put_err(text, strlen(text));
}

static void
step_errlines(const char *arg)
{
	char text[40];

	for (long i = 0; i < atol(arg); i++) {
		snprintf(text, sizeof(text), "line %ld\n", i);
		put_err(text, strlen(text));
	}
}

static void *
burn_thread(void *ms)
{
	burn((long)(intptr_t)ms, 0);
	return NULL;
}

/* N,MS: so many of them, each of which burns so long. */
static void
burn_together(const char *arg, int as_threads)
{
	pthread_t threads[16];
	long count = 0, ms = 0;

	sscanf(arg, "%ld,%ld", &count, &ms);
	for (long i = 0; i < count && i < 16; i++)
		if (as_threads)
			pthread_create(&threads[i], NULL, burn_thread,
			    (void *)(intptr_t)ms);
		else
			leave_child(ms, 1);
	for (long i = 0; i < count && i < 16; i++)
		as_threads ? pthread_join(threads[i], NULL) : wait(NULL);
}

/* Steps that only act on the process. */
static int
step_process(const char *name, const char *arg)
{
	long n = atol(arg);

	if (strcmp(name, "cpu") == 0)
		burn(n, 0);
	else if (strcmp(name, "sys") == 0)
		burn(n, 1);
	else if (strcmp(name, "threads") == 0)
		burn_together(arg, 1);
	else if (strcmp(name, "forks") == 0)
		burn_together(arg, 0);
	else if (strcmp(name, "sleep") == 0)
		nap(n);
	else if (strcmp(name, "mem") == 0)
		touch_memory(n, 0);
	else if (strcmp(name, "hold") == 0)
		touch_memory(n, 1);
	else if (strcmp(name, "daemon") == 0)
		leave_child(n, 1);
	else if (strcmp(name, "orphan") == 0)
		leave_child(n, 0);
	else if (strcmp(name, "exit") == 0)
		exit((int)n);
	else if (strcmp(name, "kill") == 0)
		kill(getpid(), (int)n);
	else if (strcmp(name, "after") == 0)
		after_ms = n;
	else if (strcmp(name, "hang") == 0)
		for (;;)
			pause();
	else if (strcmp(name, "stubborn") == 0) {
		signal(SIGTERM, SIG_IGN);
		signal(SIGHUP, SIG_IGN);
		signal(SIGINT, SIG_IGN);
	} else
		return 0;
	return 1;
}

static void
step(const char *name, const char *arg)
{
	if (step_process(name, arg))
		return;
	if (strcmp(name, "head") == 0)
		say("Content-Type: text/plain\r\n\r\n");
	else if (strcmp(name, "field") == 0)
		step_field(arg);
	else if (strcmp(name, "end") == 0)
		say("\r\n");
	else if (strcmp(name, "raw") == 0)
		say(arg);
	else if (strcmp(name, "out") == 0)
		put_bytes(atol(arg), put);
	else if (strcmp(name, "tick") == 0)
		tick(arg);
	else if (strcmp(name, "err") == 0)
		step_err(arg);
	else if (strcmp(name, "errlines") == 0)
		step_errlines(arg);
	else if (strcmp(name, "errbytes") == 0) {
		put_bytes(atol(arg), put_err);
		put_err("\n", 1);
	} else if (strcmp(name, "env") == 0)
		put_environ(arg);
	else if (strcmp(name, "environ") == 0)
		put_environ(NULL);
	else if (strcmp(name, "process") == 0)
		put_process();
	else if (strcmp(name, "fds") == 0)
		put_fds();
	else if (strcmp(name, "self") == 0)
		put_self();
	else if (strcmp(name, "sum") == 0)
		take_body(-1, 0, 1);
	else if (strcmp(name, "echo") == 0)
		take_body(-1, 1, 0);
	else if (strcmp(name, "take") == 0)
		take_body(atol(arg), 0, 0);
	else if (strcmp(name, "keep") == 0)
		file_in_tmp(arg, 1);
	else if (strcmp(name, "seen") == 0)
		file_in_tmp(arg, 0);
	else if (strcmp(name, "data") == 0)
		line_in_data(arg);
	else
		say("unknown step\n");
}

static void
serve(void)
{
	char query[8192], *rest = query, *one;

	served++;
	snprintf(query, sizeof(query), "%s",
	    var("QUERY_STRING") ? var("QUERY_STRING") : "");
	if (query[0] == '\0')
		snprintf(query, sizeof(query), "head&raw=hello%%0a");
	while ((one = strsep(&rest, "&")) != NULL) {
		char *arg = strchr(one, '=');

		if (arg != NULL)
			*arg++ = '\0';
		else
			arg = one + strlen(one);
		decode(arg);
		step(one, arg);
	}
}

int
main(void)
{
#ifdef WITH_FCGI
	while (FCGX_Accept(&in, &out, &err, &params) >= 0) {
		after_ms = 0;
		serve();
		FCGX_Finish();
		burn(after_ms, 0);
	}
#else
	serve();
#endif
	return 0;
}
