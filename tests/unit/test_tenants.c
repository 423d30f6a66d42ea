#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "fcgi-host/tenants.h"
#include "tests/unit/conf_text.h"

#define NEED_ROOT() \
	do { \
		if (geteuid() != 0) { \
			print_message("NOT RUN: needs root, whose files it " \
			    "makes\n"); \
			skip(); \
		} \
	} while (0)

struct place {
	char path[64];
	int fd;
	char problem[512];
};

static int
set_up(void **state)
{
	struct place *place = calloc(1, sizeof(*place));

	if (place == NULL)
		return -1;
	strcpy(place->path, "/tmp/test_tenants.XXXXXX");
	if (mkdtemp(place->path) == NULL)
		return -1;
	place->fd = open(place->path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	*state = place;
	return place->fd < 0;
}

static int
tear_down(void **state)
{
	struct place *place = *state;
	char command[96];

	close(place->fd);
	snprintf(command, sizeof(command), "rm -rf %s", place->path);
	free(place);
	return system(command);
}

static void
put_file(const struct place *place, const char *text, mode_t mode)
{
	int fd = openat(place->fd, "tenants", O_WRONLY | O_CREAT | O_TRUNC,
	    0600);

	assert_true(fd >= 0);
	assert_int_equal(write(fd, text, strlen(text)), strlen(text));
	assert_int_equal(fchmod(fd, mode), 0);
	close(fd);
}

static struct tenants *
open_tenants(struct place *place, const struct conf *conf)
{
	struct tenants *tenants = tenants_new(place->fd, place->problem,
	    sizeof(place->problem));

	if (tenants == NULL)
		fail_msg("%s", place->problem);
	assert_int_equal(tenants_set_accounts(tenants, conf, 12345,
	    place->problem, sizeof(place->problem)), 0);
	return tenants;
}

static void
a_tenant_keeps_its_number_over_restarts(void **state)
{
	struct place *place = *state;
	struct conf *conf = conf_of("[host]\nuid_range = 700000-700009\n");
	struct tenants *tenants;
	struct tenants_id alice, bob, again;

	NEED_ROOT();
	tenants = open_tenants(place, conf);
	assert_int_equal(tenants_find(tenants, conf, "alice", &alice), -ENOENT);
	assert_int_equal(tenants_take(tenants, conf, "alice", &alice), 0);
	assert_int_equal(tenants_take(tenants, conf, "bob", &bob), 0);
	assert_int_equal(alice.uid, 700000);
	assert_int_equal(alice.gid, 700000);
	assert_int_equal(bob.uid, 700001);
	tenants_free(tenants);

	tenants = open_tenants(place, conf);
	assert_int_equal(tenants_find(tenants, conf, "bob", &again), 0);
	assert_int_equal(again.uid, bob.uid);
	assert_int_equal(tenants_take(tenants, conf, "alice", &again), 0);
	assert_int_equal(again.uid, alice.uid);
	tenants_free(tenants);
	conf_unref(conf);
}

static void
a_number_that_is_an_account_is_passed_over(void **state)
{
	struct place *place = *state;
	struct conf *conf = conf_of("[host]\nuid_range = 65534-65536\n");
	struct tenants *tenants;
	struct tenants_id id;

	NEED_ROOT();
	assert_non_null(getpwuid(65534));
	assert_null(getpwuid(65535));
	tenants = open_tenants(place, conf);
	assert_int_equal(tenants_take(tenants, conf, "alice", &id), 0);
	assert_int_equal(id.uid, 65535);
	tenants_free(tenants);
	conf_unref(conf);
}

static void
a_used_up_range_refuses_and_the_host_own_number_is_nobody_else(void **state)
{
	struct place *place = *state;
	/* 12345 is the reserved one. */
	struct conf *conf = conf_of("[host]\nuid_range = 12344-12346\n");
	struct tenants *tenants;
	struct tenants_id id;

	NEED_ROOT();
	tenants = open_tenants(place, conf);
	assert_int_equal(tenants_take(tenants, conf, "a", &id), 0);
	assert_int_equal(id.uid, 12344);
	assert_int_equal(tenants_take(tenants, conf, "b", &id), 0);
	assert_int_equal(id.uid, 12346);
	assert_int_equal(tenants_take(tenants, conf, "c", &id), -ENOSPC);
	assert_int_equal(tenants_find(tenants, conf, "c", &id), -ENOENT);
	tenants_free(tenants);
	conf_unref(conf);
}

static void
a_number_outside_of_a_narrowed_range_is_not_used(void **state)
{
	struct place *place = *state;
	struct conf *conf = conf_of("[host]\nuid_range = 700005-700009\n");
	struct tenants *tenants;
	struct tenants_id id;

	NEED_ROOT();
	put_file(place, "# words\nalice 700001\nbob 700006\n", 0644);
	tenants = open_tenants(place, conf);
	assert_int_equal(tenants_take(tenants, conf, "alice", &id), -ERANGE);
	assert_int_equal(tenants_take(tenants, conf, "bob", &id), 0);
	assert_int_equal(id.uid, 700006);
	tenants_free(tenants);
	conf_unref(conf);
}

static void
an_account_of_the_administrator_is_used(void **state)
{
	struct place *place = *state;
	struct conf *conf = conf_of("[tenant alice]\nuser = nobody\n");
	struct tenants *tenants;
	struct tenants_id id;

	NEED_ROOT();
	/* A number from before is not what counts. */
	put_file(place, "alice 700001\n", 0644);
	tenants = open_tenants(place, conf);
	assert_int_equal(tenants_take(tenants, conf, "alice", &id), 0);
	assert_int_equal(id.uid, getpwnam("nobody")->pw_uid);
	assert_int_equal(id.gid, getpwnam("nobody")->pw_gid);
	tenants_free(tenants);
	conf_unref(conf);
}

static void
other_ids_behind_an_account_are_counted(void **state)
{
	struct place *place = *state;
	struct conf *nobody = conf_of("[tenant alice]\nuser = nobody\n"
	    "[tenant bob]\nuser = nobody\n");
	struct conf *daemon = conf_of("[tenant alice]\nuser = daemon\n"
	    "[tenant bob]\nuser = nobody\n");
	struct conf *none = conf_of("");
	struct tenants *tenants = open_tenants(place, nobody);
	struct conf *all[] = { nobody, daemon, daemon, nobody, none };
	static const uint16_t wanted[] = { 0, 1, 1, 2, 0 };
	size_t i;

	for (i = 0; i < 5; i++) {
		assert_int_equal(tenants_set_accounts(tenants, all[i], 12345,
		    place->problem, sizeof(place->problem)), 0);
		assert_int_equal(tenants_ids_changed(tenants, "alice"),
		    wanted[i]);
		assert_int_equal(tenants_ids_changed(tenants, "bob"), 0);
		assert_int_equal(tenants_ids_changed(tenants, "carol"), 0);
	}
	tenants_free(tenants);
	conf_unref(nobody);
	conf_unref(daemon);
	conf_unref(none);
}

static void
a_range_must_have_the_numbers_of_those_without_an_account(void **state)
{
	struct place *place = *state;
	struct conf *wide = conf_of("[host]\nuid_range = 700000-700999\n");
	struct conf *narrow = conf_of("[host]\nuid_range = 700500-700999\n");
	struct conf *named = conf_of("[host]\nuid_range = 700500-700999\n"
	    "[tenant alice]\nuser = nobody\n");
	struct tenants *tenants;
	struct tenants_id id;
	char problem[1024];

	NEED_ROOT();
	tenants = open_tenants(place, wide);
	assert_int_equal(tenants_check_range(tenants, narrow, problem,
	    sizeof(problem)), 0);
	assert_int_equal(tenants_take(tenants, wide, "alice", &id), 0);
	assert_int_equal(id.uid, 700000);
	assert_int_equal(tenants_check_range(tenants, wide, problem,
	    sizeof(problem)), 0);
	assert_int_equal(tenants_check_range(tenants, named, problem,
	    sizeof(problem)), 0);
	assert_int_equal(tenants_check_range(tenants, narrow, problem,
	    sizeof(problem)), -ERANGE);
	assert_non_null(strstr(problem, "uid_range has not the number 700000 "
	    "that the tenant alice has for good, by /var/lib/fcgi-host/"
	    "tenants; "));
	tenants_free(tenants);
	conf_unref(wide);
	conf_unref(narrow);
	conf_unref(named);
}

static void
the_hosts_own_and_unknown_accounts_are_refused_in_words(void **state)
{
	static const char *const texts[] = {
		"[tenant alice]\nuser = daemon\n", /* the reserved one below */
		"[tenant alice]\nuser = no-such-account\n",
	};
	struct place *place = *state;
	struct conf *good = conf_of("[tenant alice]\nuser = nobody\n");
	struct tenants *tenants;
	struct tenants_id id;
	size_t i;

	NEED_ROOT();
	tenants = open_tenants(place, good);
	for (i = 0; i < 2; i++) {
		struct conf *bad = conf_of(texts[i]);

		place->problem[0] = '\0';
		assert_int_equal(tenants_set_accounts(tenants, bad,
		    getpwnam("daemon")->pw_uid, place->problem,
		    sizeof(place->problem)), -EINVAL);
		assert_non_null(strstr(place->problem, "[tenant alice]"));
		conf_unref(bad);
	}
	/* What stood before still stands. */
	assert_int_equal(tenants_find(tenants, good, "alice", &id), 0);
	assert_int_equal(id.uid, getpwnam("nobody")->pw_uid);
	tenants_free(tenants);
	conf_unref(good);
}

static void
a_damaged_file_is_no_basis_for_a_start(void **state)
{
	static const char *const texts[] = {
		"alice\n", "alice x\n", "alice 12 \n", "alice -5\n",
		"alice 70 71\n", "alice 0\n", "alice 4294967295\n",
		"alice 99999999999999999999\n", "Alice 700001\n",
		"../x 700001\n", "alice 700001", "alice 700001\nbob 7000",
		"alice 700001\nalice 700002\n", "alice 700001\nbob 700001\n",
		"alice 700001\n\nbob 700002\n", " alice 700001\n",
	};
	struct place *place = *state;
	size_t i;

	NEED_ROOT();
	for (i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
		put_file(place, texts[i], 0644);
		place->problem[0] = '\0';
		if (tenants_new(place->fd, place->problem,
		    sizeof(place->problem)) != NULL)
			fail_msg("accepted: %s", texts[i]);
		assert_non_null(strstr(place->problem, "tenants"));
	}
}

static void
a_file_with_a_nul_byte_is_refused(void **state)
{
	struct place *place = *state;
	int fd;

	NEED_ROOT();
	fd = openat(place->fd, "tenants", O_WRONLY | O_CREAT | O_TRUNC, 0644);
	assert_int_equal(write(fd, "alice 700001\n\0bob 700002\n", 25), 25);
	close(fd);
	assert_null(tenants_new(place->fd, place->problem,
	    sizeof(place->problem)));
}

static void
a_file_that_others_could_write_is_refused(void **state)
{
	struct place *place = *state;
	char path[128];

	NEED_ROOT();
	put_file(place, "alice 700001\n", 0666);
	assert_null(tenants_new(place->fd, place->problem,
	    sizeof(place->problem)));
	put_file(place, "alice 700001\n", 0644);
	snprintf(path, sizeof(path), "%s/tenants", place->path);
	assert_int_equal(chown(path, 65534, 0), 0);
	assert_null(tenants_new(place->fd, place->problem,
	    sizeof(place->problem)));
	assert_int_equal(unlink(path), 0);
	assert_int_equal(symlink("/etc/passwd", path), 0);
	assert_null(tenants_new(place->fd, place->problem,
	    sizeof(place->problem)));
}

static void
a_planted_link_is_not_written_through(void **state)
{
	struct place *place = *state;
	struct conf *conf = conf_of("[host]\nuid_range = 700000-700009\n");
	struct tenants *tenants;
	struct tenants_id id;
	struct stat st;
	char path[128], victim[128];

	NEED_ROOT();
	snprintf(victim, sizeof(victim), "%s/victim", place->path);
	snprintf(path, sizeof(path), "%s/tenants.new", place->path);
	assert_int_equal(symlink(victim, path), 0);
	tenants = open_tenants(place, conf);
	assert_int_equal(tenants_take(tenants, conf, "alice", &id), 0);
	assert_int_equal(stat(victim, &st), -1);
	assert_int_equal(lstat(path, &st), -1);
	assert_int_equal(fstatat(place->fd, "tenants", &st,
	    AT_SYMLINK_NOFOLLOW), 0);
	assert_true(S_ISREG(st.st_mode));
	assert_int_equal(st.st_mode & 0777, 0644);
	tenants_free(tenants);
	conf_unref(conf);
}

static void
a_number_that_cannot_be_written_down_is_not_given(void **state)
{
	struct place *place = *state;
	struct conf *conf = conf_of("[host]\nuid_range = 700000-700009\n");
	struct tenants *tenants;
	struct tenants_id id;
	char path[128];

	NEED_ROOT();
	tenants = open_tenants(place, conf);
	/* A directory cannot be replaced by a file. */
	snprintf(path, sizeof(path), "%s/tenants", place->path);
	assert_int_equal(mkdir(path, 0755), 0);
	assert_true(tenants_take(tenants, conf, "alice", &id) < 0);
	assert_int_equal(tenants_find(tenants, conf, "alice", &id), -ENOENT);
	assert_int_equal(rmdir(path), 0);
	assert_int_equal(tenants_take(tenants, conf, "alice", &id), 0);
	tenants_free(tenants);
	conf_unref(conf);
}

static void
data_belongs_to_its_tenant_alone(void **state)
{
	struct place *place = *state;
	const struct tenants_id alice = { 700001, 700001 };
	const struct tenants_id other = { 700002, 700002 };
	struct stat st;
	int fd;

	NEED_ROOT();
	fd = tenants_data_open(place->fd, "alice", &alice);
	assert_true(fd >= 0);
	assert_int_equal(fstat(fd, &st), 0);
	assert_int_equal(st.st_uid, 700001);
	assert_int_equal(st.st_gid, 700001);
	assert_int_equal(st.st_mode & 07777, 0700);
	close(fd);
	fd = tenants_data_open(place->fd, "alice", &alice);
	assert_true(fd >= 0);
	close(fd);
	assert_int_equal(tenants_data_open(place->fd, "alice", &other), -EPERM);
}

static void
data_is_no_link_and_no_file(void **state)
{
	struct place *place = *state;
	const struct tenants_id alice = { 700001, 700001 };

	NEED_ROOT();
	assert_int_equal(symlinkat("/tmp", place->fd, "alice"), 0);
	assert_int_equal(tenants_data_open(place->fd, "alice", &alice),
	    -ENOTDIR);
	close(openat(place->fd, "bob", O_WRONLY | O_CREAT, 0600));
	assert_int_equal(tenants_data_open(place->fd, "bob", &alice), -ENOTDIR);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int
main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(a_tenant_keeps_its_number_over_restarts),
		TEST(a_number_that_is_an_account_is_passed_over),
		TEST(a_used_up_range_refuses_and_the_host_own_number_is_nobody_else),
		TEST(a_number_outside_of_a_narrowed_range_is_not_used),
		TEST(an_account_of_the_administrator_is_used),
		TEST(other_ids_behind_an_account_are_counted),
		TEST(a_range_must_have_the_numbers_of_those_without_an_account),
		TEST(the_hosts_own_and_unknown_accounts_are_refused_in_words),
		TEST(a_damaged_file_is_no_basis_for_a_start),
		TEST(a_file_with_a_nul_byte_is_refused),
		TEST(a_file_that_others_could_write_is_refused),
		TEST(a_planted_link_is_not_written_through),
		TEST(a_number_that_cannot_be_written_down_is_not_given),
		TEST(data_belongs_to_its_tenant_alone),
		TEST(data_is_no_link_and_no_file),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
