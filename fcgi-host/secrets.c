#include "fcgi-host/secrets.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "fcgi-host/sock.h"
#include "sandbox/env_file.h"

/* Never blocking, whatever it is, and without a link: who may write on the way to
 * it must not be able to turn it elsewhere. */
static int
open_beneath(int dir_fd, const char *path, uint64_t flags)
{
	struct open_how how = {
		/* beside O_PATH the kernel refuses what is of no use there */
		.flags = O_CLOEXEC | flags | (flags & O_PATH ? 0 :
		    O_NOCTTY | O_NONBLOCK),
		.resolve = RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS |
		    RESOLVE_NO_MAGICLINKS,
	};
	int tries = 8; /* EAGAIN: a rename somewhere raced with the walk */
	long fd;

	do {
		fd = syscall(SYS_openat2, dir_fd, path, &how, sizeof(how));
	} while (fd < 0 && errno == EAGAIN && --tries > 0);
	return fd < 0 ? -errno : (int)fd;
}

/* flags: O_RDONLY, or O_PATH, which wakes no device. */
static int
open_path(const char *path, uint64_t flags)
{
	CLEANUP_FD int root = open("/", O_PATH | O_DIRECTORY | O_CLOEXEC);

	return root < 0 ? -errno : open_beneath(root, path + 1, flags);
}

static int
open_beside(int functions_fd, const struct ctl_function *function)
{
	char path[CTL_PATH_MAX + CTL_ENV_FILE_MAX + 2];
	const char *slash = strrchr(function->path, '/');
	int length = slash == NULL ? 0 : (int)(slash + 1 - function->path);

	snprintf(path, sizeof(path), "%.*s%s", length, function->path,
	    function->env_file);
	return open_beneath(functions_fd, path, O_RDONLY);
}

/* NULL, or why it is not used. */
static const char *
judge(int fd, uid_t uid)
{
	struct stat st;

	if (fd == -ENOENT)
		return "there is no such file";
	if (fd == -ELOOP)
		return "a link is on the way to it";
	if (fd < 0)
		return strerror(-fd);
	if (fstat(fd, &st) != 0)
		return strerror(errno);
	if (S_ISREG(st.st_mode) && st.st_uid != 0 && st.st_uid != uid)
		return "its owner is neither root nor the tenant: chown it";
	return env_file_fault(&st);
}

int
secrets_open(const struct conf *conf, int functions_fd,
    const struct ctl_function *function, uid_t uid,
    int fds[INIT_SECRETS_MAX], char *why, size_t size)
{
	const char *paths[CONF_ENV_FILES], *problem = NULL;
	const char *names[INIT_SECRETS_MAX] = { NULL,
		function->env_file[0] == '\0' ? NULL : function->env_file };
	size_t i;

	conf_env_files(conf, function->tenant, function->name, paths);
	names[0] = paths[0];
	names[2] = paths[1];
	for (i = 0; i < INIT_SECRETS_MAX; i++)
		fds[i] = 0;
	for (i = 0; i < INIT_SECRETS_MAX && problem == NULL; i++) {
		int fd;

		if (names[i] == NULL)
			continue;
		fd = i == 1 ? open_beside(functions_fd, function) :
		    open_path(names[i], O_RDONLY);
		problem = judge(fd, uid);
		fds[i] = fd > 0 ? fd : 0;
	}
	if (problem == NULL)
		return 0;
	snprintf(why, size, "env_file %s: %s", names[i - 1], problem);
	secrets_close(fds);
	return -EACCES;
}

void
secrets_close(int fds[INIT_SECRETS_MAX])
{
	for (size_t i = 0; i < INIT_SECRETS_MAX; i++) {
		if (fds[i] > 0)
			close(fds[i]);
		fds[i] = 0;
	}
}

/* FNV-1a: tells states apart, protects nothing. */
static uint32_t
mix(uint32_t mark, uint64_t value)
{
	for (int i = 0; i < 8; i++)
		mark = (mark ^ (uint8_t)(value >> 8 * i)) * 16777619u;
	return mark;
}

uint32_t
secrets_mark(const struct conf *conf, const struct ctl_function *function)
{
	const char *paths[CONF_ENV_FILES];
	uint32_t mark = 0;

	conf_env_files(conf, function->tenant, function->name, paths);
	for (size_t i = 0; i < CONF_ENV_FILES; i++) {
		CLEANUP_FD int fd = paths[i] == NULL ? -1 :
		    open_path(paths[i], O_PATH);
		struct stat st = { .st_size = 0 };

		if (paths[i] == NULL)
			continue;
		if (fd < 0 || fstat(fd, &st) != 0)
			st.st_ino = 0;
		mark = mix(mark == 0 ? 2166136261u : mark, st.st_ino);
		mark = mix(mark, (uint64_t)st.st_size);
		mark = mix(mark, (uint64_t)st.st_mtim.tv_sec * 1000000000 +
		    (uint64_t)st.st_mtim.tv_nsec);
		mark = mix(mark, (uint64_t)st.st_ctim.tv_sec * 1000000000 +
		    (uint64_t)st.st_ctim.tv_nsec);
	}
	return mark;
}
