#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "fcgi-host/spool.h"

#define MEM_MAX 100

static char dir[] = "/tmp/test_spool.XXXXXX";
static int dir_fd = -1;

static bool has_tmpfile = true;

/* Stands before the C library's, so that a test can be on a file system that
 * knows no O_TMPFILE. */
int
openat(int at, const char *path, int flags, ...)
{
	va_list args;
	mode_t mode = 0;

	if ((flags & O_TMPFILE) == O_TMPFILE && !has_tmpfile) {
		errno = EOPNOTSUPP;
		return -1;
	}
	if ((flags & (O_CREAT | O_TMPFILE)) != 0) {
		va_start(args, flags);
		mode = va_arg(args, mode_t);
		va_end(args);
	}
	return (int)syscall(SYS_openat, at, path, flags, mode);
}

static int
set_up_group(void **state)
{
	(void)state;
	if (mkdtemp(dir) == NULL)
		return -1;
	dir_fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	return dir_fd < 0;
}

static int
tear_down_group(void **state)
{
	(void)state;
	close(dir_fd);
	return rmdir(dir);
}

static uint64_t
file_bytes(const struct spool *spool)
{
	struct stat st;

	assert_int_equal(fstat(spool->fd, &st), 0);
	return (uint64_t)st.st_size;
}

/* Bytes that tell their own position. */
static uint8_t
byte_at(uint64_t position)
{
	return (uint8_t)(position * 167 ^ position >> 8);
}

static int
add(struct spool *spool, size_t n)
{
	uint8_t data[5000];

	assert_true(n <= sizeof(data));
	for (size_t i = 0; i < n; i++)
		data[i] = byte_at(spool->total + i);
	return spool_add(spool, data, n);
}

/* Reads n bytes, which are there, in pieces of at most step. */
static void
take(struct spool *spool, size_t n, size_t step)
{
	uint64_t position = spool->total - spool_left(spool);
	uint8_t data[5000];

	while (n > 0) {
		ssize_t got = spool_peek(spool, data, step < n ? step : n);

		assert_true(got > 0 && (size_t)got <= n);
		for (ssize_t i = 0; i < got; i++)
			assert_int_equal(data[i],
			    byte_at(position + (uint64_t)i));
		spool_consume(spool, (size_t)got);
		position += (uint64_t)got;
		n -= (size_t)got;
	}
}

static void
a_small_body_stays_in_memory(void **state)
{
	struct spool spool;

	(void)state;
	spool_init(&spool, dir_fd, MEM_MAX);
	assert_int_equal(add(&spool, 60), 0);
	assert_int_equal(add(&spool, 40), 0);
	assert_int_equal(spool.fd, -1);
	assert_int_equal(spool_left(&spool), 100);
	take(&spool, 100, 7);
	assert_int_equal(spool_left(&spool), 0);
	assert_int_equal(spool.total, 100);
	spool_free(&spool);
}

static int
count_names(void)
{
	DIR *listing = opendir(dir);
	int names = 0;

	assert_non_null(listing);
	while (readdir(listing) != NULL)
		names++;
	closedir(listing);
	return names;
}

static void
a_larger_body_goes_to_a_file_that_no_name_leads_to(void **state)
{
	struct spool spool;
	struct stat st;

	(void)state;
	for (int i = 0; i < 2; i++) {
		has_tmpfile = i == 0;
		spool_init(&spool, dir_fd, MEM_MAX);
		assert_int_equal(add(&spool, 60), 0);
		assert_int_equal(add(&spool, 41), 0);
		has_tmpfile = true;
		assert_true(spool.fd >= 0);
		assert_int_equal(fstat(spool.fd, &st), 0);
		assert_int_equal(st.st_nlink, 0);
		assert_int_equal(st.st_mode & 0777, 0600);
		assert_true((fcntl(spool.fd, F_GETFD) & FD_CLOEXEC) != 0);
		assert_int_equal(count_names(), 2);
		assert_int_equal(spool_left(&spool), 101);
		take(&spool, 101, 9);
		spool_free(&spool);
		assert_int_equal(spool.fd, -1);
	}
}

static void
memory_serves_again_when_the_reader_has_caught_up(void **state)
{
	struct spool spool;

	(void)state;
	spool_init(&spool, dir_fd, MEM_MAX);
	for (int round = 0; round < 5; round++) {
		assert_int_equal(add(&spool, 50), 0);
		assert_int_equal(add(&spool, 4000), 0);
		/* While the file holds unread bytes, the small go there. */
		assert_int_equal(add(&spool, 1), 0);
		assert_int_equal(file_bytes(&spool), 4001);
		take(&spool, 4050, 777);
		assert_int_equal(add(&spool, 1), 0);
		take(&spool, 2, 10);
		assert_int_equal(file_bytes(&spool), 0);
		assert_int_equal(spool_left(&spool), 0);
		assert_int_equal(add(&spool, 100), 0);
		assert_int_equal(file_bytes(&spool), 0);
		take(&spool, 100, 100);
	}
	spool_free(&spool);
}

static void
a_peek_takes_nothing_and_spans_memory_and_file(void **state)
{
	struct spool spool;
	uint8_t first[300], second[300];

	(void)state;
	spool_init(&spool, dir_fd, MEM_MAX);
	assert_int_equal(spool_peek(&spool, first, 300), 0);
	assert_int_equal(add(&spool, 90), 0);
	assert_int_equal(add(&spool, 150), 0);
	assert_int_equal(spool_peek(&spool, first, 0), 0);
	assert_int_equal(spool_peek(&spool, first, 300), 240);
	assert_int_equal(spool_peek(&spool, second, 300), 240);
	assert_memory_equal(first, second, 240);
	assert_int_equal(spool_left(&spool), 240);
	take(&spool, 240, 300);
	spool_free(&spool);
}

static void
any_mix_of_adding_and_reading_keeps_the_bytes_in_order(void **state)
{
	struct spool spool;
	unsigned seed = 99;

	(void)state;
	spool_init(&spool, dir_fd, MEM_MAX);
	for (int i = 0; i < 20000; i++) {
		size_t n;

		seed = seed * 1103515245 + 12345;
		n = (seed >> 16) % 120;
		assert_int_equal(add(&spool, n), 0);
		seed = seed * 1103515245 + 12345;
		n = (seed >> 16) % 140;
		if (n > spool_left(&spool))
			n = (size_t)spool_left(&spool);
		take(&spool, n, 1 + (seed >> 8) % 60);
	}
	take(&spool, (size_t)spool_left(&spool), 50);
	spool_free(&spool);
}

static void
with_no_memory_allowed_everything_goes_to_the_file(void **state)
{
	struct spool spool;

	(void)state;
	spool_init(&spool, dir_fd, 0);
	assert_int_equal(add(&spool, 0), 0);
	assert_int_equal(spool.fd, -1);
	assert_int_equal(add(&spool, 1), 0);
	assert_true(spool.fd >= 0);
	take(&spool, 1, 1);
	spool_free(&spool);
	spool_free(&spool);
}

static void
without_a_descriptor_to_be_had_the_addition_is_refused(void **state)
{
	struct rlimit old, none;
	struct spool spool;

	(void)state;
	spool_init(&spool, dir_fd, MEM_MAX);
	assert_int_equal(add(&spool, 70), 0);
	assert_int_equal(getrlimit(RLIMIT_NOFILE, &old), 0);
	none = (struct rlimit){ 0, old.rlim_max };
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &none), 0);
	assert_int_equal(add(&spool, 70), -EMFILE);
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &old), 0);
	assert_int_equal(spool_left(&spool), 70);
	assert_int_equal(spool.total, 70);
	assert_int_equal(add(&spool, 70), 0);
	take(&spool, 140, 33);
	spool_free(&spool);
}

static void
a_directory_that_is_none_is_an_error(void **state)
{
	struct spool spool;

	(void)state;
	spool_init(&spool, -1, 0);
	assert_int_equal(add(&spool, 1), -EBADF);
	assert_int_equal(spool_left(&spool), 0);
	spool_free(&spool);
}

/* On a file system of 64 KiB. */
static void
a_full_disk_refuses_the_addition_whole_and_serves_again(void **state)
{
	struct spool spool;
	int full_fd, rc, added = 0;

	(void)state;
	/* In a mount namespace of our own, so that nothing is left behind. */
	if (unshare(CLONE_NEWNS) != 0) {
		assert_int_equal(errno, EPERM);
		print_message("SKIP: only root may mount a small tmpfs\n");
		skip();
	}
	assert_int_equal(mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL), 0);
	assert_int_equal(mount("none", dir, "tmpfs", 0, "size=64k"), 0);
	full_fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	assert_true(full_fd >= 0);
	spool_init(&spool, full_fd, MEM_MAX);
	while ((rc = add(&spool, 5000)) == 0)
		assert_true(++added < 100);
	assert_int_equal(rc, -ENOSPC);
	assert_true(added > 5);
	assert_int_equal(spool_left(&spool), (uint64_t)added * 5000);
	assert_int_equal(file_bytes(&spool), (uint64_t)added * 5000);
	assert_int_equal(add(&spool, 5000), -ENOSPC);
	take(&spool, (size_t)added * 5000, 4096);
	for (int i = 0; i < added; i++)
		assert_int_equal(add(&spool, 5000), 0);
	take(&spool, (size_t)added * 5000, 5000);
	spool_free(&spool);
	close(full_fd);
	assert_int_equal(umount(dir), 0);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_small_body_stays_in_memory),
		cmocka_unit_test(
		    a_larger_body_goes_to_a_file_that_no_name_leads_to),
		cmocka_unit_test(
		    memory_serves_again_when_the_reader_has_caught_up),
		cmocka_unit_test(
		    a_peek_takes_nothing_and_spans_memory_and_file),
		cmocka_unit_test(
		    any_mix_of_adding_and_reading_keeps_the_bytes_in_order),
		cmocka_unit_test(
		    with_no_memory_allowed_everything_goes_to_the_file),
		cmocka_unit_test(
		    without_a_descriptor_to_be_had_the_addition_is_refused),
		cmocka_unit_test(a_directory_that_is_none_is_an_error),
		cmocka_unit_test(
		    a_full_disk_refuses_the_addition_whole_and_serves_again),
	};

	return cmocka_run_group_tests_name("spool", tests, set_up_group,
	    tear_down_group);
}
