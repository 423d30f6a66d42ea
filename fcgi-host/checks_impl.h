/*
 * What the files of the checks room share: checks.c (whose turn it is, and a check's
 * life), checks_found.c (what it writes and how it ends, and what that means).
 * Included by nobody else.
 */
#ifndef FCGI_HOST_CHECKS_IMPL_H
#define FCGI_HOST_CHECKS_IMPL_H

#include "fcgi-host/checks.h"

/* Of what it writes so much is looked at. */
#define CHECK_TEXT_BYTES 1024

/* One that runs. */
struct check {
	struct checks *checks;
	struct instance *instance; /* NULL: a free place */
	struct function *function; /* a reference */
	enum check_urgency urgency;
	struct loop_timer deadline;
	struct loop_task task;
	int out_fd;
	struct loop_io out_io;
	char text[CHECK_TEXT_BYTES];
	size_t used, taken;
	bool is_build;
	bool is_sound;     /* a build, which is told of when it is gone */
	bool is_told;      /* what it found */
	bool is_forgotten; /* nobody wants to know */
};

struct checks {
	struct fleet *fleet;
	struct pools *pools;
	const struct checks_ops *ops;
	void *arg;
	struct check_queue *queue;
	struct check running[CHECK_QUEUE_RUNNING_MAX];
	struct funclog_quota log_quota;
	struct loop_timer timer;
	struct loop_task task;
	uint64_t calm_us; /* since then who waits has found no calm */
	bool has_begun, is_draining, is_over;
};

/* "check" or "build". */
const char *check_word(const struct check *check);
/* It came to nothing for want of something: a build is tried again, later. */
void check_lacks(struct check *check);
/* Once: what was found of the function. */
void check_tell(struct check *check, enum ctl_check state, const char *text);
/* By its last words, or where there are none why. */
void check_tell_unsound(struct check *check, const char *why);
void check_tell_status(struct check *check, int status);

/* Reads what it has written, so often at most. */
void check_output_read(struct check *check, int reads);
void check_output_close(struct check *check);

#endif
