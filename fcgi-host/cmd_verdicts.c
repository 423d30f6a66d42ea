#include "fcgi-host/cmd_verdicts.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "fcgi-host/cmd.h"
#include "fcgi-host/cmd_ctl.h"
#include "fcgi-host/sock.h"

/* Longer than the host waits for its checks. */
#define ANSWER_MS 20000

static bool
has_check(const struct conf *conf)
{
	for (size_t i = 0; i < conf->runtime_count; i++)
		if (conf->runtimes[i].check != NULL ||
		    conf->runtimes[i].build != NULL)
			return true;
	return false;
}

static int
add(struct verdicts *verdicts, const struct ctl_status_check *row)
{
	if (verdicts->count == verdicts->size) {
		size_t size = verdicts->size == 0 ? 64 : 2 * verdicts->size;
		void *grown = reallocarray(verdicts->rows, size, sizeof(*row));

		if (grown == NULL)
			return -ENOMEM;
		verdicts->rows = grown;
		verdicts->size = size;
	}
	verdicts->rows[verdicts->count++] = *row;
	return 0;
}

static int
compare(const void *a, const void *b)
{
	return strcmp(((const struct ctl_status_check *)a)->name,
	    ((const struct ctl_status_check *)b)->name);
}

static const char *
collect(int sock, struct verdicts *verdicts)
{
	struct ctl_msg msg;

	for (;;) {
		if (ctl_receive(sock, &msg, ANSWER_MS) != 0)
			return "the host gave no answer";
		if (msg.type == CTL_REPLY)
			return msg.u.reply.code == 0 ? NULL :
			    "the host is starting or ending; try again";
		if (msg.type != CTL_STATUS_CHECK)
			return "the host answered something else";
		if (add(verdicts, &msg.u.status_check) != 0)
			return "not enough memory";
	}
}

void
verdicts_ask(const struct conf *conf, struct verdicts *verdicts)
{
	CLEANUP_FD int sock = -1;

	*verdicts = (struct verdicts){ .rows = NULL };
	if (!has_check(conf))
		return;
	sock = ctl_try(conf, CTL_VERB_CHECKS);
	if (sock == -ENOENT || sock == -ECONNREFUSED)
		verdicts->why = "no host runs with this configuration";
	else if (sock == -EACCES || sock == -EPERM)
		verdicts->why = "only root and the service's group may ask the "
		    "host that runs";
	else if (sock < 0)
		verdicts->why = "the host that runs takes no command";
	else
		verdicts->why = collect(sock, verdicts);
	if (verdicts->count > 1)
		qsort(verdicts->rows, verdicts->count,
		    sizeof(*verdicts->rows), compare);
}

void
verdicts_free(struct verdicts *verdicts)
{
	free(verdicts->rows);
}

const struct ctl_status_check *
verdicts_find(const struct verdicts *verdicts,
    const struct ctl_function *function)
{
	struct ctl_status_check key;
	const struct ctl_status_check *row;

	if (function->problem != CTL_PROBLEM_NONE || verdicts->count == 0)
		return NULL;
	memcpy(key.name, function->name, sizeof(key.name));
	row = bsearch(&key, verdicts->rows, verdicts->count, sizeof(key),
	    compare);
	return row != NULL && strcmp(row->version, function->version) == 0 ?
	    row : NULL;
}

const char *
verdict_word(const struct ctl_status_check *row)
{
	static const char *const words[CTL_CHECK_COUNT] = {
		[CTL_CHECK_NONE] = "pending",
		[CTL_CHECK_SOUND] = "sound",
		[CTL_CHECK_UNSOUND] = "unsound",
		[CTL_CHECK_OTHERWISE] = "otherwise",
		[CTL_CHECK_FAILED] = "failed",
	};

	return row == NULL ? NULL : words[row->state];
}

char *
verdict_note(const struct ctl_status_check *row)
{
	char *note;
	int n = 0;

	if (row != NULL && row->state == CTL_CHECK_UNSOUND)
		n = asprintf(&note, "syntax: %s", row->text);
	else if (row != NULL && row->state == CTL_CHECK_FAILED)
		n = asprintf(&note, "not checked: %s", row->text);
	else
		note = strdup(row != NULL && row->state == CTL_CHECK_NONE ?
		    "not checked yet" : "");
	return n < 0 ? NULL : note;
}

void
verdicts_say_why(const struct verdicts *verdicts)
{
	if (verdicts->why != NULL)
		(void)cmd_fail("note: the functions' syntax was not looked at: "
		    "%s", verdicts->why);
}
