/*
 * A hostile web server: its bytes go through connection, request, pool and
 * relay, with functions that answer well, badly or not at all.  What comes
 * back is FastCGI whatever was sent; every execution leaves one record, and
 * nothing else stays.
 */
#include "tests/fuzz/fuzz.h"

#include <errno.h>
#include <sys/socket.h>
#include <unistd.h>

#include "tests/unit/stage.h"
#include "tests/unit/web.h"

#define INPUT_MAX 8192

/* What a function does with an execution. */
static const struct {
	const char *answer;
	int wait_status; /* -1: it never ends */
	enum init_report_type type;
} acts[] = {
	{ "Content-Type: text/plain\n\nhello", 0, INIT_EXIT },
	{ "Content-Length: 5\nStatus: 201\n\nhello", 0, INIT_EXIT },
	{ "Content-Length: 9\nStatus: 201\n\nhello", 0, INIT_EXIT },
	{ "no head\n\n", 0, INIT_EXIT },
	{ "", 256, INIT_EXIT },
	{ "Status: 204\n\nhello", 11, INIT_EXIT },
	{ "Status: 200\n\nhello", 0, INIT_DIRTY },
	{ "", 0, INIT_EXEC_FAILED },
	{ "Status: 200\n\nhello", -1, INIT_EXIT },
};

static void
act(struct actor *actor, uint8_t which)
{
	size_t i = which % (sizeof(acts) / sizeof(acts[0]));
	size_t n = strlen(acts[i].answer);

	if (actor->order.type != INIT_RUN)
		return;
	/* the gateway may have let go of the pipe already */
	CLAIM(write(actor->fds[1], acts[i].answer, n) == (ssize_t)n ||
	    errno == EPIPE);
	if (acts[i].wait_status < 0)
		return;
	actor_close(actor);
	actor_report(actor, acts[i].type, acts[i].wait_status);
}

static void
turn(struct stage *stage, struct web *web, uint8_t which)
{
	stage_turn(stage, 0);
	for (size_t i = 0; i < stage->actor_count; i++)
		while (actor_order(&stage->actors[i]))
			act(&stage->actors[i], which++);
	stage_turn(stage, 0);
	if ((which & 0x80) == 0)
		web_read(web);
}

static void
run(struct stage *stage, const uint8_t *data, size_t n, uint32_t seed,
    uint8_t which)
{
	struct web web;

	web_init(&web, stage_connect(stage));
	while (n > 0) {
		size_t length = next_cut(&seed, n);

		if (send(web.fd, data, length, MSG_NOSIGNAL) < 0)
			break;
		data += length;
		n -= length;
		turn(stage, &web, which);
	}
	if ((which & 0x40) != 0)
		shutdown(web.fd, SHUT_WR);
	turn(stage, &web, which);
	turn(stage, &web, which);
	web_free(&web);
	turn(stage, &web, which);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
	static struct stage stage;
	struct ctl_function info = stage_function("f", false);
	uint32_t seed = take_byte(&data, &n);
	uint8_t which = take_byte(&data, &n);

	if (n > INPUT_MAX)
		return 0;
	stage_open(&stage, NULL);
	stage.is_prompt = true;
	info.limits.value[LIMIT_INSTANCES] = 1;
	info.limits.value[LIMIT_QUEUE] = which & 1;
	info.limits.value[LIMIT_IDLE_MS] = (which & 2) != 0 ? 0 : 60000;
	info.limits.value[LIMIT_ABORT_GRACE_MS] = 0;
	info.limits.value[LIMIT_BODY_MAX] = 100;
	stage_put(&stage, &info);
	run(&stage, data, n, seed * 2654435761u, which);
	stage_settle(&stage);
	CLAIM(stage_log_count(&stage, "\"type\":\"exec\"") ==
	    stage.server.executions);
	CLAIM(stage_log_count(&stage, "\"type\":\"instance\"") <=
	    stage.actor_count);
	CLAIM(stage.server.connections == 0);
	stage_close(&stage);
	return 0;
}
