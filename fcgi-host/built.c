#include "fcgi-host/built.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <search.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/queue.h>
#include <sys/stat.h>
#include <unistd.h>

#include "fcgi-host/log.h"
#include "fcgi-host/sock.h"

#define FILE_NAME_SIZE 24

/* One program.  The tree's key is its name. */
struct program {
	char name[CTL_NAME_MAX + 1], version[CTL_VERSION_LENGTH + 1];
	char tenant[CTL_TENANT_MAX + 1];
	char file[FILE_NAME_SIZE];
	uint64_t builder; /* the instance that writes it; 0: none, it is done */
	uint64_t bytes;   /* that it may have; when it is done, that it has */
	TAILQ_ENTRY(program) in;
};

struct built {
	int fd; /* the directory */
	void *names;
	TAILQ_HEAD(, program) all;
	struct program *building[BUILT_AT_ONCE];
	uint64_t next;
	size_t count;
};

static int
compare(const void *a, const void *b)
{
	return strcmp(((const struct program *)a)->name,
	    ((const struct program *)b)->name);
}

static struct program *
find(const struct built *built, const char *name)
{
	struct program key, **found;

	if (built == NULL)
		return NULL;
	snprintf(key.name, sizeof(key.name), "%s", name);
	found = tfind(&key, &built->names, compare);
	return found == NULL ? NULL : *found;
}

/* ------------------------------------------------------------------ the directory */

/* There are files alone, as nobody else makes anything here. */
static int
empty(int fd)
{
	int again = openat(fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	DIR *dir = again < 0 ? NULL : fdopendir(again);
	const struct dirent *entry;
	int error = 0;

	if (dir == NULL) {
		error = -errno;
		close_fd(&again);
		return error;
	}
	while (error == 0 && (entry = readdir(dir)) != NULL) {
		if (strcmp(entry->d_name, ".") != 0 &&
		    strcmp(entry->d_name, "..") != 0 &&
		    unlinkat(fd, entry->d_name, 0) != 0 && errno != ENOENT)
			error = -errno;
	}
	(void)closedir(dir);
	return error;
}

static int
open_directory(int state_fd)
{
	struct stat st;
	int fd, error;

	if (mkdirat(state_fd, "built", 0700) != 0 && errno != EEXIST)
		return -errno;
	fd = openat(state_fd, "built",
	    O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	error = fstat(fd, &st) != 0 ? -errno :
	    st.st_uid != geteuid() ? -EPERM : fchmod(fd, 0700) != 0 ? -errno :
	    empty(fd);
	if (error != 0)
		close_fd(&fd);
	return error != 0 ? error : fd;
}

struct built *
built_new(int state_fd, char *problem, size_t size)
{
	struct built *built = calloc(1, sizeof(*built));

	if (built == NULL) {
		snprintf(problem, size, "no memory");
		return NULL;
	}
	TAILQ_INIT(&built->all);
	built->fd = open_directory(state_fd);
	if (built->fd >= 0)
		return built;
	snprintf(problem, size, "state: the folder built in it: %s; it must be "
	    "the host's own, with files alone: remove it, it holds nothing "
	    "that is not made again", strerror(-built->fd));
	free(built);
	return NULL;
}

/* -------------------------------------------------------------------- a program */

static void
remove_file(const struct built *built, struct program *program)
{
	if (program->file[0] != '\0' &&
	    unlinkat(built->fd, program->file, 0) != 0 && errno != ENOENT)
		log_event(LOG_WARN, "built", "file=%s error=\"%s\"",
		    program->file, strerror(errno));
	program->file[0] = '\0';
	program->bytes = 0;
}

static void
set_builder(struct built *built, struct program *program, uint64_t id)
{
	struct program **place = built->building;

	program->builder = id;
	for (size_t i = 0; i < BUILT_AT_ONCE; i++)
		if (built->building[i] == program)
			built->building[i] = NULL;
	if (id == 0)
		return;
	while (*place != NULL)
		place++;
	*place = program;
}

static void
forget(struct built *built, struct program *program)
{
	set_builder(built, program, 0);
	remove_file(built, program);
	tdelete(program, &built->names, compare);
	TAILQ_REMOVE(&built->all, program, in);
	built->count--;
	free(program);
}

void
built_free(struct built *built)
{
	if (built == NULL)
		return;
	while (!TAILQ_EMPTY(&built->all))
		forget(built, TAILQ_FIRST(&built->all));
	close_fd(&built->fd);
	free(built);
}

static struct program *
take(struct built *built, const struct ctl_function *function)
{
	struct program *program = find(built, function->name);

	if (program != NULL)
		return program;
	program = calloc(1, sizeof(*program));
	if (program == NULL)
		return NULL;
	memcpy(program->name, function->name, sizeof(program->name));
	memcpy(program->tenant, function->tenant, sizeof(program->tenant));
	if (tsearch(program, &built->names, compare) == NULL) {
		free(program);
		return NULL;
	}
	TAILQ_INSERT_TAIL(&built->all, program, in);
	built->count++;
	return program;
}

/* ------------------------------------------------------------------------ builds */

static uint64_t
tenant_bytes(const struct built *built, const char *tenant)
{
	const struct program *program;
	uint64_t bytes = 0;

	TAILQ_FOREACH(program, &built->all, in)
		if (strcmp(program->tenant, tenant) == 0)
			bytes += program->bytes;
	return bytes;
}

static bool
has_place(const struct built *built, const struct program *program)
{
	for (size_t i = 0; i < BUILT_AT_ONCE; i++)
		if (built->building[i] == NULL || built->building[i] == program)
			return true;
	return false;
}

/* Its owner may write and run it, by a mount alone. */
static int
make_file(struct built *built, struct program *program, uid_t uid, gid_t gid)
{
	CLEANUP_FD int fd = -1;

	snprintf(program->file, sizeof(program->file), "%" PRIu64,
	    ++built->next);
	fd = openat(built->fd, program->file,
	    O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0700);
	if (fd < 0)
		return -errno;
	return fchmod(fd, 0700) != 0 || fchown(fd, uid, gid) != 0 ? -errno : 0;
}

static int
open_file(const struct built *built, const struct program *program, int *fd)
{
	*fd = openat(built->fd, program->file, O_PATH | O_NOFOLLOW | O_CLOEXEC);
	return *fd < 0 ? -errno : 0;
}

int
built_begin(struct built *built, const struct ctl_function *function,
    uint64_t id, uid_t uid, gid_t gid, int *fd)
{
	struct program *program = take(built, function);
	int error;

	*fd = -1;
	if (program == NULL)
		return -ENOMEM;
	if (!has_place(built, program)) {
		if (program->file[0] == '\0')
			forget(built, program);
		return -EAGAIN;
	}
	set_builder(built, program, 0);
	remove_file(built, program);
	memcpy(program->version, function->version, sizeof(program->version));
	error = tenant_bytes(built, program->tenant) + BUILT_FILE_BYTES >
	    BUILT_TENANT_BYTES ? -EDQUOT :
	    make_file(built, program, uid, gid);
	if (error == 0)
		error = open_file(built, program, fd);
	if (error != 0) {
		forget(built, program);
		return error;
	}
	program->bytes = BUILT_FILE_BYTES;
	set_builder(built, program, id);
	return 0;
}

void
built_over(struct built *built, uint64_t id)
{
	for (size_t i = 0; built != NULL && i < BUILT_AT_ONCE; i++) {
		struct program *program = built->building[i];
		struct stat st;

		if (program == NULL || program->builder != id)
			continue;
		set_builder(built, program, 0);
		if (fstatat(built->fd, program->file, &st,
		    AT_SYMLINK_NOFOLLOW) == 0)
			program->bytes = (uint64_t)st.st_size;
		else
			forget(built, program);
		return;
	}
}

void
built_disown(struct built *built)
{
	for (size_t i = 0; built != NULL && i < BUILT_AT_ONCE; i++)
		if (built->building[i] != NULL)
			forget(built, built->building[i]);
}

int
built_find(const struct built *built, const struct ctl_function *function,
    int *fd)
{
	const struct program *program = find(built, function->name);

	*fd = -1;
	if (program == NULL || program->builder != 0 ||
	    program->file[0] == '\0' ||
	    strcmp(program->version, function->version) != 0)
		return -ENODATA;
	return open_file(built, program, fd);
}

void
built_drop(struct built *built, const char *name)
{
	struct program *program = find(built, name);

	if (program != NULL)
		forget(built, program);
}

void
built_keep(struct built *built, const struct ctl_function *function)
{
	const struct program *program = find(built, function->name);

	if (program != NULL &&
	    strcmp(program->version, function->version) != 0)
		built_drop(built, function->name);
}

size_t
built_count(const struct built *built)
{
	return built->count;
}
