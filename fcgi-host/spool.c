#include "fcgi-host/spool.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/random.h>
#include <unistd.h>

#include "fcgi-host/log.h"
#include "fcgi-host/sock.h"

/* The bytes in memory are older than those in the file: while the file holds
 * unread bytes, whatever is added goes to the file. */

void
spool_init(struct spool *spool, int dir_fd, size_t mem_max)
{
	*spool = (struct spool){ .dir_fd = dir_fd, .fd = -1,
		.mem_max = mem_max };
}

/* For file systems without O_TMPFILE: a name that nobody guesses, gone at
 * once. */
static int
open_and_unlink(int dir_fd)
{
	char name[32];
	uint64_t random;
	int fd;

	if (getrandom(&random, sizeof(random), 0) != sizeof(random))
		return -EIO;
	snprintf(name, sizeof(name), "spool.%016llx",
	    (unsigned long long)random);
	fd = openat(dir_fd, name,
	    O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
	if (fd < 0)
		return -errno;
	if (unlinkat(dir_fd, name, 0) != 0) {
		int error = errno;

		close_fd(&fd);
		return -error;
	}
	return fd;
}

static int
open_file(struct spool *spool)
{
	int fd;

	if (spool->fd >= 0)
		return 0;
	fd = openat(spool->dir_fd, ".",
	    O_RDWR | O_TMPFILE | O_EXCL | O_CLOEXEC, 0600);
	if (fd < 0)
		fd = errno == EOPNOTSUPP || errno == EISDIR ?
		    open_and_unlink(spool->dir_fd) : -errno;
	if (fd < 0)
		return fd;
	spool->fd = fd;
	return 0;
}

/* All or nothing: what was written of an addition that failed is given back,
 * so that others can use the space. */
static int
add_to_file(struct spool *spool, const uint8_t *data, size_t n)
{
	size_t done = 0;
	int rc = open_file(spool);

	while (rc == 0 && done < n) {
		ssize_t step = pwrite(spool->fd, data + done, n - done,
		    (off_t)(spool->file_end + done));

		if (step >= 0)
			done += (size_t)step;
		else if (errno != EINTR)
			rc = -errno;
	}
	if (rc == 0)
		spool->file_end += n;
	else if (spool->fd >= 0 &&
	    ftruncate(spool->fd, (off_t)spool->file_end) != 0)
		/* The space comes back with the descriptor instead. */
		return rc;
	return rc;
}

int
spool_add(struct spool *spool, const void *data, size_t n)
{
	size_t in_mem = buf_len(&spool->mem);
	int rc;

	if (spool->file_start == spool->file_end &&
	    in_mem <= spool->mem_max && n <= spool->mem_max - in_mem)
		rc = buf_add(&spool->mem, data, n);
	else
		rc = add_to_file(spool, data, n);
	if (rc == 0)
		spool->total += n;
	return rc;
}

uint64_t
spool_left(const struct spool *spool)
{
	return buf_len(&spool->mem) + (spool->file_end - spool->file_start);
}

static ssize_t
peek_file(const struct spool *spool, uint8_t *out, size_t size)
{
	uint64_t left = spool->file_end - spool->file_start;
	ssize_t n;

	if (size > left)
		size = (size_t)left;
	do
		n = pread(spool->fd, out, size, (off_t)spool->file_start);
	while (n < 0 && errno == EINTR);
	if (n < 0)
		return -errno;
	return n == 0 ? -EIO : n;
}

ssize_t
spool_peek(const struct spool *spool, void *out, size_t size)
{
	size_t done = buf_len(&spool->mem);
	ssize_t more;

	if (done > size)
		done = size;
	if (done > 0)
		memcpy(out, spool->mem.data + spool->mem.start, done);
	if (done == size || spool->file_start == spool->file_end)
		return (ssize_t)done;
	more = peek_file(spool, (uint8_t *)out + done, size - done);
	if (more < 0)
		return done > 0 ? (ssize_t)done : more;
	return (ssize_t)done + more;
}

void
spool_consume(struct spool *spool, size_t n)
{
	size_t from_mem = buf_len(&spool->mem);

	LOG_ASSERT(n <= spool_left(spool));
	if (from_mem > n)
		from_mem = n;
	buf_consume(&spool->mem, from_mem);
	spool->file_start += n - from_mem;
	if (spool->file_end == 0 || spool->file_start != spool->file_end)
		return;
	/* The reader has caught up.  A file that cannot be emptied (which no
	 * kernel does) is left as it is and grows on. */
	if (ftruncate(spool->fd, 0) == 0)
		spool->file_start = spool->file_end = 0;
}

int
spool_give_back(struct spool *spool, const void *data, size_t n)
{
	struct buf all = { 0 };
	int rc = buf_add(&all, data, n);

	if (rc == 0)
		rc = buf_add(&all, buf_head(&spool->mem),
		    buf_len(&spool->mem));
	if (rc != 0) {
		buf_free(&all);
		return rc;
	}
	buf_free(&spool->mem);
	spool->mem = all;
	return 0;
}

void
spool_free(struct spool *spool)
{
	close_fd(&spool->fd);
	buf_free(&spool->mem);
	spool->file_start = spool->file_end = 0;
}
