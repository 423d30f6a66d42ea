#include "tests/fuzz/talk.h"

#include <errno.h>
#include <stdio.h>
#include <sys/socket.h>
#include <unistd.h>

#include "fcgi-host/sock.h"
#include "tests/fuzz/fuzz.h"
#include "tests/unit/web.h"

/* ------------------------------------------------------------------- tokens */

unsigned
talk_count_tokens(const char *text, size_t n, unsigned number)
{
	char token[16];
	size_t length = (size_t)snprintf(token, sizeof(token), "<%u>", number);
	unsigned count = 0;

	for (size_t i = 0; i + 1 < n; i++) {
		if (text[i] != '<' || text[i + 1] < '0' || text[i + 1] > '9')
			continue;
		CLAIM(number != 0 && memcmp(text + i, token,
		    length < n - i ? length : n - i) == 0);
		count++;
	}
	return count;
}

void
talk_put_tokens(struct buf *out, unsigned number, unsigned count)
{
	while (count-- > 0)
		CLAIM(buf_addf(out, "<%u>", number) == 0);
}

/* ----------------------------------------------------------- the web servers */

size_t
talk_records(const struct talk *talk, unsigned number)
{
	char id[32];

	snprintf(id, sizeof(id), "\"request_id\":\"n%u\"", number);
	return stage_log_count(&talk->stage, id);
}

static void
answer_complete(struct talk *talk, struct talker *talker)
{
	struct request_story *story = &talk->requests[talker->number];

	CLAIM(talker->number != 0 && !story->is_complete);
	story->is_complete = true;
	(void)talk_count_tokens((const char *)buf_head(&talker->answer),
	    buf_len(&talker->answer), talker->number);
	/* of one whose params did not come there is no execution */
	if (buf_len(&talker->rest) == 0 ||
	    talk_records(talk, talker->number) > 0)
		talk_judge(talk, talker->number, &talker->answer);
	talker->number = 0;
	buf_reset(&talker->answer, SIZE_MAX);
	talker->is_over = !talker->is_keeping || buf_len(&talker->rest) > 0;
}

void
talker_leave(struct talker *talker)
{
	close_fd(&talker->fd);
	(void)talk_count_tokens((const char *)buf_head(&talker->answer),
	    buf_len(&talker->answer), talker->number);
	buf_free(&talker->answer);
	buf_free(&talker->rest);
	*talker = (struct talker){ .fd = -1 };
}

static void
hear_piece(const struct talk *talk, struct talker *talker)
{
	CLAIM(buf_add(&talker->answer, talker->parser.data,
	    talker->parser.length) == 0);
	if (buf_len(&talker->rest) == 0)
		talk_judge_early(talk, talker->number, &talker->answer);
}

static void
talker_take(struct talk *talk, struct talker *talker, const uint8_t *data,
    size_t n)
{
	const struct fcgi_parser *parser = &talker->parser;
	enum fcgi_event event;

	while ((event = fcgi_parse(&talker->parser, &data, &n)) !=
	    FCGI_EVENT_MORE) {
		/* the mark of a cut answer: no record, and nothing more */
		if (event == FCGI_EVENT_END &&
		    parser->type == FCGI_ABORT_REQUEST) {
			CLAIM(n == FCGI_HEADER_LEN || n == 0);
			talker->is_cut = true;
		}
		if (talker->is_cut)
			return;
		CLAIM(!talker->is_over);
		CLAIM(event != FCGI_EVENT_BAD && parser->id == 1);
		if (event == FCGI_EVENT_DATA && parser->type == FCGI_STDOUT)
			hear_piece(talk, talker);
		if (event == FCGI_EVENT_END &&
		    parser->type == FCGI_END_REQUEST)
			answer_complete(talk, talker);
	}
}

void
talker_hear(struct talk *talk, struct talker *talker)
{
	static uint8_t bytes[65536];
	ssize_t n;

	if (talker->fd < 0)
		return;
	while ((n = recv(talker->fd, bytes, sizeof(bytes), MSG_DONTWAIT)) > 0)
		talker_take(talk, talker, bytes, (size_t)n);
	if (n == 0 || errno != EAGAIN || talker->is_cut || talker->is_over)
		talker_leave(talker);
}

/* A request for one of the functions, with its number all over it. */
static void
make_request(struct talk *talk, struct talker *talker, uint8_t how)
{
	char id[32], length[32];
	const char *params[] = { id, length, (how & 4) != 0 ?
	    "REQUEST_METHOD=HEAD" : "REQUEST_METHOD=POST", NULL };
	struct buf body = { 0 };

	talker->number = ++talk->count;
	talker->sent = 0;
	talk->requests[talker->number].is_head = (how & 4) != 0;
	talk_put_tokens(&body, talker->number, how >> 5);
	snprintf(id, sizeof(id), "REQUEST_ID=n%u", talker->number);
	snprintf(length, sizeof(length), "CONTENT_LENGTH=%zu",
	    buf_len(&body) + ((how & 0x18) == 0x18));
	talker->is_keeping = (how & 2) != 0;
	web_put_head(&talker->rest, 1, talker->is_keeping ? FCGI_KEEP_CONN : 0,
	    (how & 1) != 0 ? "/fn/f" : "/fn/c", params);
	web_put_body(&talker->rest, 1, (const char *)buf_head(&body),
	    buf_len(&body));
	buf_free(&body);
}

void
talker_speak(struct talk *talk, struct talker *talker, uint8_t how, size_t n)
{
	if (talker->fd < 0)
		talker->fd = stage_connect(&talk->stage);
	if (talker->number == 0)
		make_request(talk, talker, how);
	if (n > buf_len(&talker->rest))
		n = buf_len(&talker->rest);
	if (n > 0 && send(talker->fd, buf_head(&talker->rest), n,
	    MSG_NOSIGNAL) == (ssize_t)n) {
		buf_consume(&talker->rest, n);
		talker->sent += n;
	}
}

void
talker_abort(struct talk *talk, struct talker *talker)
{
	struct buf bytes = { 0 };

	if (talker->fd < 0 || talker->number == 0 ||
	    buf_len(&talker->rest) > 0)
		return;
	talk->requests[talker->number].is_aborted = true;
	CLAIM(fcgi_put_abort(&bytes, 1) == 0);
	(void)send(talker->fd, buf_head(&bytes), buf_len(&bytes),
	    MSG_NOSIGNAL);
	buf_free(&bytes);
}

void
talk_spawner_catches_up(struct talk *talk)
{
	for (size_t i = 0; i < talk->stage.actor_count; i++) {
		struct actor *actor = &talk->stage.actors[i];

		if (!actor->is_up && !actor->is_gone)
			stage_up(&talk->stage, actor);
		if (actor->is_killed && !actor->is_gone)
			stage_gone(&talk->stage, actor, 9);
	}
}
