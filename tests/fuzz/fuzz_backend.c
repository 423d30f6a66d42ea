/*
 * A hostile FastCGI function: its bytes, however cut, give the answer that a
 * plain reading of the records gives, and an end that is orderly only when
 * END_REQUEST said so.  On a connection that is kept, what it says to one
 * request is no part of the next one's answer, and behind whatever else it says
 * the connection is not kept.
 */
#include "tests/fuzz/fuzz.h"

#include <errno.h>
#include <sys/socket.h>
#include <unistd.h>

#include "fcgi-host/backend.h"
#include "fcgi-host/sock.h"
#include "tests/unit/stage.h"

#define INPUT_MAX 8192

struct run {
	struct stage stage;
	struct instance *instance;
	struct backend backend;
	struct buf answer;
	struct funclog_quota log_quota;
	int ended;
};

static void
drain(void *arg)
{
	struct run *run = arg;
	uint8_t piece[32768];
	ssize_t n;

	if (run->backend.instance == NULL)
		return;
	while ((n = backend_read(&run->backend, piece, sizeof(piece))) > 0)
		CLAIM(buf_add(&run->answer, piece, (size_t)n) == 0);
	CLAIM(n == -EAGAIN || (n == 0 && run->backend.is_eof));
	backend_want(&run->backend, n != 0, false);
}

static void
writable(void *arg)
{
	(void)arg;
}

static void
ended(void *arg)
{
	struct run *run = arg;

	run->ended++;
	drain(arg);
}

static void
gone(void *arg)
{
	(void)arg;
}

static void
measured(void *arg, uint64_t memory_kib)
{
	(void)arg;
	(void)memory_kib;
}

static const struct backend_events events = {
	.readable = drain, .writable = writable, .ended = ended,
	.gone = gone, .measured = measured,
};

static void
on_report(void *arg, const struct init_report *report)
{
	struct run *run = arg;

	backend_fcgi.report(&run->backend, report);
}

static const struct instance_user as_user = { on_report, gone };

/* As backend_start leaves it. */
static void
begin_backend(struct run *run, bool keeps)
{
	struct backend *backend = &run->backend;

	run->ended = 0;
	memset(backend, 0, sizeof(*backend));
	backend->kind = &backend_fcgi;
	backend->instance = run->instance;
	backend->events = &events;
	backend->arg = run;
	backend->exit_code = -1;
	backend->keeps = keeps;
	backend->is_reused = channel_is_kept(&run->instance->channel) &&
	    run->instance->served > 0;
	backend->in_fd = backend->out_fd = backend->err_fd = -1;
	backend->in_io.fd = backend->out_io.fd = backend->err_io.fd = -1;
	funclog_init(&backend->log, "f", 1, &run->log_quota);
	instance_take(run->instance, &as_user, run, "r");
	backend_want(backend, true, false);
}

/* An instance whose program runs, and the program's end of its connection. */
static int
open_instance(struct run *run)
{
	struct ctl_function info = stage_function("f", true);
	struct ctl_instance_up up = { .id = 1 };
	int error, pair[2], init[2];

	stage_open(&run->stage, NULL);
	run->instance = instance_new(&run->stage.fleet,
	    stage_put(&run->stage, &info), NULL, &run->log_quota, &error);
	CLAIM(run->instance != NULL && sock_pair(init) == 0);
	run->stage.actors[0].init_fd = init[1];
	instance_up(run->instance, &up, init);
	run->instance->is_program_running = true;
	CLAIM(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC |
	    SOCK_NONBLOCK, 0, pair) == 0);
	run->instance->channel.fd = pair[0];
	run->instance->channel.id = 1;
	return pair[1];
}

static void
close_instance(struct run *run)
{
	struct ctl_instance_gone dead = { .id = 1, .wait_status = 9 };

	backend_close(&run->backend);
	CLAIM(run->instance->user == NULL);
	instance_gone(run->instance, &dead);
	instance_free(run->instance);
	run->stage.actors[0].is_gone = run->stage.actors[0].is_up = true;
	stage_close(&run->stage);
	buf_free(&run->answer);
}

struct reading {
	bool is_orderly;
	bool has_other;     /* a record of another request */
	bool has_other_end; /* which ends it */
	bool has_more;      /* something behind the end */
};

/* What the records say to the request of that id, read by hand. */
static struct reading
plain_reading(const uint8_t *data, size_t n, unsigned own_id,
    struct buf *answer)
{
	struct reading reading = { .is_orderly = false };

	while (n > 0 && data[0] == 1 && n >= 8) {
		size_t length = (size_t)data[4] << 8 | data[5];
		size_t padding = data[6], have;
		unsigned id = (unsigned)data[2] << 8 | data[3];
		uint8_t type = data[1];

		data += 8;
		n -= 8;
		have = length < n ? length : n;
		if (type == FCGI_STDOUT && id == own_id)
			CLAIM(buf_add(answer, data, have) == 0);
		if (n < length + padding)
			break;
		if (id != own_id && id != 0) {
			reading.has_other = true;
			reading.has_other_end |= type == FCGI_END_REQUEST;
		}
		data += length + padding;
		n -= length + padding;
		if (type != FCGI_END_REQUEST || id != own_id)
			continue;
		reading.is_orderly = length >= 8 && data[4 -
		    (ptrdiff_t)(length + padding)] == FCGI_REQUEST_COMPLETE;
		reading.has_more = n > 0;
		break;
	}
	return reading;
}

static void
say(struct run *run, int fd, const uint8_t *data, size_t n, uint32_t seed,
    bool is_cut)
{
	while (n > 0) {
		size_t length = is_cut ? next_cut(&seed, n) : n;

		if (send(fd, data, length, MSG_NOSIGNAL) < 0)
			break;
		stage_turn(&run->stage, 0);
		data += length;
		n -= length;
	}
}

static void
hang_up(struct run *run, int *fd)
{
	struct init_report report = { .magic = INIT_MAGIC,
		.type = INIT_EXIT, .wait_status = 9 };

	close_fd(fd);
	stage_turn(&run->stage, 0);
	run->instance->user->report(run->instance->user_arg, &report);
	stage_turn(&run->stage, 0);
}

static void
check(const uint8_t *data, size_t n, uint32_t seed, bool is_cut)
{
	static struct run run;
	struct buf expected = { 0 };
	bool is_orderly = plain_reading(data, n, 1, &expected).is_orderly;
	int fd = open_instance(&run);

	begin_backend(&run, false);
	/* a request whose body the function reads, or does not */
	CLAIM(backend_write(&run.backend, "body", 4) == 4);
	CLAIM(backend_body_end(&run.backend) == 0);
	say(&run, fd, data, n, seed, is_cut);
	hang_up(&run, &fd);
	CLAIM(run.ended == 1 && run.backend.is_eof);
	CLAIM(run.backend.end == (is_orderly ? BACKEND_ENDED :
	    BACKEND_LOST));
	CLAIM(is_orderly || !run.backend.is_instance_usable);
	CLAIM(is_orderly || run.backend.problem != NULL);
	CLAIM(same_bytes(&run.answer, &expected));
	close_instance(&run);
	buf_free(&expected);
}

/* The next request on the connection that was kept hears the same again. */
static void
check_next(struct run *run, int fd, const uint8_t *data, size_t n,
    uint32_t seed)
{
	struct buf expected = { 0 };
	struct reading reading = plain_reading(data, n, 2, &expected);

	buf_reset(&run->answer, 0);
	channel_reuse(&run->instance->channel);
	begin_backend(run, true);
	CLAIM(run->backend.is_reused);
	say(run, fd, data, n, seed, true);
	/* one that ended another is not waited for: it may have less */
	if (!reading.has_other_end)
		CLAIM(same_bytes(&run->answer, &expected));
	else
		CLAIM(buf_len(&run->answer) <= buf_len(&expected));
	CLAIM(run->backend.end != BACKEND_ENDED || reading.is_orderly);
	buf_free(&expected);
}

static void
check_kept(const uint8_t *data, size_t n, uint32_t seed)
{
	static struct run run;
	struct buf expected = { 0 };
	struct reading reading = plain_reading(data, n, 1, &expected);
	int fd = open_instance(&run);

	begin_backend(&run, true);
	say(&run, fd, data, n, seed, true);
	CLAIM(same_bytes(&run.answer, &expected));
	if (run.backend.end == BACKEND_ENDED) {
		CLAIM(reading.is_orderly);
		backend_close(&run.backend);
		stage_turn(&run.stage, 0);
		if (channel_is_kept(&run.instance->channel)) {
			CLAIM(!reading.has_other && !reading.has_more);
			check_next(&run, fd, data, n, seed);
		}
	}
	if (run.backend.instance != NULL)
		hang_up(&run, &fd);
	close_fd(&fd);
	close_instance(&run);
	buf_free(&expected);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
	uint32_t seed = take_byte(&data, &n);

	if (n > INPUT_MAX)
		return 0;
	check(data, n, 0, false);
	check(data, n, seed * 2654435761u, true);
	check_kept(data, n, seed * 2654435761u);
	return 0;
}
