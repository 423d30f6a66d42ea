/* Writing to the kernel's files. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "sandbox/kernfile.h"

static int
make_file(void **state)
{
	static char path[32];
	int fd;

	strcpy(path, "/tmp/kernfile-XXXXXX");
	fd = mkstemp(path);
	assert_true(fd >= 0);
	close(fd);
	*state = path;
	return 0;
}

static int
remove_file(void **state)
{
	return unlink(*state);
}

static void
what_is_written_is_there(void **state)
{
	char text[16] = "";
	int fd;

	assert_int_equal(kernfile_write(AT_FDCWD, *state, "1000 0"), 0);
	fd = open(*state, O_RDONLY | O_CLOEXEC);
	assert_int_equal(read(fd, text, sizeof(text) - 1), 6);
	assert_string_equal(text, "1000 0");
	close(fd);
}

static void
what_is_not_there_is_told(void **state)
{
	(void)state;
	assert_int_equal(kernfile_write(AT_FDCWD, "/proc/sys/no-such", "1"),
	    -ENOENT);
}

/* Such a write sets no errno: what stood there before is not the answer. */
static void
a_write_that_ends_early_is_an_error(void **state)
{
	struct rlimit before, small;

	assert_int_equal(getrlimit(RLIMIT_FSIZE, &before), 0);
	small = before;
	small.rlim_cur = 2;
	assert_int_equal(setrlimit(RLIMIT_FSIZE, &small), 0);
	errno = 0;
	assert_int_equal(kernfile_write(AT_FDCWD, *state, "max"), -EIO);
	assert_int_equal(setrlimit(RLIMIT_FSIZE, &before), 0);
}

static void
a_number_is_written_in_decimal_digits(void **state)
{
	char text[24];

	(void)state;
	assert_ptr_equal(kernfile_number(text, 0), text + 1);
	assert_string_equal(text, "0");
	assert_ptr_equal(kernfile_number(text, UINT64_MAX), text + 20);
	assert_string_equal(text, "18446744073709551615");
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(what_is_written_is_there,
		    make_file, remove_file),
		cmocka_unit_test(what_is_not_there_is_told),
		cmocka_unit_test_setup_teardown(
		    a_write_that_ends_early_is_an_error, make_file,
		    remove_file),
		cmocka_unit_test(a_number_is_written_in_decimal_digits),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
