#include "fcgi-host/tenant_logs.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>

#include "fcgi-host/buf.h"
#include "fcgi-host/log.h"
#include "fcgi-host/sock.h"
#include "sandbox/userns.h"

/* Files of one folder that are looked at. */
#define LOOK_MAX 65536
#define KEEP_MAX 99
/* So much of the ceiling is free after old logs were removed, so that the next are
 * not looked for at once. */
#define FREED_PART 8

/* What a tenant's logs take; at least, and after a look exactly so much. */
struct taken {
	char tenant[CTL_TENANT_MAX + 1];
	uint64_t bytes;
	uint64_t rest_until_us;
};

struct tenant_logs {
	struct taken *taken; /* sorted by tenant */
	size_t count;
};

/* A file that may go. */
struct old {
	char *name;
	struct timespec when;
	uint64_t bytes;
};

struct look {
	const struct tenant_logs_want *want;
	int folder;
	uint64_t bytes;
	struct old *olds;
	size_t count;
};

struct tenant_logs *
tenant_logs_new(void)
{
	return calloc(1, sizeof(struct tenant_logs));
}

void
tenant_logs_free(struct tenant_logs *logs)
{
	if (logs == NULL)
		return;
	free(logs->taken);
	free(logs);
}

/* ---------------------------------------------------------------- directories */

__attribute__((format(printf, 4, 5)))
static int
fail(int error, char *problem, size_t size, const char *fmt, ...)
{
	va_list args;

	va_start(args, fmt);
	vsnprintf(problem, size, fmt, args);
	va_end(args);
	return error;
}

int
tenant_logs_directory(const struct conf *conf, char *problem, size_t size)
{
	const char *path = conf->function_logs;
	CLEANUP_FD int fd = -1;
	struct stat st;

	/* each tenant has a folder in it that he has to come to */
	if (mkdir(path, 0755) != 0 && errno != EEXIST)
		return fail(-errno, problem, size, "%s (function_logs) cannot "
		    "be made: %s; make the directory that it lies in, or name "
		    "another", path, strerror(errno));
	fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
	if (fd < 0 || fstat(fd, &st) != 0)
		return fail(-errno, problem, size, "%s (function_logs) cannot "
		    "be opened: %s; name a directory", path, strerror(errno));
	if (st.st_uid != 0 || (st.st_mode & (S_IWGRP | S_IWOTH)) != 0)
		return fail(-EPERM, problem, size, "%s (function_logs) must "
		    "belong to %s and be writable by nobody else: chown %s %s; "
		    "chmod go-w %s", path, userns_is_single() ? "you" : "root",
		    userns_is_single() ? "YOU" : "root", path, path);
	return steal_fd(&fd);
}

/* To the group that is to read it, or to nobody's. */
static int
give(int fd, const struct stat *st, const struct tenant_logs_want *want,
    mode_t mode)
{
	gid_t gid = want->has_group ? want->gid : 0;

	if (!want->has_group)
		mode &= (mode_t)~S_IRWXG;
	/* the group first: the mode is not to let another one in */
	if (st->st_gid != gid && (fchmod(fd, mode & (mode_t)~S_IRWXG) != 0 ||
	    fchown(fd, 0, gid) != 0))
		return -errno;
	if ((st->st_gid != gid || (st->st_mode & 07777) != mode) &&
	    fchmod(fd, mode) != 0)
		return -errno;
	return 0;
}

static int
open_folder(int dir, const struct tenant_logs_want *want)
{
	CLEANUP_FD int fd = -1;
	struct stat st;
	int error;

	if (mkdirat(dir, want->tenant, 0700) != 0 && errno != EEXIST)
		return -errno;
	fd = openat(dir, want->tenant,
	    O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
	if (fd < 0 || fstat(fd, &st) != 0)
		return -errno;
	/* somebody else's: what is in it may be anything */
	if (st.st_uid != 0 || (st.st_mode & (S_IWGRP | S_IWOTH)) != 0)
		return -EPERM;
	error = give(fd, &st, want, 0750);
	return error != 0 ? error : steal_fd(&fd);
}

static int
give_folder(int dir, const struct tenant_logs_want *want)
{
	CLEANUP_FD int fd = openat(dir, want->tenant,
	    O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
	struct stat st;

	if (fd < 0 || fstat(fd, &st) != 0)
		return -errno;
	return st.st_uid != 0 ? -EPERM : give(fd, &st, want, 0750);
}

void
tenant_logs_give(const struct conf *conf,
    int (*reader)(void *arg, struct tenant_logs_want *want), void *arg)
{
	char problem[512];
	int error, dir = tenant_logs_directory(conf, problem, sizeof(problem));
	DIR *stream = dir < 0 ? NULL : fdopendir(dir);
	const struct dirent *entry;

	while (stream != NULL && (entry = readdir(stream)) != NULL) {
		struct tenant_logs_want want = { .tenant = entry->d_name };

		if (!ctl_segment_ok(want.tenant, strlen(want.tenant)))
			continue;
		want.has_group = reader(arg, &want) == 0 && want.has_group;
		error = give_folder(dir, &want);
		if (error != 0)
			log_event(LOG_WARN, "function_logs", "tenant=%s "
			    "error=\"%s\" mend=\"look who may read the "
			    "folder\"", want.tenant, strerror(-error));
	}
	if (stream != NULL)
		closedir(stream);
	else
		close_fd(&dir);
}

static int
check_disk(int dir)
{
	struct statfs fs;
	uint64_t block;

	if (fstatfs(dir, &fs) != 0)
		return -errno;
	block = (uint64_t)fs.f_bsize;
	return fs.f_bavail * block < conf_function_log_reserve(
	    fs.f_blocks * block) + TENANT_LOGS_STEP ? -ENOSPC : 0;
}

/* -------------------------------------------------------------- what is taken */

/* Where a step from here would end: as much as was granted to whoever writes it, so
 * what is written meanwhile changes nothing of the sum. */
static uint64_t
step_end(uint64_t bytes)
{
	return (bytes + LOG_LINE_MAX + TENANT_LOGS_STEP - 1) /
	    TENANT_LOGS_STEP * TENANT_LOGS_STEP;
}

static int
look_add(struct look *look, const char *name, const struct stat *st)
{
	struct old *grown = buf_grow(look->olds, look->count, sizeof(*grown));

	if (grown == NULL)
		return -ENOMEM;
	look->olds = grown;
	grown[look->count] = (struct old){ .name = strdup(name),
		.when = st->st_mtim,
		.bytes = step_end((uint64_t)st->st_size) };
	if (grown[look->count].name == NULL)
		return -ENOMEM;
	look->count++;
	return 0;
}

/* Older ones, and those of functions that are there no more; nothing that was not
 * made here. */
static int
look_at(struct look *look, const char *name)
{
	char function[CTL_NAME_MAX + 1];
	struct stat st;
	bool is_old;

	if (fstatat(look->folder, name, &st, AT_SYMLINK_NOFOLLOW) != 0 ||
	    !S_ISREG(st.st_mode))
		return 0;
	look->bytes += step_end((uint64_t)st.st_size);
	if (!conf_function_of_log(look->want->tenant, name, function,
	    &is_old) || (!is_old && look->want->is_known(look->want->arg,
	    function)))
		return 0;
	return look_add(look, name, &st);
}

static int
look_into(struct look *look)
{
	int copy = openat(look->folder, ".",
	    O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	DIR *stream = copy < 0 ? NULL : fdopendir(copy);
	const struct dirent *entry;
	int error = 0;

	if (stream == NULL) {
		close_fd(&copy);
		return -errno;
	}
	for (unsigned i = 0; i < LOOK_MAX && error == 0 &&
	    (entry = readdir(stream)) != NULL; i++)
		error = look_at(look, entry->d_name);
	closedir(stream);
	return error;
}

static int
compare_old(const void *a, const void *b)
{
	const struct old *left = a, *right = b;

	if (left->when.tv_sec != right->when.tv_sec)
		return left->when.tv_sec < right->when.tv_sec ? -1 : 1;
	if (left->when.tv_nsec != right->when.tv_nsec)
		return left->when.tv_nsec < right->when.tv_nsec ? -1 : 1;
	return -strcmp(left->name, right->name); /* .2 is older than .1 */
}

/* The oldest go, until there are so many left. */
static void
remove_old(struct look *look, uint64_t most)
{
	if (look->count > 1)
		qsort(look->olds, look->count, sizeof(*look->olds),
		    compare_old);
	for (size_t i = 0; i < look->count && look->bytes > most; i++)
		if (unlinkat(look->folder, look->olds[i].name, 0) == 0)
			look->bytes -= look->olds[i].bytes;
}

/* What the tenant has in truth, after what may go has gone where it is too much. */
static int
look_anew(const struct tenant_logs_want *want, int folder, uint64_t *bytes)
{
	uint64_t most = want->conf->function_log_total;
	struct look look = { .want = want, .folder = folder };
	int error = look_into(&look);

	if (error == 0 && look.bytes + TENANT_LOGS_STEP > most)
		remove_old(&look, most - most / FREED_PART);
	*bytes = look.bytes;
	for (size_t i = 0; i < look.count; i++)
		free(look.olds[i].name);
	free(look.olds);
	return error;
}

/* NULL: no memory. */
static struct taken *
taken_of(struct tenant_logs *logs, const char *tenant)
{
	size_t low = 0, high = logs->count;
	struct taken *grown;

	while (low < high) {
		size_t middle = (low + high) / 2;
		int order = strcmp(tenant, logs->taken[middle].tenant);

		if (order == 0)
			return &logs->taken[middle];
		if (order < 0)
			high = middle;
		else
			low = middle + 1;
	}
	grown = buf_grow(logs->taken, logs->count, sizeof(*grown));
	if (grown == NULL)
		return NULL;
	logs->taken = grown;
	memmove(grown + low + 1, grown + low,
	    (logs->count - low) * sizeof(*grown));
	/* unknown: the first look says it */
	grown[low] = (struct taken){ .bytes = UINT64_MAX };
	(void)snprintf(grown[low].tenant, sizeof(grown[low].tenant), "%s",
	    tenant);
	logs->count++;
	return &grown[low];
}

/* Whether the tenant may have another step. */
static int
take_step(struct tenant_logs *logs, const struct tenant_logs_want *want,
    int folder)
{
	uint64_t most = want->conf->function_log_total;
	struct taken *taken = taken_of(logs, want->tenant);
	int error;

	if (taken == NULL)
		return -ENOMEM;
	if (want->now_us < taken->rest_until_us)
		return -EDQUOT;
	if (taken->bytes > most - TENANT_LOGS_STEP) {
		error = look_anew(want, folder, &taken->bytes);
		if (error != 0)
			taken->bytes = UINT64_MAX;
		if (error == 0 && taken->bytes > most - TENANT_LOGS_STEP)
			error = -EDQUOT;
		if (error != 0) {
			taken->rest_until_us = want->now_us +
			    TENANT_LOGS_REST_US;
			return error;
		}
	}
	taken->bytes += TENANT_LOGS_STEP;
	return 0;
}

/* ------------------------------------------------------------------- the file */

static int
open_file(int folder, const char *name, const struct tenant_logs_want *want,
    struct stat *st)
{
	const int flags = O_WRONLY | O_APPEND | O_CLOEXEC | O_NOFOLLOW |
	    O_NONBLOCK | O_NOCTTY;
	CLEANUP_FD int fd = openat(folder, name, flags);
	int error;

	/* whoever removed a function does not get its log anew */
	if (fd < 0 && errno == ENOENT &&
	    want->is_known(want->arg, want->function))
		fd = openat(folder, name, flags | O_CREAT | O_EXCL, 0600);
	if (fd < 0 || fstat(fd, st) != 0)
		return errno == ENXIO ? -EPERM : -errno;
	if (!S_ISREG(st->st_mode) || st->st_uid != 0)
		return -EPERM;
	/* another name of it may be anywhere */
	if (st->st_nlink != 1)
		return -EMLINK;
	error = give(fd, st, want, 0640);
	return error != 0 ? error : steal_fd(&fd);
}

/* FUNCTION.log becomes .log.1, and so on; what is too many goes.  One that is missing
 * in between is no reason to keep the others. */
static int
rotate(int folder, const char *name, uint64_t keep)
{
	char from[CONF_LOG_NAME_MAX + 4], to[CONF_LOG_NAME_MAX + 4];

	for (uint64_t i = KEEP_MAX; i > 0 && i >= keep; i--) {
		(void)snprintf(to, sizeof(to), "%s.%u", name, (unsigned)i);
		(void)unlinkat(folder, to, 0);
	}
	for (uint64_t i = keep; i > 1; i--) {
		(void)snprintf(from, sizeof(from), "%s.%u", name,
		    (unsigned)i - 1);
		(void)snprintf(to, sizeof(to), "%s.%u", name, (unsigned)i);
		(void)renameat(folder, from, folder, to);
	}
	(void)snprintf(to, sizeof(to), "%s.1", name);
	if (keep == 0 ? unlinkat(folder, name, 0) != 0 :
	    renameat(folder, name, folder, to) != 0)
		return -errno;
	return 0;
}

static int
open_current(int folder, const struct tenant_logs_want *want, uint32_t *room)
{
	uint64_t most = want->conf->function_log_bytes, end;
	char name[CONF_LOG_NAME_MAX];
	CLEANUP_FD int fd = -1;
	struct stat st;
	int error;

	conf_function_log(want->function, name);
	fd = open_file(folder, name, want, &st);
	if (fd < 0)
		return fd;
	if ((uint64_t)st.st_size + LOG_LINE_MAX > most) {
		error = rotate(folder, name, want->conf->function_log_keep);
		if (error != 0)
			return error;
		close_fd(&fd);
		fd = open_file(folder, name, want, &st);
		if (fd < 0)
			return fd;
	}
	end = step_end((uint64_t)st.st_size);
	*room = (uint32_t)((end < most ? end : most) - (uint64_t)st.st_size);
	return steal_fd(&fd);
}

int
tenant_logs_open(struct tenant_logs *logs,
    const struct tenant_logs_want *want, uint32_t *room)
{
	char problem[512];
	CLEANUP_FD int folder = -1;
	CLEANUP_FD int dir = tenant_logs_directory(want->conf, problem,
	    sizeof(problem));
	int error = dir < 0 ? dir : check_disk(dir);

	if (error != 0)
		return error;
	folder = open_folder(dir, want);
	if (folder < 0)
		return folder;
	error = take_step(logs, want, folder);
	return error != 0 ? error : open_current(folder, want, room);
}
