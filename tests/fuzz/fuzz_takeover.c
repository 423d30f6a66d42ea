/*
 * What a host is handed: by the host that it takes over from, which may be of
 * another version; by who starts it, in LISTEN_FDS; and what a host that is
 * taken over hears from who says that he is its successor.  Whatever the words
 * are, the outcome is that of a plain reading of them, every refusal is a
 * sentence, every descriptor is CLOEXEC, and none is left open.
 */
#include "tests/fuzz/fuzz.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "fcgi-host/sock.h"
#include "fcgi-host/takeover.h"
#include "tests/fuzz/clock.h"

#define STEPS_MAX 96
#define WORD_MAX 64 /* as takeover.c has it */
#define PROBLEM_MAX 512

static const char *const words[] = { "fcgi-host takeover 1", "ours", "given",
	"kept", "ready", "go", "ended", "fcgi-host takeover 2" };
enum { GREETING, OURS, GIVEN, KEPT, READY, GO };

/* A message of the script: a word, or bytes of the input's own. */
struct word {
	char text[256];
	size_t n, fds;
};

/* The other end of the next connect; -1: it is the kernel's. */
static int peer = -1;

int
connect(int fd, const struct sockaddr *address, socklen_t size)
{
	if (peer < 0)
		return (int)syscall(SYS_connect, fd, address, size);
	return dup3(peer, fd, O_CLOEXEC) >= 0 ? 0 : -1;
}

/* Nothing is waited for: all that comes is there. */
int
poll(struct pollfd *fds, nfds_t count, int timeout_ms)
{
	(void)timeout_ms;
	return (int)syscall(SYS_poll, fds, count, 0);
}

static int
lowest_free(void)
{
	int fd = fcntl(STDERR_FILENO, F_DUPFD_CLOEXEC, 3);

	CLAIM(fd >= 0);
	close(fd);
	return fd;
}

static void
check_sentence(const char *text)
{
	size_t n = strnlen(text, PROBLEM_MAX), i;

	CLAIM(n > 0 && n < PROBLEM_MAX);
	for (i = 0; i < n; i++)
		CLAIM((unsigned char)text[i] >= 0x20 && text[i] != 0x7f);
}

static struct word
take_word(const uint8_t **data, size_t *n)
{
	uint8_t how = take_byte(data, n);
	struct word word = { .fds = how >> 6 };

	if ((how & 0x3f) < sizeof(words) / sizeof(words[0])) {
		word.n = strlen(words[how & 0x3f]);
		memcpy(word.text, words[how & 0x3f], word.n);
		return word;
	}
	word.n = take_byte(data, n);
	if (word.n > *n)
		word.n = *n;
	memcpy(word.text, *data, word.n);
	*data += word.n;
	*n -= word.n;
	return word;
}

static bool
is_word(const struct word *word, unsigned which)
{
	return word->n == strlen(words[which]) &&
	    memcmp(word->text, words[which], word->n) == 0;
}

/* The descriptors are all of one file, which is whatever is at hand. */
static int
send_word(int fd, const struct word *word)
{
	const int fds[3] = { STDERR_FILENO, STDERR_FILENO, STDERR_FILENO };

	return sock_send(fd, word->text, word->n, fds, word->fds);
}

/* ------------------------------------------------------------- the new host */

struct script {
	struct word at[STEPS_MAX];
	size_t count;
	bool is_open; /* who said it is there still, and silent */
};

static void
take_script(struct script *script, const uint8_t **data, size_t *n)
{
	script->is_open = take_byte(data, n) % 2 != 0;
	for (script->count = 0; script->count < STEPS_MAX && *n > 0;) {
		struct word word = take_word(data, n);

		if (word.n > 0)
			script->at[script->count++] = word;
	}
}

/* As sock_recv sees it, with room for one descriptor. */
static int
expected_of(const struct word *word)
{
	if (word->n > WORD_MAX || word->fds > 1)
		return -EMSGSIZE;
	return 0;
}

/* What is to come of the words; *used of them are read. */
static int
plain_reading(const struct script *script, size_t *used, size_t *taken)
{
	*taken = 0;
	for (*used = 0; *used < script->count;) {
		const struct word *word = &script->at[(*used)++];
		int error = expected_of(word);

		if (error != 0)
			return error;
		if (*used == 1) {
			if (!is_word(word, GREETING))
				return -EPROTO;
			continue;
		}
		if (is_word(word, READY))
			return 0;
		if (*taken == GIVEN_MAX)
			return -ENOSPC;
		if (word->fds == 0 || (!is_word(word, OURS) &&
		    !is_word(word, GIVEN) && !is_word(word, KEPT)))
			return -EPROTO;
		++*taken;
	}
	return script->is_open ? -ETIMEDOUT : -ECONNRESET;
}

static void
check_given(const struct given *given)
{
	for (size_t i = 0; i < given->count; i++) {
		const struct given_fd *one = &given->at[i];

		CLAIM((fcntl(one->fd, F_GETFD) & FD_CLOEXEC) != 0);
		CLAIM(strcmp(one->name, CARRIED_NAME) == 0 ||
		    strcmp(one->name, LISTENERS_HANDED_ON) == 0 ||
		    strncmp(one->name, LISTENERS_STORED,
		    strlen(LISTENERS_STORED)) == 0);
	}
}

/* The old one's word that it has ended, or its end, or its silence. */
static void
check_go(int fd, const struct script *script, size_t used)
{
	char problem[PROBLEM_MAX] = "";
	int error = takeover_go(fd, problem, sizeof(problem)), expected = 0;

	if (script->is_open)
		expected = used == script->count ? -ETIMEDOUT :
		    expected_of(&script->at[used]);
	CLAIM(error == expected);
	if (error != 0)
		check_sentence(problem);
}

static void
ask(const uint8_t *data, size_t n)
{
	static struct script script;
	struct given given = { .count = 0 };
	char problem[PROBLEM_MAX] = "";
	int pair[2], fd, expected;
	size_t i, used, taken;

	take_script(&script, &data, &n);
	CLAIM(sock_pair(pair) == 0);
	for (i = 0; i < script.count; i++)
		(void)send_word(pair[1], &script.at[i]);
	if (!script.is_open)
		close_fd(&pair[1]);
	peer = pair[0];
	expected = plain_reading(&script, &used, &taken);
	fd = takeover_ask("/nowhere", &given, problem, sizeof(problem));
	peer = -1;
	close_fd(&pair[0]);
	CLAIM(expected == 0 ? fd >= 0 : fd == expected);
	CLAIM(given.count == taken);
	check_given(&given);
	if (fd >= 0)
		check_go(fd, &script, used);
	else
		check_sentence(problem);
	close_fd(&fd);
	close_fd(&pair[1]);
	given_close(&given);
}

/* ------------------------------------------------------------- the old host */

struct old {
	struct loop *loop;
	struct takeover *takeover;
	int listen_fd, client;
	bool is_heard; /* the client has said its first word */
	unsigned gone, expected;
};

static void
on_go(void *arg)
{
	((struct old *)arg)->gone++;
}

static void
stop(void *arg)
{
	loop_stop(arg);
}

/* What is ready now, and what that makes ready. */
static void
turn(struct loop *loop)
{
	for (int i = 0; i < 2; i++) {
		struct loop_timer now = { 0 };

		CLAIM(loop_timer_set(loop, &now, loop_clock_us(), stop,
		    loop) == 0);
		CLAIM(loop_run(loop) == 0);
	}
}

static int
listen_somewhere(struct sockaddr_un *address, socklen_t *size)
{
	int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC |
	    SOCK_NONBLOCK, 0);

	*address = (struct sockaddr_un){ .sun_family = AF_UNIX };
	CLAIM(fd >= 0 && bind(fd, (struct sockaddr *)address,
	    sizeof(sa_family_t)) == 0 && listen(fd, 4) == 0);
	*size = sizeof(*address);
	CLAIM(getsockname(fd, (struct sockaddr *)address, size) == 0);
	return fd;
}

/* The greeting, each socket with its descriptor, and that this was all. */
static void
check_handed_out(int client, const struct listeners *listeners)
{
	for (size_t i = 0; i < listeners->count + 2; i++) {
		const char *wanted = words[i == 0 ? GREETING :
		    i > listeners->count ? READY :
		    listeners->is_ours[i - 1] ? OURS : GIVEN];
		char text[WORD_MAX];
		size_t count = 0;
		int fd = -1;
		ssize_t n = sock_recv(client, text, sizeof(text), &fd, 1,
		    &count);

		CLAIM(n == (ssize_t)strlen(wanted) &&
		    memcmp(text, wanted, (size_t)n) == 0);
		CLAIM((count == 1) == (i > 0 && i <= listeners->count));
		if (count == 1)
			close_fd(&fd);
	}
}

/* Whether the word, the first that a client says, is a successor's. */
static bool
counts(const struct word *word)
{
	return is_word(word, GO) && word->fds == 0;
}

static void
old_step(struct old *old, const struct sockaddr_un *address, socklen_t size,
    const struct listeners *listeners, const struct word *word)
{
	if (word->n == 0 && word->fds == 0) {
		close_fd(&old->client);
	} else if (word->n == 0) {
		clock_skip_ms(word->fds * 4000);
	} else if (old->client < 0) {
		old->client = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC |
		    SOCK_NONBLOCK, 0);
		CLAIM(connect(old->client, (const struct sockaddr *)address,
		    size) == 0);
		old->is_heard = false;
		turn(old->loop);
		check_handed_out(old->client, listeners);
	} else if (send_word(old->client, word) == 0) {
		if (!old->is_heard && counts(word))
			old->expected = 1;
		old->is_heard = true;
	}
	turn(old->loop);
	CLAIM(old->gone == old->expected);
	CLAIM(!takeover_has_successor(old->takeover) || old->gone == 1);
}

/* A successor hears that nothing is left. */
static void
old_end(struct old *old)
{
	bool has_successor = takeover_has_successor(old->takeover);
	char text[WORD_MAX];

	takeover_free(old->takeover);
	if (has_successor)
		CLAIM(sock_recv(old->client, text, sizeof(text), NULL, 0,
		    NULL) == 5 && memcmp(text, "ended", 5) == 0);
	close_fd(&old->client);
	close_fd(&old->listen_fd);
	loop_free(old->loop);
}

static void
be_asked(const uint8_t *data, size_t n)
{
	uint8_t how = take_byte(&data, &n);
	struct listeners listeners = { .count = how % 4 };
	const struct carried carried = CARRIED_INIT;
	struct old old = { .loop = loop_new(), .client = -1 };
	struct sockaddr_un address;
	socklen_t size;

	for (size_t i = 0; i < listeners.count; i++) {
		listeners.fd[i] = STDERR_FILENO;
		listeners.is_ours[i] = (how >> (2 + i) & 1) != 0;
	}
	clock_take(true);
	old.listen_fd = listen_somewhere(&address, &size);
	CLAIM(old.loop != NULL);
	old.takeover = takeover_new(old.loop, old.listen_fd, &listeners,
	    &carried, on_go, &old);
	CLAIM(old.takeover != NULL);
	for (unsigned i = 0; i < STEPS_MAX && n > 0; i++) {
		struct word word = take_word(&data, &n);

		old_step(&old, &address, size, &listeners, &word);
	}
	old_end(&old);
	clock_take(false);
}

/* ------------------------------------------------- by who starts the program */

/* Up to a newline; NULL: the variable is not set. */
static const char *
take_value(const uint8_t **data, size_t *n, const char *name, char value[512])
{
	size_t used = 0;
	uint8_t byte = take_byte(data, n);

	if (byte == 0) {
		CLAIM(unsetenv(name) == 0);
		return NULL;
	}
	if (byte == 'P')
		used = (size_t)snprintf(value, 512, "%d", (int)getpid());
	else if (byte != '\n')
		value[used++] = (char)byte;
	while (byte != '\n' && used < 511 && *n > 0) {
		byte = take_byte(data, n);
		if (byte == '\n' || byte == 0)
			break;
		value[used++] = (char)byte;
	}
	value[used] = '\0';
	CLAIM(setenv(name, value, 1) == 0);
	return value;
}

static void
be_given(const uint8_t *data, size_t n)
{
	char pid[512], fds[512], names[512], own[16], problem[PROBLEM_MAX] = "";
	const char *said_pid = take_value(&data, &n, "LISTEN_PID", pid);
	const char *said = take_value(&data, &n, "LISTEN_FDS", fds);
	struct given given;
	int error;

	(void)take_value(&data, &n, "LISTEN_FDNAMES", names);
	(void)snprintf(own, sizeof(own), "%d", (int)getpid());
	error = given_take(&given, problem, sizeof(problem));
	CLAIM(error == 0 || error == -EINVAL);
	CLAIM(given.is_anothers == (said != NULL && (said_pid == NULL ||
	    strcmp(pid, own) != 0)));
	CLAIM(given.count <= GIVEN_MAX && (error == 0 || given.count == 0));
	if (given.count > 0) {
		(void)snprintf(own, sizeof(own), "%zu", given.count);
		CLAIM(strcmp(own, fds) == 0);
	}
	for (size_t i = 0; i < given.count; i++) {
		CLAIM(given.at[i].fd == GIVEN_FIRST + (int)i);
		CLAIM(strchr(given.at[i].name, '"') == NULL);
		check_sentence(given.at[i].name);
	}
	CLAIM(error == 0 ? problem[0] == '\0' : problem[0] != '\0');
	CLAIM(getenv("LISTEN_FDS") == NULL && getenv("LISTEN_PID") == NULL &&
	    getenv("LISTEN_FDNAMES") == NULL);
}

static int
some_descriptor(uint8_t kind)
{
	int pair[2] = { -1, -1 };

	if (kind % 3 == 0)
		CLAIM(sock_pair(pair) == 0);
	else if (kind % 3 == 1)
		CLAIM(sock_pipe(pair) == 0);
	else
		CLAIM(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0,
		    pair) == 0);
	close_fd(&pair[1]);
	return pair[0];
}

/* Only the end of such a pair is one. */
static void
be_left(const uint8_t *data, size_t n)
{
	struct carried carried = CARRIED_INIT;
	struct given given = { .count = 0 };
	int kind = -1;

	while (n > 0 && given.count < 8) {
		uint8_t how = take_byte(&data, &n);
		struct given_fd *one = &given.at[given.count++];

		one->fd = how % 5 == 4 ? -1 : some_descriptor(how);
		(void)snprintf(one->name, sizeof(one->name), "%s",
		    how >= 128 ? CARRIED_NAME : "listen-x");
		if (how >= 128 && one->fd >= 0)
			kind = how % 3;
	}
	carried_take(&carried, &given);
	CLAIM((carried.from >= 0) == (kind == 0));
	CLAIM(kind != 0 || (fcntl(carried.from, F_GETFL) & O_NONBLOCK) != 0);
	for (size_t i = 0; i < given.count; i++)
		CLAIM(given.at[i].fd < 0 ||
		    strcmp(given.at[i].name, CARRIED_NAME) != 0);
	carried_close(&carried);
	given_close(&given);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
	uint8_t mode = take_byte(&data, &n);
	int before = lowest_free();

	log_init("fuzz", LOG_ERROR);
	if (mode % 4 == 0)
		ask(data, n);
	else if (mode % 4 == 1)
		be_asked(data, n);
	else if (mode % 4 == 2)
		be_given(data, n);
	else
		be_left(data, n);
	CLAIM(lowest_free() == before);
	return 0;
}
