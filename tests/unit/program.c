#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "tests/unit/program.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "fcgi-host/sock.h"

static char dir[] = "/tmp/test_program.XXXXXX";
static int old_root = -1;

int
program_enter_root(void **state)
{
	(void)state;
	old_root = open("/", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	return old_root < 0 || mkdtemp(dir) == NULL || chdir(dir) < 0 ||
	    mkdir("tmp", 0700) < 0 || chroot(".") < 0;
}

int
program_leave_root(void **state)
{
	(void)state;
	if (rmdir("/tmp") < 0 || fchdir(old_root) < 0 || chroot(".") < 0)
		return -1;
	close(old_root);
	return rmdir(dir);
}

bool
program_is_possible(void)
{
	if (geteuid() == 0)
		return true;
	fputs("SKIP: only root may have a root of its own\n", stderr);
	return false;
}

int
program_listen(unsigned number)
{
	char path[32];

	snprintf(path, sizeof(path), "/%u.sock", number);
	return sock_listen_unix(path, 0600, (gid_t)-1, 8);
}

int
program_set_up(struct program *program, void **state)
{
	struct play *play;

	*program = (struct program){ .fd = -1 };
	program->listen_fd = program_listen(1);
	if (program->listen_fd < 0 || play_set_up(state) != 0)
		return -1;
	play = *state;
	play->info.is_fastcgi = 1;
	strcpy(play->info.path, "f.fcgi");
	play_put(play);
	return 0;
}

int
program_tear_down(struct program *program, void **state)
{
	int rc = play_tear_down(state);

	buf_free(&program->got);
	close_fd(&program->fd);
	close_fd(&program->listen_fd);
	unlink("/1.sock");
	return rc;
}

static void
begin_take(struct program *program)
{
	assert_int_equal(program->parser.length, 8);
	fcgi_read_begin(program->parser.data, &program->role,
	    &program->flags);
	program->id = program->parser.id;
	program->has_params_end = program->has_body_end = false;
	buf_reset(&program->got, 0);
}

static void
record_end(struct program *program)
{
	const struct fcgi_parser *parser = &program->parser;

	assert_int_equal(parser->id, program->id);
	if (parser->type == FCGI_BEGIN_REQUEST)
		program->has_begin = true;
	else if (parser->content_length > 0)
		;
	else if (parser->type == FCGI_PARAMS)
		program->has_params_end = true;
	else if (parser->type == FCGI_STDIN)
		program->has_body_end = true;
}

void
program_receive(struct program *program)
{
	struct fcgi_parser *parser = &program->parser;
	uint8_t bytes[65536];
	const uint8_t *at = bytes;
	enum fcgi_event event;
	ssize_t n;
	size_t left;

	if (program->fd < 0) {
		program->fd = accept4(program->listen_fd, NULL, NULL,
		    SOCK_CLOEXEC | SOCK_NONBLOCK);
		program->accepts++;
		*parser = (struct fcgi_parser){ 0 };
	}
	assert_true(program->fd >= 0);
	n = recv(program->fd, bytes, sizeof(bytes), MSG_DONTWAIT);
	left = n > 0 ? (size_t)n : 0;
	while ((event = fcgi_parse(parser, &at, &left)) != FCGI_EVENT_MORE) {
		assert_int_not_equal(event, FCGI_EVENT_BAD);
		if (event == FCGI_EVENT_DATA &&
		    parser->type == FCGI_BEGIN_REQUEST)
			begin_take(program);
		else if (event == FCGI_EVENT_DATA &&
		    parser->type == FCGI_STDIN)
			assert_int_equal(buf_add(&program->got, parser->data,
			    parser->length), 0);
		else if (event == FCGI_EVENT_END)
			record_end(program);
	}
}

struct actor *
program_start(struct program *program, struct play *play, const char *body)
{
	struct actor *actor = play_dispatch(play,
	    body[0] == '\0' ? "GET" : "POST", body);

	assert_int_equal(actor->fd_count, 2); /* fd 0 is the socket itself */
	program_receive(program);
	return actor;
}

static void
put_bytes(struct program *program, struct play *play, struct buf *bytes)
{
	assert_int_equal(send(program->fd, buf_head(bytes), buf_len(bytes),
	    MSG_NOSIGNAL), buf_len(bytes));
	buf_free(bytes);
	play_turn(play, 0);
}

void
program_put(struct program *program, struct play *play, uint8_t type,
    const char *text)
{
	struct buf bytes = { 0 };

	assert_int_equal(fcgi_put_stream(&bytes, type, program->id, text,
	    strlen(text)), 0);
	put_bytes(program, play, &bytes);
}

void
program_end(struct program *program, struct play *play, uint32_t app_status,
    uint8_t protocol_status)
{
	struct buf bytes = { 0 };

	assert_int_equal(fcgi_put_end(&bytes, program->id, app_status,
	    protocol_status), 0);
	put_bytes(program, play, &bytes);
}

void
program_measured(struct play *play, struct actor *actor)
{
	assert_true(actor_order(actor));
	assert_int_equal(actor->order.type, INIT_MEASURE);
	actor_report(actor, INIT_MEMORY, 0);
	play_turn(play, 0);
}

void
program_answer(struct program *program, struct play *play,
    struct actor *actor, const char *text)
{
	struct buf bytes = { 0 };

	assert_int_equal(fcgi_put_stream(&bytes, FCGI_STDOUT, program->id,
	    PLAIN, strlen(PLAIN)), 0);
	assert_int_equal(fcgi_put_stream(&bytes, FCGI_STDOUT, program->id,
	    text, strlen(text)), 0);
	assert_int_equal(fcgi_put_stream_end(&bytes, FCGI_STDOUT,
	    program->id), 0);
	assert_int_equal(fcgi_put_end(&bytes, program->id, 0,
	    FCGI_REQUEST_COMPLETE), 0);
	put_bytes(program, play, &bytes);
	program_measured(play, actor);
}

struct actor *
program_warm(struct program *program, struct play *play)
{
	struct actor *actor = program_start(program, play, "");

	program_answer(program, play, actor, "first");
	assert_int_equal(play->web.ends, 1);
	return actor;
}
