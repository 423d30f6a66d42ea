#include "tests/unit/play.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "fcgi-host/log.h"

int
play_set_up(void **state)
{
	struct play *play = calloc(1, sizeof(*play));

	LOG_ASSERT(play != NULL);
	stage_open(&play->stage, NULL);
	play->info = stage_function("f", false);
	play->info.limits.value[LIMIT_INSTANCES] = 1;
	play_put(play);
	web_init(&play->web, stage_connect(&play->stage));
	*state = play;
	return 0;
}

int
play_tear_down(void **state)
{
	struct play *play = *state;

	web_free(&play->web);
	stage_turn(&play->stage, 0);
	stage_close(&play->stage);
	free(play);
	return 0;
}

void
play_put(struct play *play)
{
	stage_put(&play->stage, &play->info);
}

void
play_turn(struct play *play, unsigned ms)
{
	stage_turn(&play->stage, ms);
	web_read(&play->web);
}

void
play_request(struct play *play, const char *method, const char *body)
{
	struct buf bytes = { 0 };
	char text[40], length[40];
	const char *const params[] = { text, length, NULL };

	snprintf(text, sizeof(text), "REQUEST_METHOD=%s", method);
	snprintf(length, sizeof(length), "CONTENT_LENGTH=%zu", strlen(body));
	web_put_head(&bytes, 1, FCGI_KEEP_CONN, "/fn/f", params);
	web_put_body(&bytes, 1, body, strlen(body));
	web_send(&play->web, &bytes);
	play_turn(play, 0);
}

void
play_open(struct play *play)
{
	struct buf bytes = { 0 };

	web_put_head(&bytes, 1, FCGI_KEEP_CONN, "/fn/f", NULL);
	web_send(&play->web, &bytes);
	play_turn(play, 0);
}

struct actor *
play_run(struct play *play)
{
	struct actor *actor = stage_last(&play->stage);

	if (!actor->is_up) {
		stage_up(&play->stage, actor);
		play_turn(play, 0);
	}
	LOG_ASSERT(actor_order(actor) && actor->order.type == INIT_RUN);
	return actor;
}

struct actor *
play_dispatch(struct play *play, const char *method, const char *body)
{
	play_request(play, method, body);
	return play_run(play);
}

void
play_say(struct play *play, struct actor *actor, const char *text)
{
	LOG_ASSERT(write(actor->fds[1], text, strlen(text)) ==
	    (ssize_t)strlen(text));
	play_turn(play, 0);
}

void
play_flood(struct play *play, struct actor *actor)
{
	static const char text[4096] = "";
	int left = 0;

	play_say(play, actor, PLAIN);
	while (left == 0) {
		LOG_ASSERT(write(actor->fds[1], text, sizeof(text)) ==
		    sizeof(text));
		stage_turn(&play->stage, 0);
		LOG_ASSERT(ioctl(actor->fds[1], FIONREAD, &left) == 0);
	}
}

void
play_end(struct play *play, struct actor *actor, int wait_status)
{
	actor_close(actor);
	actor_report(actor, INIT_EXIT, wait_status);
	play_turn(play, 0);
}

void
play_gone(struct play *play, struct actor *actor, int wait_status)
{
	stage_gone(&play->stage, actor, wait_status);
	play_turn(play, 0);
}

void
play_reconnect(struct play *play)
{
	web_free(&play->web);
	web_init(&play->web, stage_connect(&play->stage));
}

size_t
play_records(struct play *play, const char *outcome)
{
	char text[64];

	snprintf(text, sizeof(text), "\"outcome\":\"%s\"", outcome);
	return stage_log_count(&play->stage, text);
}

size_t
play_executions(struct play *play)
{
	return stage_log_count(&play->stage, "\"type\":\"exec\"");
}

bool
play_has(struct play *play, const char *text)
{
	return strstr(web_text(&play->web), text) != NULL;
}
