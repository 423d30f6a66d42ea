#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "fcgi-host/built.h"

struct place {
	char path[64], problem[256];
	int fd;
	struct built *built;
};

static int
set_up(void **state)
{
	struct place *place = calloc(1, sizeof(*place));

	if (place == NULL)
		return -1;
	strcpy(place->path, "/tmp/test_built.XXXXXX");
	if (mkdtemp(place->path) == NULL)
		return -1;
	place->fd = open(place->path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	place->built = built_new(place->fd, place->problem,
	    sizeof(place->problem));
	*state = place;
	return place->built == NULL;
}

static int
tear_down(void **state)
{
	struct place *place = *state;
	char command[96];

	built_free(place->built);
	close(place->fd);
	snprintf(command, sizeof(command), "rm -rf %s", place->path);
	free(place);
	return system(command);
}

static struct ctl_function
function_of(const char *name, const char *version)
{
	struct ctl_function function = { .problem = 0 };
	const char *slash = strchr(name, '/');

	snprintf(function.name, sizeof(function.name), "%s", name);
	snprintf(function.version, sizeof(function.version), "%s", version);
	snprintf(function.tenant, sizeof(function.tenant), "%.*s",
	    slash == NULL ? 7 : (int)(slash - name),
	    slash == NULL ? "default" : name);
	return function;
}

static int
begin(struct place *place, const char *name, const char *version, uint64_t id)
{
	const struct ctl_function function = function_of(name, version);
	int fd, error = built_begin(place->built, &function, id, getuid(),
	    getgid(), &fd);

	assert_int_equal(fd < 0, error != 0);
	if (fd >= 0)
		close(fd);
	return error;
}

static int
look(const struct place *place, const char *name, const char *version)
{
	const struct ctl_function function = function_of(name, version);
	int fd, error = built_find(place->built, &function, &fd);

	assert_int_equal(fd < 0, error != 0);
	if (fd >= 0)
		close(fd);
	return error;
}

static bool
is_file(const struct place *place, const char *name)
{
	struct stat st;
	char path[32];

	snprintf(path, sizeof(path), "built/%s", name);
	return fstatat(place->fd, path, &st, AT_SYMLINK_NOFOLLOW) == 0;
}

static void
write_file(const struct place *place, const char *name, off_t size)
{
	char path[32];
	int fd;

	snprintf(path, sizeof(path), "built/%s", name);
	fd = openat(place->fd, path, O_WRONLY | O_CLOEXEC);
	assert_true(fd >= 0);
	assert_int_equal(ftruncate(fd, size), 0);
	close(fd);
}

static void
a_program_is_found_when_its_build_is_over_and_by_its_version_alone(void **state)
{
	struct place *place = *state;

	assert_int_equal(look(place, "a", "v1"), -ENODATA);
	assert_int_equal(begin(place, "a", "v1", 1), 0);
	assert_int_equal(look(place, "a", "v1"), -ENODATA);
	built_over(place->built, 2);
	assert_int_equal(look(place, "a", "v1"), -ENODATA);
	built_over(place->built, 1);
	assert_int_equal(look(place, "a", "v1"), 0);
	assert_int_equal(look(place, "a", "v2"), -ENODATA);
	assert_int_equal(look(place, "b", "v1"), -ENODATA);
}

static void
a_build_takes_the_place_of_what_was_there_before(void **state)
{
	struct place *place = *state;

	assert_int_equal(begin(place, "a", "v1", 1), 0);
	assert_true(is_file(place, "1"));
	assert_int_equal(begin(place, "a", "v1", 2), 0);
	assert_false(is_file(place, "1"));
	assert_true(is_file(place, "2"));
	/* the end of the first one says nothing of the second */
	built_over(place->built, 1);
	assert_int_equal(look(place, "a", "v1"), -ENODATA);
	built_over(place->built, 2);
	assert_int_equal(look(place, "a", "v1"), 0);
	assert_int_equal(built_count(place->built), 1);
}

static void
a_file_is_its_owner_s_and_empty(void **state)
{
	struct place *place = *state;
	struct stat st;

	assert_int_equal(begin(place, "a", "v1", 1), 0);
	assert_int_equal(fstatat(place->fd, "built/1", &st, 0), 0);
	assert_true(S_ISREG(st.st_mode));
	assert_int_equal(st.st_mode & 07777, 0700);
	assert_int_equal(st.st_size, 0);
	assert_int_equal(st.st_uid, getuid());
	assert_int_equal(fstatat(place->fd, "built", &st, 0), 0);
	assert_int_equal(st.st_mode & 07777, 0700);
}

static void
what_a_build_without_its_gateway_made_is_not_believed(void **state)
{
	struct place *place = *state;

	assert_int_equal(begin(place, "a", "v1", 1), 0);
	built_over(place->built, 1);
	assert_int_equal(begin(place, "b", "v1", 2), 0);
	built_disown(place->built);
	assert_false(is_file(place, "2"));
	assert_int_equal(begin(place, "c", "v1", 2), 0);
	built_over(place->built, 2);
	assert_int_equal(look(place, "b", "v1"), -ENODATA);
	assert_int_equal(look(place, "a", "v1"), 0);
	assert_int_equal(look(place, "c", "v1"), 0);
}

static void
a_program_goes_with_its_function_and_its_version(void **state)
{
	struct place *place = *state;
	const struct ctl_function same = function_of("a", "v1");
	const struct ctl_function other = function_of("a", "v2");

	assert_int_equal(begin(place, "a", "v1", 1), 0);
	built_over(place->built, 1);
	built_drop(place->built, "b");
	built_keep(place->built, &same);
	assert_int_equal(look(place, "a", "v1"), 0);
	built_keep(place->built, &other);
	assert_false(is_file(place, "1"));
	assert_int_equal(begin(place, "a", "v2", 2), 0);
	built_drop(place->built, "a");
	assert_false(is_file(place, "2"));
	built_over(place->built, 2);
	assert_int_equal(built_count(place->built), 0);
}

/* Of those that run each counts as large as it may become. */
static void
what_a_tenant_has_together_is_bounded(void **state)
{
	struct place *place = *state;
	const uint64_t most = BUILT_TENANT_BYTES / BUILT_FILE_BYTES;
	char name[16], file[16];

	for (uint64_t i = 1; i <= most; i++) {
		snprintf(name, sizeof(name), "t/f%u", (unsigned)i);
		snprintf(file, sizeof(file), "%u", (unsigned)i);
		assert_int_equal(begin(place, name, "v1", i), 0);
		write_file(place, file, (off_t)BUILT_FILE_BYTES - 1);
		built_over(place->built, i);
	}
	assert_int_equal(begin(place, "t/more", "v1", 100), -EDQUOT);
	assert_int_equal(look(place, "t/more", "v1"), -ENODATA);
	assert_int_equal(built_count(place->built), most);
	assert_int_equal(begin(place, "other/f", "v1", 101), 0);
	/* in the place of its own it has room */
	assert_int_equal(begin(place, "t/f1", "v2", 102), 0);
	built_over(place->built, 102);
	assert_int_equal(begin(place, "t/more", "v1", 103), 0);
}

static void
so_many_builds_run_and_no_more(void **state)
{
	struct place *place = *state;
	char name[16];

	for (uint64_t i = 1; i <= BUILT_AT_ONCE; i++) {
		snprintf(name, sizeof(name), "t%u/f", (unsigned)i);
		assert_int_equal(begin(place, name, "v1", i), 0);
	}
	assert_int_equal(begin(place, "more", "v1", 100), -EAGAIN);
	assert_int_equal(built_count(place->built), BUILT_AT_ONCE);
	assert_int_equal(begin(place, "t1/f", "v2", 101), 0);
	built_over(place->built, 2);
	assert_int_equal(begin(place, "more", "v1", 102), 0);
}

static void
a_start_removes_what_a_dead_host_left_and_follows_no_link(void **state)
{
	struct place *place = *state;
	struct built *next;

	assert_int_equal(begin(place, "a", "v1", 1), 0);
	assert_int_equal(mkdirat(place->fd, "kept", 0700), 0);
	assert_int_equal(symlinkat("../kept", place->fd, "built/link"), 0);
	next = built_new(place->fd, place->problem, sizeof(place->problem));
	assert_non_null(next);
	assert_false(is_file(place, "1"));
	assert_false(is_file(place, "link"));
	assert_int_equal(faccessat(place->fd, "kept", F_OK, 0), 0);
	built_free(next);
}

static void
a_place_that_is_not_the_host_s_own_is_refused_in_words(void **state)
{
	struct place *place = *state;

	built_free(place->built);
	place->built = NULL;
	assert_int_equal(unlinkat(place->fd, "built", AT_REMOVEDIR), 0);
	assert_int_equal(symlinkat(".", place->fd, "built"), 0);
	assert_null(built_new(place->fd, place->problem,
	    sizeof(place->problem)));
	assert_non_null(strstr(place->problem, "the folder built in it"));
	assert_int_equal(unlinkat(place->fd, "built", 0), 0);
	assert_int_equal(mkdirat(place->fd, "built", 0700), 0);
	assert_int_equal(mkdirat(place->fd, "built/folder", 0700), 0);
	assert_null(built_new(place->fd, place->problem,
	    sizeof(place->problem)));
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int
main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(a_program_is_found_when_its_build_is_over_and_by_its_version_alone),
		TEST(a_build_takes_the_place_of_what_was_there_before),
		TEST(a_file_is_its_owner_s_and_empty),
		TEST(what_a_build_without_its_gateway_made_is_not_believed),
		TEST(a_program_goes_with_its_function_and_its_version),
		TEST(what_a_tenant_has_together_is_bounded),
		TEST(so_many_builds_run_and_no_more),
		TEST(a_start_removes_what_a_dead_host_left_and_follows_no_link),
		TEST(a_place_that_is_not_the_host_s_own_is_refused_in_words),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
