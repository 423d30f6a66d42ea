/*
 * Whole conversations: three web servers that are honest in their records but
 * rude in their timing, CGI and FastCGI functions that answer as they like, an
 * init that lies, instances that die, time that passes.  Every byte of a
 * request and of an answer carries the request's number.
 *
 * Claims: no byte of one request in another's answer or body; no request is
 * given to two programs; an answer that is complete has its record before its
 * last byte, says the same as it, and is what the function wrote or one of
 * ours, to the byte; every request has an end; every execution has exactly one
 * record; seq has no gaps; every connection ends; nothing stays.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "fcgi-host/sock.h"
#include "tests/fuzz/clock.h"
#include "tests/fuzz/fuzz.h"
#include "tests/fuzz/talk.h"

#define INPUT_MAX 1024

static struct talk play;

static uint8_t
next(void)
{
	return take_byte(&play.data, &play.left);
}

static size_t
place_of(uint64_t id)
{
	size_t i = 0;

	while (i < play.stage.actor_count && play.stage.actors[i].id != id)
		i++;
	CLAIM(i < play.stage.actor_count);
	return i;
}

/* The gateway's way to a FastCGI program: "/ID.sock" at its root. */
int
connect(int fd, __CONST_SOCKADDR_ARG address, socklen_t size)
{
	const struct sockaddr_un *un =
	    (const void *)address.__sockaddr__;
	struct program *program;
	int pair[2];

	CLAIM(size > sizeof(sa_family_t) && un->sun_family == AF_UNIX);
	if (play.refuses_connect) {
		errno = EAGAIN;
		return -1;
	}
	program = &play.programs[place_of(strtoull(un->sun_path + 1, NULL,
	    10))];
	CLAIM(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC,
	    0, pair) == 0);
	CLAIM(dup3(pair[0], fd, O_CLOEXEC) == fd);
	close(pair[0]);
	close_fd(&program->fd);
	params_free(program->params);
	*program = (struct program){ .fd = pair[1],
		.is_dead = program->is_dead,
		.params = params_new(65536, 512) };
	return 0;
}

/* What the gateway sends is heard at once: what comes after it in the same turn
 * of the loop, the record above all, came too late. */
ssize_t
send(int fd, const void *data, size_t n, int flags)
{
	ssize_t sent = syscall(SYS_sendto, fd, data, n, flags, NULL, 0);

	if ((flags & MSG_DONTWAIT) == 0)
		return sent; /* the play's own */
	for (int i = 0; i < TALK_WEBS; i++)
		talker_hear(&play, &play.talkers[i]);
	return sent;
}

static void program_acts(void);

/* Between the gateway's reading and what follows from it a program may speak. */
ssize_t
recv(int fd, void *data, size_t n, int flags)
{
	ssize_t got = syscall(SYS_recvfrom, fd, data, n, flags, NULL, NULL);

	if (play.is_gateways_turn && play.acts_within) {
		play.acts_within = false;
		program_acts();
	}
	return got;
}

/* ------------------------------------------------------------- the programs */

static unsigned
number_of(const char *request_id)
{
	CLAIM(request_id != NULL && request_id[0] == 'n');
	return (unsigned)strtoul(request_id + 1, NULL, 10);
}

static void
delivered(struct program *program, const char *request_id, uint16_t id)
{
	struct request_story *story;

	program->number = number_of(request_id);
	story = &play.requests[program->number];
	CLAIM(!story->is_delivered);
	story->is_delivered = true;
	story->id = id;
}

/* A connection may carry several requests, one behind the other. */
static void
begun(struct program *program)
{
	CLAIM(program->id == 0 || program->is_over);
	program->id = program->parser.id;
	CLAIM(program->id != 0);
	program->number = 0;
	program->has_head = program->is_over = false;
	params_free(program->params);
	program->params = params_new(65536, 512);
}

/* What the gateway says to a FastCGI program. */
static void
fastcgi_hear(struct program *program)
{
	const struct fcgi_parser *parser = &program->parser;
	uint8_t bytes[4096];
	const uint8_t *at = bytes;
	enum fcgi_event event;
	ssize_t n = recv(program->fd, bytes, sizeof(bytes), MSG_DONTWAIT);
	size_t left = n > 0 ? (size_t)n : 0;

	while ((event = fcgi_parse(&program->parser, &at, &left)) !=
	    FCGI_EVENT_MORE) {
		CLAIM(event != FCGI_EVENT_BAD);
		if (event == FCGI_EVENT_HEADER &&
		    parser->type == FCGI_BEGIN_REQUEST)
			begun(program);
		CLAIM(parser->id == program->id);
		if (event == FCGI_EVENT_DATA && parser->type == FCGI_PARAMS)
			CLAIM(params_feed(program->params, parser->data,
			    parser->length) == 0);
		if (event == FCGI_EVENT_DATA && parser->type == FCGI_STDIN)
			(void)talk_count_tokens((const char *)parser->data,
			    parser->length, program->number);
		if (event == FCGI_EVENT_END && parser->type == FCGI_PARAMS &&
		    parser->content_length == 0)
			delivered(program, params_get(program->params,
			    "REQUEST_ID"), program->id);
	}
}

/* A CGI program reads what there is of its body. */
static void
cgi_hear(struct program *program, int fd)
{
	struct pollfd poll_fd = { .fd = fd, .events = POLLIN };
	char bytes[512];
	ssize_t n;

	if (fd < 0 || poll(&poll_fd, 1, 0) != 1)
		return;
	n = read(fd, bytes, sizeof(bytes));
	if (n > 0)
		(void)talk_count_tokens(bytes, (size_t)n, program->number);
}

/* As the program's own bytes: without a token's beginning. */
static void
put_raw(struct buf *out, size_t n)
{
	while (n-- > 0) {
		uint8_t byte = next();

		CLAIM(buf_add(out, byte == '<' ? (const uint8_t *)">" : &byte,
		    1) == 0);
	}
}

/* What a program says next. */
static void
put_words(struct buf *out, struct program *program, uint8_t how)
{
	static const char *const heads[] = { "Status: 200\n\n",
		"Content-Type: text/plain\r\n\r\n",
		"Content-Length: 6\nStatus: 201\n\n",
		"Status: 204\n\n", "no head\n\n", "Location: /x\n\n" };
	unsigned count = how / 16;

	if (!program->has_head && (how & 12) != 12) {
		size_t which = how % 4 == 3 ? 3 + next() % 3u : how % 4;

		CLAIM(buf_add_str(out, heads[which]) == 0);
		program->has_head = true;
		count = (how & 4) != 0 ? count : 0;
	} else if ((how & 12) == 12) {
		put_raw(out, count);
		return;
	}
	talk_put_tokens(out, program->number, count);
}

static void
note_said(const struct program *program, struct buf *out)
{
	CLAIM(buf_add(&play.requests[program->number].said, buf_head(out),
	    buf_len(out)) == 0);
}

static void
cgi_speak(struct actor *actor, struct program *program, uint8_t how)
{
	struct buf out = { 0 };

	put_words(&out, program, how);
	/* the gateway may have let go of the pipe already */
	if (buf_len(&out) > 0 && actor->fds[1] >= 0 && write(actor->fds[1],
	    buf_head(&out), buf_len(&out)) == (ssize_t)buf_len(&out))
		note_said(program, &out);
	buf_free(&out);
}

#define STDOUT_OF_ANOTHER 119
#define END_OF_ANOTHER 190

/* Of the running request, or of the one before.  Never of one to come: a
 * program that does so is nobody's neighbour but its own. */
static bool
put_record(struct buf *out, struct program *program, uint8_t what, uint8_t how)
{
	struct buf words = { 0 };
	uint16_t id = program->id;

	if (what == STDOUT_OF_ANOTHER || (what >= END_OF_ANOTHER && what < 192))
		id--;
	if (what < 128) {
		put_words(&words, program, how);
		CLAIM(fcgi_put_stream(out, what < 120 ? FCGI_STDOUT :
		    FCGI_STDERR, id, buf_head(&words), buf_len(&words)) == 0);
	} else if (what < 192) {
		CLAIM(fcgi_put_end(out, id, what & 1, what < 176 ?
		    FCGI_REQUEST_COMPLETE : FCGI_OVERLOADED) == 0);
	} else if (!program->is_over) {
		put_raw(out, how);
	}
	buf_free(&words);
	return what >= 128 && what < END_OF_ANOTHER;
}

static void
fastcgi_speak(struct program *program, uint8_t how)
{
	struct buf out = { 0 };
	uint8_t what = next();
	bool is_end = put_record(&out, program, what, how);

	if (buf_len(&out) > 0 && send(program->fd, buf_head(&out),
	    buf_len(&out), MSG_NOSIGNAL) == (ssize_t)buf_len(&out) &&
	    !program->is_over)
		note_said(program, &out);
	if (is_end) {
		program->is_over = true;
		program->has_head = false; /* it may answer once more */
	}
	if (what >= 128 && (what & 2) != 0)
		close_fd(&program->fd);
	buf_free(&out);
}

/* ------------------------------------------------------------- what is done */

/* All of a request at once, or a part. */
static void
web_speaks(struct talker *talker)
{
	uint8_t part = next(), how = talker->number == 0 ? next() : 0;

	talker_speak(&play, talker, how, part < 64 ? part * 8u : SIZE_MAX);
}

static struct actor *
choose_actor(struct program **program)
{
	size_t count = play.stage.actor_count, i;

	if (count == 0)
		return NULL;
	/* the last few are those that live */
	i = count - 1 - next() % (count < 4 ? count : 4);
	*program = &play.programs[i];
	return &play.stage.actors[i];
}

#define HANGS_UP_UNHEARD 255

static void
program_acts(void)
{
	struct program *program;
	struct actor *actor = choose_actor(&program);
	uint8_t how = next();

	if (actor == NULL || program->is_dead)
		return;
	if (program->fd >= 0 && how == HANGS_UP_UNHEARD) {
		close_fd(&program->fd);
	} else if (program->fd >= 0) {
		fastcgi_hear(program);
		if (program->number != 0)
			fastcgi_speak(program, how);
	} else if (program->number != 0 && actor->fd_count == 3) {
		cgi_hear(program, actor->fds[0]);
		if (how < 224)
			cgi_speak(actor, program, how);
		else
			close_fd(&actor->fds[how % 3]);
	}
}

/* The first word about a CGI program's end counts. */
static void
note_end(const struct actor *actor, struct program *program)
{
	struct request_story *story = &play.requests[program->number];

	if (program->number == 0 || story->id != 0 || program->is_over)
		return;
	program->is_over = true;
	story->is_lied_about = actor->order.serial != program->serial;
}

/* Dead, says init of a FastCGI program, whose connection is still open: what
 * came on it was seen by nobody, and another program may get it. */
static void
note_lie(struct program *program)
{
	if (program->fd < 0)
		return;
	program->is_dead = true;
	play.requests[program->number].is_delivered = false;
}

static void
init_acts(void)
{
	struct program *program;
	struct actor *actor = choose_actor(&program);
	uint8_t how = next(), status = next();

	if (actor == NULL || actor->init_fd < 0)
		return;
	if (how < 160) { /* the truth, mostly */
		note_end(actor, program);
		actor_close(actor);
		if (program->fd < 0)
			program->number = 0;
		else if (program->id != 0)
			close_fd(&program->fd);
		/* else nobody has accepted it, and nobody ever will */
		program->is_dead = true;
		actor_report(actor, INIT_EXIT, status < 160 ? 0 : status);
	} else if (how < 240) {
		actor->order.serial += how % 3 == 0;
		if (1 + how % 4 != INIT_MEMORY)
			note_end(actor, program);
		if (1 + how % 4 == INIT_EXIT)
			note_lie(program);
		actor_report(actor, 1 + how % 4, status);
	} else if (how < 244) { /* that nobody has asked for */
		actor_report(actor, INIT_HELD, 0);
	} else if (how < 248) {
		(void)sock_send(actor->init_fd, &status, 1, NULL, 0);
	} else {
		close_fd(&actor->init_fd);
	}
}

static void
spawner_acts(void)
{
	struct program *program;
	struct actor *actor = choose_actor(&program);
	uint8_t how = next();

	if (actor == NULL || actor->is_gone)
		return;
	if (!actor->is_up && (how & 3) == 0)
		stage_failed(&play.stage, actor, ENOMEM);
	else if (!actor->is_up)
		stage_up(&play.stage, actor);
	else
		stage_gone(&play.stage, actor, how < 128 ? 9 : 256);
	if (actor->is_gone)
		close_fd(&program->fd);
}

static void
time_passes(void)
{
	static const uint32_t ms[] = { 1, 20, 200, 1000, 5000, 11000, 31000,
		61000 };

	clock_skip_ms(ms[next() % 8]);
}

static void
put_functions(uint8_t how)
{
	struct ctl_function info = stage_function("c", false);

	for (int i = 0; i < 2; i++) {
		info.limits.value[LIMIT_INSTANCES] = 1 + (how & 1);
		info.limits.value[LIMIT_QUEUE] = (how >> 1) & 3;
		info.limits.value[LIMIT_IDLE_MS] = (how & 8) != 0 ? 0 : 60000;
		info.limits.value[LIMIT_BODY_MAX] = 20;
		info.limits.value[LIMIT_ABORT_GRACE_MS] = (how & 16) * 100u;
		info.limits.value[LIMIT_STALL_TIMEOUT_MS] = (how & 32) * 50u;
		info.version[0] = (char)('0' + (how >> 6));
		stage_put(&play.stage, &info);
		info = stage_function("f", true);
	}
}

/* So many things happen before the gateway has its next turn. */
#define HASTY_STEPS 2

static void
step(void)
{
	uint8_t op = next();
	struct talker *talker = &play.talkers[op % TALK_WEBS];

	if (op < 80)
		web_speaks(talker);
	else if (op < 88)
		talker_abort(&play, talker);
	else if (op < 96)
		talker_leave(talker);
	else if (op < 100 && talker->fd >= 0)
		shutdown(talker->fd, SHUT_WR);
	else if (op < 168)
		program_acts();
	else if (op < 208)
		init_acts();
	else if (op < 216)
		spawner_acts();
	else if (op < 232)
		time_passes();
	else if (op < 236)
		play.refuses_connect = !play.refuses_connect;
	else if (op < 244)
		put_functions(next());
	else if (op < 248)
		play.stage.is_prompt = !play.stage.is_prompt;
	else if (op < 250)
		play.acts_within = true;
	else
		play.hasty_steps = HASTY_STEPS;
}

static void
cgi_begins(struct program *program, const struct actor *actor)
{
	*program = (struct program){ .fd = -1,
		.serial = actor->order.serial };
	delivered(program, actor_env(actor, "REQUEST_ID"), 0);
}

static void
gateways_turn(void)
{
	play.is_gateways_turn = true;
	stage_turn(&play.stage, 0);
	play.is_gateways_turn = false;
}

/* Orders are taken, and what was said is heard. */
static void
turn(void)
{
	gateways_turn();
	for (size_t i = 0; i < play.stage.actor_count; i++) {
		struct actor *actor = &play.stage.actors[i];

		while (actor_order(actor))
			if (actor->order.type == INIT_RUN &&
			    actor->fd_count == 3)
				cgi_begins(&play.programs[i], actor);
	}
	gateways_turn();
	for (int i = 0; i < TALK_WEBS; i++) {
		struct talker *talker = &play.talkers[i];

		talker_hear(&play, talker);
		/* admitted, and so to be recorded, whatever comes */
		if (talker->fd >= 0 && talker->number != 0 &&
		    buf_len(&talker->rest) == 0)
			play.requests[talker->number].is_sent = true;
	}
}

/* ------------------------------------------------------------------- claims */

#define BEGIN_BYTES 16

/* Nobody says anything any more, and time passes: every time-out is behind us
 * then, and who waits for an answer has had an end of it. */
static void
wait_for_ends(void)
{
	play.stage.is_prompt = true;
	for (int i = 0; i < 4; i++) {
		clock_skip_ms(31000);
		turn();
		talk_spawner_catches_up(&play);
		turn();
	}
	for (int i = 0; i < TALK_WEBS; i++)
		CLAIM(play.talkers[i].number == 0 ||
		    play.talkers[i].sent < BEGIN_BYTES);
}

static void
settle(void)
{
	/* one leaves in the middle, the others want to know */
	talker_leave(&play.talkers[0]);
	turn();
	wait_for_ends();
	for (int i = 0; i < TALK_WEBS; i++)
		talker_leave(&play.talkers[i]);
	turn();
	stage_settle(&play.stage);
	talk_judge_books(&play);
	CLAIM(play.stage.server.connections == 0);
	stage_close(&play.stage);
	for (size_t i = 0; i < STAGE_ACTORS_MAX; i++) {
		close_fd(&play.programs[i].fd);
		params_free(play.programs[i].params);
		play.programs[i].params = NULL;
	}
	for (unsigned i = 0; i <= play.count; i++)
		buf_free(&play.requests[i].said);
}

static int
lowest_fd(void)
{
	int fd = fcntl(STDERR_FILENO, F_DUPFD_CLOEXEC, 0);

	close(fd);
	return fd;
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
	int steps, i, fd = lowest_fd();

	if (n > INPUT_MAX)
		return 0;
	memset(&play, 0, sizeof(play));
	play.data = data;
	play.left = n;
	for (i = 0; i < TALK_WEBS; i++)
		play.talkers[i].fd = -1;
	for (i = 0; i < STAGE_ACTORS_MAX; i++)
		play.programs[i].fd = -1;
	clock_take(true);
	stage_open(&play.stage, NULL);
	play.stage.is_prompt = true;
	put_functions(next());
	for (steps = 0; steps < TALK_STEPS_MAX && play.left > 0; steps++) {
		step();
		if (play.hasty_steps == 0)
			turn();
		else
			play.hasty_steps--;
	}
	settle();
	clock_take(false);
	CLAIM(lowest_fd() == fd);
	return 0;
}
