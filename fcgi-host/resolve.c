#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <linux/openat2.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "fcgi-host/resolve.h"
#include "fcgi-host/sock.h"

static int
open_beneath(int dir_fd, const char *path, uint64_t flags)
{
	struct open_how how = {
		/* Without O_NOFOLLOW, which with O_PATH opens a link itself. */
		.flags = O_PATH | O_CLOEXEC | flags,
		.resolve = RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS |
		    RESOLVE_NO_MAGICLINKS,
	};
	/* EAGAIN: a rename somewhere raced with the walk (openat2(2)). */
	int tries = 8;
	long fd;

	do {
		fd = syscall(SYS_openat2, dir_fd, path, &how, sizeof(how));
	} while (fd < 0 && errno == EAGAIN && --tries > 0);
	return fd < 0 ? -errno : (int)fd;
}

/* The last name of the path. */
static const char *
last_name(const char *path)
{
	const char *slash = strrchr(path, '/');

	return slash != NULL ? slash + 1 : path;
}

static int
find_in_folder(struct resolve_file *out)
{
	CLEANUP_FD int file_fd = -1;

	if (fstat(out->fd, &out->folder) != 0)
		return -errno;
	file_fd = open_beneath(out->fd, out->name, 0);
	if (file_fd < 0)
		return file_fd;
	return fstat(file_fd, &out->file) == 0 ? 0 : -errno;
}

int
resolve_find(int functions_fd, const struct ctl_function *function,
    struct resolve_file *out)
{
	int error = 0;

	out->name = last_name(function->path);
	out->fd = function->is_folder ?
	    open_beneath(functions_fd, function->name, O_DIRECTORY) :
	    open_beneath(functions_fd, function->path, 0);
	if (out->fd < 0)
		return out->fd;
	if (function->is_folder) {
		error = find_in_folder(out);
	} else if (fstat(out->fd, &out->file) == 0) {
		out->folder = out->file;
	} else {
		error = -errno;
	}
	if (error != 0)
		resolve_free(out);
	return error;
}

void
resolve_free(struct resolve_file *file)
{
	close_fd(&file->fd);
}

int
resolve_check(const struct resolve_file *file, uid_t uid)
{
	const struct stat *both[] = { &file->file, &file->folder };
	size_t i;

	if (!S_ISREG(file->file.st_mode))
		return -EACCES;
	for (i = 0; i < 2; i++) {
		if (both[i]->st_uid != 0 && both[i]->st_uid != uid)
			return -EPERM;
		if ((both[i]->st_mode & (S_IWGRP | S_IWOTH)) != 0)
			return -EACCES;
	}
	return 0;
}

/* The path is the administrator's, but who can write on its way must not be
 * able to turn it elsewhere: so no links, from the root on. */
static int
open_bind(const char *path)
{
	CLEANUP_FD int root = open("/", O_PATH | O_DIRECTORY | O_CLOEXEC);

	if (root < 0)
		return -errno;
	while (*path == '/')
		path++;
	return open_beneath(root, *path != '\0' ? path : ".", 0);
}

int
resolve_binds(const struct conf_bind *binds, size_t count,
    struct sandbox_plan *plan, const char **failed)
{
	size_t i;

	for (i = 0; i < count; i++) {
		struct sandbox_bind *bind = &plan->binds[plan->bind_count];

		*failed = binds[i].path;
		if (plan->bind_count == SANDBOX_BINDS_MAX)
			return -E2BIG;
		bind->fd = open_bind(binds[i].path);
		if (bind->fd < 0)
			return bind->fd;
		bind->path = binds[i].path;
		bind->is_writable = binds[i].is_writable;
		plan->bind_count++;
	}
	return 0;
}

void
resolve_binds_close(struct sandbox_plan *plan)
{
	while (plan->bind_count > 0)
		close_fd(&plan->binds[--plan->bind_count].fd);
}

/* ---------------------------------------------------------------- arguments */

struct strings {
	char **argv;
	size_t argc;
	char *free; /* where the next byte goes */
};

/* What %f and %m stand for in a command. */
struct marks {
	const char *path, *memory;
};

static void
put(struct strings *out, const char *text, size_t n)
{
	memcpy(out->free, text, n);
	out->free += n;
}

/* What stands for a mark, which begins with a percent sign; NULL: it is none. */
static const char *
mark_value(const char *mark, const struct marks *marks)
{
	return strncmp(mark, "%f", 2) == 0 ? marks->path :
	    strncmp(mark, "%m", 2) == 0 ? marks->memory : NULL;
}

/* One argument, with what its marks stand for.  True: the path is among that. */
static bool
put_argument(struct strings *out, const char *text, const struct marks *marks)
{
	bool has_path = false;

	out->argv[out->argc++] = out->free;
	while (*text != '\0') {
		const char *value = mark_value(text, marks);

		if (value == NULL || (value == marks->path && has_path)) {
			put(out, text++, 1);
			continue;
		}
		put(out, value, strlen(value));
		has_path |= value == marks->path;
		text += 2;
	}
	put(out, "", 1);
	return has_path;
}

/* The bytes that an argument takes at most. */
static size_t
room_of(const char *text, const struct marks *marks)
{
	size_t room = strlen(text) + strlen(marks->path) + 1;

	while ((text = strstr(text, "%m")) != NULL) {
		room += strlen(marks->memory);
		text += 2;
	}
	return room;
}

char **
resolve_argv(char *const *command, const char *file_name,
    uint64_t memory_bytes)
{
	char path[sizeof(SANDBOX_FN_DIR) + 1 + CTL_PATH_MAX], memory[24];
	const struct marks marks = { path, memory };
	char *none[] = { NULL };
	struct strings out = { 0 };
	size_t count = 0, bytes = 0;
	bool is_placed = false;

	if (command == NULL)
		command = none;
	snprintf(path, sizeof(path), "%s/%s", SANDBOX_FN_DIR, file_name);
	snprintf(memory, sizeof(memory), "%" PRIu64,
	    memory_bytes / (1024 * 1024));
	for (; command[count] != NULL; count++)
		bytes += room_of(command[count], &marks);
	out.argv = malloc((count + 2) * sizeof(char *) + bytes + sizeof(path));
	if (out.argv == NULL)
		return NULL;
	out.free = (char *)(out.argv + count + 2);
	for (; *command != NULL; command++)
		is_placed |= put_argument(&out, *command, &marks);
	if (!is_placed)
		(void)put_argument(&out, "%f", &marks);
	out.argv[out.argc] = NULL;
	return out.argv;
}
