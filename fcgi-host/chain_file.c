#include "fcgi-host/chain_file.h"

#include <errno.h>
#include <fcntl.h>
#include <sodium.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "fcgi-host/sock.h"

#define TEXT_SIZE (2 * CHAIN_KEY_SIZE + 1) /* the digits and a newline */
#define NEW_SUFFIX ".new"

/* An open key file, and the directory that it stands in. */
struct place {
	const char *path, *name;
	int dir, fd;
	char *problem;
	size_t size;
};

__attribute__((format(printf, 3, 4)))
static int
fail(const struct place *place, int error, const char *fmt, ...)
{
	va_list args;
	int n = snprintf(place->problem, place->size, "%s (chain_key) ",
	    place->path);

	if (n > 0 && (size_t)n < place->size) {
		va_start(args, fmt);
		vsnprintf(place->problem + n, place->size - (size_t)n, fmt,
		    args);
		va_end(args);
	}
	return error;
}

static void
place_close(struct place *place)
{
	close_fd(&place->fd);
	close_fd(&place->dir);
}

/* What anybody else may write could be his key, and what he may read is none. */
static int
place_check(const struct place *place)
{
	struct stat dir, st;

	if (fstat(place->dir, &dir) != 0 || fstat(place->fd, &st) != 0)
		return fail(place, -errno, "cannot be looked at: %s",
		    strerror(errno));
	if (dir.st_uid != geteuid() || (dir.st_mode & 022) != 0)
		return fail(place, -EPERM, "stands in a directory that others "
		    "than the host's owner may write; put it into `state`");
	if (!S_ISREG(st.st_mode) || st.st_nlink != 1)
		return fail(place, -EPERM, "is no regular file of one name; "
		    "put the key into one");
	if (st.st_uid != geteuid() || (st.st_mode & 077) != 0)
		return fail(place, -EPERM, "can be read by others, and who "
		    "reads it can write any line; make a new key, and: chown "
		    "root %s; chmod 0600 %s", place->path, place->path);
	return 0;
}

static int
place_open(struct place *place)
{
	const char *slash = strrchr(place->path, '/');
	char *parent = strndup(place->path,
	    slash == place->path ? 1 : (size_t)(slash - place->path));
	int error;

	if (parent == NULL)
		return fail(place, -ENOMEM, "cannot be read: out of memory");
	place->name = slash + 1;
	place->dir = open(parent, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	free(parent);
	if (place->dir >= 0)
		place->fd = openat(place->dir, place->name, O_RDWR |
		    O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
	if (place->fd >= 0)
		return place_check(place);
	error = errno;
	return fail(place, -error, "cannot be opened: %s%s", strerror(error),
	    error == ENOENT ? "; make a key: (umask 077; openssl rand -hex 32 "
	    "> FILE), and keep a copy on another machine" : "");
}

static int
key_read(const struct place *place, uint8_t key[CHAIN_KEY_SIZE])
{
	char text[TEXT_SIZE + 1];
	ssize_t n = pread(place->fd, text, sizeof(text), 0);
	bool is_key = n > 0 && chain_key_parse(text, (size_t)n, key);

	sodium_memzero(text, sizeof(text));
	return is_key ? 0 : fail(place, -EINVAL, "holds no key, that is 64 "
	    "digits of 0-9 a-f in one line; make one: (umask 077; openssl "
	    "rand -hex 32 > FILE)");
}

static int
key_seal(const struct place *place, const uint8_t key[CHAIN_KEY_SIZE])
{
	int fd = sock_sealed("fcgi-host-chain", key, CHAIN_KEY_SIZE);

	return fd >= 0 ? fd : fail(place, fd, "cannot be handed on: %s",
	    strerror(-fd));
}

int
chain_file_key(int key_fd, uint8_t key[CHAIN_KEY_SIZE])
{
	ssize_t n = pread(key_fd, key, CHAIN_KEY_SIZE, 0);

	return n == CHAIN_KEY_SIZE ? 0 : n < 0 ? -errno : -EINVAL;
}

int
chain_file_open(const char *path, char *problem, size_t size)
{
	struct place place = { .path = path, .dir = -1, .fd = -1,
		.problem = problem, .size = size };
	uint8_t key[CHAIN_KEY_SIZE];
	int result = place_open(&place);

	if (result == 0)
		result = key_read(&place, key);
	if (result == 0)
		result = key_seal(&place, key);
	sodium_memzero(key, sizeof(key));
	place_close(&place);
	return result;
}

static int
text_write(int fd, const char *text, size_t n)
{
	ssize_t done = pwrite(fd, text, n, 0);

	if (done != (ssize_t)n)
		return done < 0 ? -errno : -ENOSPC;
	return fsync(fd) != 0 ? -errno : 0;
}

/* As a file of its own beside it, whole on the disk before it takes the name. */
static int
key_replace(const struct place *place, const char *text)
{
	CLEANUP_FD int fd = -1;
	char name[256];
	int error;

	if (snprintf(name, sizeof(name), "%s" NEW_SUFFIX, place->name) >=
	    (int)sizeof(name))
		return -ENAMETOOLONG;
	(void)unlinkat(place->dir, name, 0);
	fd = openat(place->dir, name, O_WRONLY | O_CREAT | O_EXCL |
	    O_NOFOLLOW | O_CLOEXEC, 0600);
	if (fd < 0)
		return -errno;
	error = text_write(fd, text, TEXT_SIZE);
	if (error == 0 &&
	    renameat(place->dir, name, place->dir, place->name) != 0)
		error = -errno;
	if (error != 0) {
		(void)unlinkat(place->dir, name, 0);
		return error;
	}
	return fsync(place->dir) != 0 ? -errno : 0;
}

static int
key_step(const struct place *place, uint8_t key[CHAIN_KEY_SIZE])
{
	static const char nothing[TEXT_SIZE];
	char text[TEXT_SIZE + 1];
	int error;

	chain_key_next(key, key);
	chain_key_text(key, text);
	text[TEXT_SIZE - 1] = '\n';
	error = key_replace(place, text);
	sodium_memzero(text, sizeof(text));
	if (error != 0)
		return fail(place, error, "cannot be replaced by the next key, "
		    "as each rotation does: %s; put it into a directory that "
		    "the host may write, as `state`", strerror(-error));
	/* where the old one was; a disk may have kept a copy all the same */
	(void)text_write(place->fd, nothing, sizeof(nothing));
	return 0;
}

int
chain_file_next(const char *path, int key_fd, char *problem, size_t size)
{
	struct place place = { .path = path, .dir = -1, .fd = -1,
		.problem = problem, .size = size };
	uint8_t key[CHAIN_KEY_SIZE], now[CHAIN_KEY_SIZE];
	int result = place_open(&place);

	if (result == 0)
		result = key_read(&place, key);
	if (result == 0)
		result = chain_file_key(key_fd, now);
	if (result == 0 && sodium_memcmp(key, now, sizeof(key)) == 0)
		result = key_step(&place, key);
	if (result == 0)
		result = key_seal(&place, key);
	sodium_memzero(key, sizeof(key));
	sodium_memzero(now, sizeof(now));
	place_close(&place);
	return result;
}
