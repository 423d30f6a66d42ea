/*
 * The functions' own logs: FUNCTION.log and the older .log.1, .log.2 …  The host
 * renames the one for the other at any moment, so files are told apart by what they
 * are and not by their names; and looked for from the newest on, since a name only
 * ever moves to an older one.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "fcgi-host/cmd.h"
#include "fcgi-host/cmd_logs.h"
#include "fcgi-host/sock.h"

#define OLD_MAX 99
/* New functions are looked for at each so manieth turn. */
#define LOOK_TURNS 10

/* One function's. */
struct log {
	char *path; /* of FUNCTION.log */
	struct logs_source now; /* the newest that was read; fd -1: none so far */
	bool is_there; /* there was a file */
};

struct logs {
	struct log *at;
	size_t count;
};

/* ---------------------------------------------------------------- one function */

static bool
is_same(int fd, int other)
{
	struct stat a, b;

	return fd >= 0 && other >= 0 && fstat(fd, &a) == 0 &&
	    fstat(other, &b) == 0 && a.st_dev == b.st_dev &&
	    a.st_ino == b.st_ino;
}

static int
fail(const char *path, int error)
{
	(void)cmd_fail("%s: %s%s", path, strerror(error), error == EACCES ?
	    "; root and its tenant's account may read it" :
	    error == EMFILE ? "; name one function" : "");
	return -error;
}

/* -1: there is none. */
static int
open_old(const char *path, unsigned number)
{
	char name[PATH_MAX];

	if (number == 0)
		return open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
	if (snprintf(name, sizeof(name), "%s.%u", path, number) >=
	    (int)sizeof(name))
		return -1;
	return open(name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
}

/* Whether FUNCTION.log is another one by now than it was (-1: there was none). */
static bool
was_rotated(const char *path, int fd)
{
	struct stat named, seen;

	if (stat(path, &named) != 0)
		return fd >= 0;
	return fd < 0 || fstat(fd, &seen) != 0 ||
	    named.st_dev != seen.st_dev || named.st_ino != seen.st_ino;
}

static void
close_all(int fds[OLD_MAX + 1], size_t *count)
{
	while (*count > 0)
		close(fds[--*count]);
}

/* The newest first, up to the one that was read last.  0; -EAGAIN: it was rotated
 * meanwhile; another negative errno, and a sentence was said. */
static int
find_once(const struct log *log, int fds[OLD_MAX + 1], size_t *count)
{
	bool has_current = false;

	for (unsigned i = 0; i <= OLD_MAX; i++) {
		int fd = open_old(log->path, i);

		if (fd < 0 && errno == ENOENT)
			continue;
		if (fd < 0)
			return fail(log->path, errno);
		if (is_same(fd, log->now.fd)) {
			close(fd);
			if (i == 0)
				return 0;
			break;
		}
		has_current |= i == 0;
		/* being renamed behind our look */
		if (*count > 0 && is_same(fd, fds[*count - 1]))
			close(fd);
		else
			fds[(*count)++] = fd;
	}
	return was_rotated(log->path, has_current ? fds[0] : -1) ? -EAGAIN : 0;
}

static int
find_new(const struct log *log, int fds[OLD_MAX + 1], size_t *count)
{
	int result;

	*count = 0;
	while ((result = find_once(log, fds, count)) == -EAGAIN)
		close_all(fds, count);
	if (result != 0)
		close_all(fds, count);
	return result;
}

/* All that has come since, in the order in which it was written.  Whoever writes has
 * closed the one before the next has its name. */
static int
read_new(struct log *log, const struct logs_taker *taker)
{
	int fds[OLD_MAX + 1];
	size_t count;
	int result = find_new(log, fds, &count);

	log->is_there |= count > 0;
	if (result == 0 && log->now.fd >= 0)
		result = logs_drain(&log->now, taker);
	while (count > 0) {
		logs_source_close(&log->now);
		log->now.fd = fds[--count];
		if (result == 0)
			result = logs_drain(&log->now, taker);
	}
	return result;
}

/* --------------------------------------------------------------- all functions */

static struct log *
find(const struct logs *logs, const char *path)
{
	for (size_t i = 0; i < logs->count; i++)
		if (strcmp(logs->at[i].path, path) == 0)
			return &logs->at[i];
	return NULL;
}

static int
add(struct logs *logs, const char *path)
{
	struct log *grown;

	if (find(logs, path) != NULL)
		return 0;
	grown = buf_grow(logs->at, logs->count, sizeof(*grown));
	if (grown == NULL)
		return -ENOMEM;
	logs->at = grown;
	grown[logs->count] = (struct log){ .path = strdup(path),
		.now.fd = -1 };
	return grown[logs->count].path == NULL ? -ENOMEM :
	    (int)(logs->count++, 0);
}

static int
add_tenant(struct logs *logs, const char *root, const char *tenant)
{
	char function[CTL_NAME_MAX + 1], path[PATH_MAX];
	struct dirent **names;
	bool is_old;
	int count, error = 0;

	(void)snprintf(path, sizeof(path), "%s/%s", root, tenant);
	count = scandir(path, &names, NULL, alphasort);
	/* another tenant's, which is his; or a file */
	for (int i = 0; i < count; i++) {
		if (error == 0 && conf_function_of_log(tenant,
		    names[i]->d_name, function, &is_old) && !is_old &&
		    snprintf(path, sizeof(path), "%s/%s/%s", root, tenant,
		    names[i]->d_name) < (int)sizeof(path))
			error = add(logs, path);
		free(names[i]);
	}
	if (count >= 0)
		free(names);
	return error;
}

static int
add_tenants(struct logs *logs, const char *root)
{
	struct dirent **names;
	int error = 0, count = scandir(root, &names, NULL, alphasort);

	if (count < 0)
		return fail(root, errno);
	for (int i = 0; i < count; i++) {
		if (error == 0 && ctl_segment_ok(names[i]->d_name,
		    strlen(names[i]->d_name)))
			error = add_tenant(logs, root, names[i]->d_name);
		free(names[i]);
	}
	free(names);
	return error;
}

static int
add_one(struct logs *logs, const char *root, const char *function)
{
	char tenant[CTL_NAME_MAX + 1], name[CONF_LOG_NAME_MAX];
	char path[PATH_MAX];

	conf_tenant_of(function, tenant);
	conf_function_log(function, name);
	if (snprintf(path, sizeof(path), "%s/%s/%s", root, tenant, name) >=
	    (int)sizeof(path))
		return fail(root, ENAMETOOLONG);
	return add(logs, path);
}

/* As many files as there are functions may be open. */
static void
raise_files(void)
{
	struct rlimit limit;

	if (getrlimit(RLIMIT_NOFILE, &limit) == 0) {
		limit.rlim_cur = limit.rlim_max;
		(void)setrlimit(RLIMIT_NOFILE, &limit);
	}
}

static int
read_all(struct logs *logs, bool is_followed, const struct logs_taker *taker)
{
	int result = 0;

	for (size_t i = 0; i < logs->count && result == 0; i++) {
		result = read_new(&logs->at[i], taker);
		if (!is_followed)
			logs_source_close(&logs->at[i].now);
	}
	return result == 0 ? taker->end(taker->arg) : result;
}

static int
look(struct logs *logs, const char *root, const char *function)
{
	return function == NULL ? add_tenants(logs, root) :
	    add_one(logs, root, function);
}

int
logs_read_functions(const struct conf *conf, const char *function,
    bool is_followed, const struct logs_taker *taker)
{
	const char *root = conf->function_logs;
	struct logs logs = { .count = 0 };
	int result;
	unsigned turn;

	if (access(root, X_OK) != 0)
		return fail(root, errno);
	raise_files();
	result = look(&logs, root, function);
	if (result == 0)
		result = read_all(&logs, is_followed, taker);
	if (result == 0 && function != NULL && !logs.at[0].is_there)
		(void)cmd_fail("note: there is no log of %s: it has written "
		    "nothing yet, or is no function; see: fcgi-host list",
		    function);
	for (turn = 1; is_followed && result == 0; turn++) {
		logs_pause();
		if (turn % LOOK_TURNS == 0)
			result = look(&logs, root, function);
		if (result == 0)
			result = read_all(&logs, true, taker);
	}
	for (size_t i = 0; i < logs.count; i++) {
		logs_source_close(&logs.at[i].now);
		free(logs.at[i].path);
	}
	free(logs.at);
	return result;
}
