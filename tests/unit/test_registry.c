#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "fcgi-host/registry.h"
#include "fcgi-host/sock.h"
#include "tests/unit/conf_text.h"

#define CONF \
	"[defaults]\nmemory = 64M\ninstances = 2\n" \
	"[runtime python]\nextensions = py\nprotocol = cgi\n" \
	"command = /usr/bin/python3\n" \
	"[runtime php]\nextensions = php\nprotocol = fastcgi\n" \
	"command = /usr/bin/php-cgi\n" \
	"[tenant alice]\nmemory = 32M\n"

static struct conf *conf;
static struct registry *registry;

static int
set_up(void **state)
{
	(void)state;
	conf = conf_of(CONF);
	registry = registry_new(2);
	return registry == NULL;
}

static int
tear_down(void **state)
{
	(void)state;
	registry_free(registry);
	conf_unref(conf);
	return 0;
}

/* An honest report of a function NAME with the file PATH. */
static struct ctl_msg
report(const char *name, const char *path, const char *tenant)
{
	struct ctl_msg msg;
	struct ctl_function *f = &msg.u.function;

	ctl_msg_init(&msg, CTL_FN_PUT);
	snprintf(f->name, sizeof(f->name), "%s", name);
	snprintf(f->path, sizeof(f->path), "%s", path);
	snprintf(f->tenant, sizeof(f->tenant), "%s", tenant);
	memset(f->version, 'a', CTL_VERSION_LENGTH);
	conf_limits(conf, tenant, name, NULL, &f->limits, (char[8]){ 0 }, 8);
	assert_int_equal(ctl_msg_check(&msg, msg.size, 0,
	    CTL_WAY_SCANNER_TO_SPAWNER), 0);
	return msg;
}

static int
put(const struct ctl_msg *msg, int *fd)
{
	struct parcel *out;
	int none = -1;

	return registry_put(registry, conf, msg, fd != NULL ? fd : &none, &out);
}

static void
an_honest_report_is_kept_as_it_came(void **state)
{
	struct ctl_msg msg = report("alice/hello", "alice/hello.cgi", "alice");
	const struct ctl_function *kept;

	(void)state;
	assert_int_equal(put(&msg, NULL), 0);
	kept = registry_find(registry, "alice/hello");
	assert_non_null(kept);
	assert_memory_equal(kept, &msg.u.function, sizeof(*kept));
	assert_null(registry_find(registry, "alice/hell"));
	assert_null(registry_find(registry, "alice/hello2"));
	assert_int_equal(registry_del(registry, "alice/hello"), 0);
	assert_int_equal(registry_del(registry, "alice/hello"), -ENOENT);
	assert_int_equal(registry_count(registry), 0);
}

static void
a_tenant_that_is_not_the_first_folder_is_a_lie(void **state)
{
	static const char *const lies[][3] = {
		{ "alice/hello", "alice/hello.cgi", "bob" },
		{ "alice/hello", "alice/hello.cgi", "alic" },
		{ "alice/hello", "alice/hello.cgi", "alice2" },
		{ "alice/hello", "alice/hello.cgi", "default" },
		{ "hello", "hello.cgi", "alice" },
		{ "hello", "hello.cgi", "hello" },
		{ "default/hello", "default/hello.cgi", "default" },
	};
	size_t i;

	(void)state;
	for (i = 0; i < sizeof(lies) / sizeof(lies[0]); i++) {
		struct ctl_msg msg = report(lies[i][0], lies[i][1],
		    lies[i][2]);

		assert_int_equal(put(&msg, NULL), -EPROTO);
		msg.u.function.problem = CTL_PROBLEM_WRITING;
		assert_int_equal(put(&msg, NULL), -EPROTO);
		assert_null(registry_find(registry, lies[i][0]));
	}
	/* With a problem it is not served, and any folder may be named. */
	{
		struct ctl_msg msg = report("default/hello",
		    "default/hello.cgi", "default");

		msg.u.function.problem = CTL_PROBLEM_TENANT;
		assert_int_equal(put(&msg, NULL), 0);
	}
}

/* 0 bytes of memory would be no limit at all to those that set one. */
static void
no_number_of_a_report_is_less_than_a_file_may_say(void **state)
{
	struct ctl_msg msg = report("alice/hello", "alice/hello.cgi", "alice");
	struct limits ceiling;
	const struct limits *kept;

	(void)state;
	memset(&msg.u.function.limits, 0, sizeof(msg.u.function.limits));
	assert_int_equal(put(&msg, NULL), 0);
	kept = &registry_find(registry, "alice/hello")->limits;
	conf_ceiling(conf, "alice", "alice/hello", &ceiling);
	assert_int_equal(kept->value[LIMIT_MEMORY_BYTES], 4 << 20);
	assert_int_equal(kept->value[LIMIT_PROCESSES], 2);
	assert_int_equal(kept->value[LIMIT_TMP_BYTES], 64 << 10);
	assert_int_equal(kept->value[LIMIT_INSTANCES], 1);
	/* none is more than the administrator's 30 s */
	assert_int_equal(kept->value[LIMIT_TIMEOUT_MS],
	    ceiling.value[LIMIT_TIMEOUT_MS]);
	assert_int_equal(registry_del(registry, "alice/hello"), 0);
}

/* No file but the administrator's speaks of them, so that none of his is none. */
static void
a_tenants_numbers_are_never_a_reports(void **state)
{
	struct ctl_msg msg = report("alice/hello", "alice/hello.cgi", "alice");
	struct limits *claimed = &msg.u.function.limits, ceiling;
	const struct limits *kept;

	(void)state;
	conf_ceiling(conf, "alice", "alice/hello", &ceiling);
	claimed->value[LIMIT_MAX_INSTANCES] = 8000;
	claimed->value[LIMIT_MAX_MEMORY_BYTES] = UINT64_MAX;
	claimed->value[LIMIT_MAX_PROCESSES] = 4194304;
	assert_int_equal(put(&msg, NULL), 0);
	kept = &registry_find(registry, "alice/hello")->limits;
	assert_int_equal(kept->value[LIMIT_MAX_INSTANCES],
	    ceiling.value[LIMIT_MAX_INSTANCES]);
	assert_int_equal(kept->value[LIMIT_MAX_MEMORY_BYTES], 0);
	assert_int_equal(kept->value[LIMIT_MAX_PROCESSES], 0);
	assert_int_equal(registry_del(registry, "alice/hello"), 0);
}

static void
limits_are_clamped_whatever_is_claimed(void **state)
{
	struct ctl_msg msg = report("alice/hello", "alice/hello.cgi", "alice");
	struct limits *claimed = &msg.u.function.limits, ceiling;
	const struct ctl_function *kept;
	int i;

	(void)state;
	for (i = 0; i < LIMIT_COUNT; i++)
		claimed->value[i] = i == LIMIT_DATA || i == LIMIT_FREEZE_IDLE ||
		    i == LIMIT_SPARE ? 1 : UINT64_MAX;
	assert_int_equal(put(&msg, NULL), 0);
	kept = registry_find(registry, "alice/hello");
	conf_ceiling(conf, "alice", "alice/hello", &ceiling);
	assert_int_equal(ceiling.value[LIMIT_MEMORY_BYTES], 32 << 20);
	for (i = 0; i < LIMIT_COUNT; i++)
		if (ceiling.value[i] != 0)
			assert_true(kept->limits.value[i] <= ceiling.value[i]);
	assert_int_equal(kept->limits.value[LIMIT_MEMORY_BYTES], 32 << 20);
	assert_int_equal(kept->limits.value[LIMIT_INSTANCES], 2);
}

static void
the_protocol_is_the_configurations(void **state)
{
	static const struct {
		const char *name, *path, *runtime;
		uint8_t is_fastcgi;
	} functions[] = {
		{ "a", "a.cgi", "", 0 },
		{ "b", "b.fcgi", "", 1 },
		{ "c", "c", "", 0 },
		{ "d", "d.py", "python", 0 },
		{ "e", "e.php", "php", 1 },
	};
	size_t i;

	(void)state;
	for (i = 0; i < sizeof(functions) / sizeof(functions[0]); i++) {
		struct ctl_msg msg = report(functions[i].name,
		    functions[i].path, "default");
		const struct ctl_function *kept;

		strcpy(msg.u.function.runtime, functions[i].runtime);
		msg.u.function.is_fastcgi = !functions[i].is_fastcgi;
		assert_int_equal(put(&msg, NULL), 0);
		kept = registry_find(registry, functions[i].name);
		assert_int_equal(kept->problem, CTL_PROBLEM_NONE);
		assert_int_equal(kept->is_fastcgi, functions[i].is_fastcgi);
	}
}

static void
an_unknown_runtime_is_not_served(void **state)
{
	struct ctl_msg msg = report("a", "a.rb", "default");

	(void)state;
	strcpy(msg.u.function.runtime, "ruby");
	assert_int_equal(put(&msg, NULL), 0);
	assert_int_equal(registry_find(registry, "a")->problem,
	    CTL_PROBLEM_TYPE);
}

static void
an_environment_must_be_sealed(void **state)
{
	struct ctl_msg msg = report("a", "a.cgi", "default");
	int fd = memfd_create("x", MFD_CLOEXEC | MFD_ALLOW_SEALING);

	(void)state;
	msg.u.function.has_env = 1;
	assert_true(fd >= 0);
	assert_int_equal(put(&msg, &fd), -EPROTO);
	assert_int_equal(fd, -1);
	fd = open("/dev/zero", O_RDONLY | O_CLOEXEC);
	assert_int_equal(put(&msg, &fd), -EPROTO);
	fd = sock_sealed("x", "A=1", 4);
	assert_int_equal(put(&msg, &fd), 0);
	assert_int_equal(fd, -1);
	assert_int_equal(registry_at(registry, 0)->fd_count, 1);
}

static void
descriptors_are_bounded_and_given_back(void **state)
{
	char name[16], path[32];
	int i, fd, before = dup(0), after;

	(void)state;
	close(before);
	for (i = 0; i < 3; i++) {
		struct ctl_msg msg;

		snprintf(name, sizeof(name), "f%d", i);
		snprintf(path, sizeof(path), "f%d.cgi", i);
		msg = report(name, path, "default");
		msg.u.function.has_env = 1;
		fd = sock_sealed("x", "A=1", 4);
		assert_int_equal(put(&msg, &fd), 0);
	}
	assert_int_equal(registry_find(registry, "f1")->problem, 0);
	assert_int_equal(registry_find(registry, "f2")->problem,
	    CTL_PROBLEM_MANY);
	assert_int_equal(registry_find(registry, "f2")->has_env, 0);
	/* One that goes makes room for one. */
	assert_int_equal(registry_del(registry, "f0"), 0);
	{
		struct ctl_msg msg = report("f2", "f2.cgi", "default");

		msg.u.function.has_env = 1;
		fd = sock_sealed("x", "A=1", 4);
		assert_int_equal(put(&msg, &fd), 0);
		assert_int_equal(registry_find(registry, "f2")->problem, 0);
		/* Replaced by one without. */
		msg.u.function.has_env = 0;
		assert_int_equal(put(&msg, NULL), 0);
	}
	assert_int_equal(registry_del(registry, "f1"), 0);
	assert_int_equal(registry_del(registry, "f2"), 0);
	after = dup(0);
	close(after);
	assert_int_equal(after, before);
}

static void
collect(void *arg, const char *name)
{
	strcat(strcat(arg, name), " ");
}

static void
too_many_functions_are_dropped_not_kept(void **state)
{
	char name[16], path[24];
	int i;

	(void)state;
	for (i = 0; i <= REGISTRY_MAX; i++) {
		struct ctl_msg msg;

		snprintf(name, sizeof(name), "f%d", (i * 7919) % 99991);
		snprintf(path, sizeof(path), "%s.cgi", name);
		msg = report(name, path, "default");
		assert_int_equal(put(&msg, NULL), i < REGISTRY_MAX ? 0 :
		    -ENOSPC);
	}
	assert_int_equal(registry_count(registry), REGISTRY_MAX);
	{
		struct ctl_msg msg = report("new", "new.cgi", "default");
		char gone[64] = "";

		registry_make_room(registry, &msg, collect, gone);
		assert_string_equal(gone, "");
		registry_begin(registry);
		registry_make_room(registry, &msg, collect, gone);
		assert_string_equal(gone, "f99985 ");
		assert_int_equal(put(&msg, NULL), 0);
	}
	assert_int_equal(registry_count(registry), REGISTRY_MAX);
	for (i = 1; i < REGISTRY_MAX; i++)
		assert_true(strcmp(
		    registry_at(registry, (size_t)i - 1)->msg.u.function.name,
		    registry_at(registry, (size_t)i)->msg.u.function.name) < 0);
}

static void
put_with_env(const char *name, enum ctl_problem problem)
{
	char path[64];
	struct ctl_msg msg;
	int fd = sock_sealed("x", "A=1", 4);

	snprintf(path, sizeof(path), "%s.cgi", name);
	msg = report(name, path, "default");
	msg.u.function.has_env = 1;
	assert_int_equal(put(&msg, &fd), 0);
	assert_int_equal(registry_find(registry, name)->problem, problem);
}

static void
an_environment_in_the_place_of_another_needs_no_room(void **state)
{
	(void)state;
	put_with_env("a", CTL_PROBLEM_NONE);
	put_with_env("b", CTL_PROBLEM_NONE);
	put_with_env("a", CTL_PROBLEM_NONE);
	put_with_env("c", CTL_PROBLEM_MANY);
}

static void
what_an_old_scanner_said_gives_way_to_a_new_ones_report(void **state)
{
	struct ctl_msg msg = report("c", "c.cgi", "default");
	char gone[64] = "";

	(void)state;
	put_with_env("a", CTL_PROBLEM_NONE);
	put_with_env("b", CTL_PROBLEM_NONE);
	registry_begin(registry);
	/* needs no descriptor */
	registry_make_room(registry, &msg, collect, gone);
	assert_string_equal(gone, "");
	msg.u.function.has_env = 1;
	registry_make_room(registry, &msg, collect, gone);
	assert_string_equal(gone, "b ");
	put_with_env("c", CTL_PROBLEM_NONE);
	/* stands there already */
	msg = report("a", "a.cgi", "default");
	msg.u.function.has_env = 1;
	registry_make_room(registry, &msg, collect, gone);
	assert_string_equal(gone, "b ");
	put_with_env("a", CTL_PROBLEM_NONE);
	/* what this one has said does not give way to it */
	msg = report("d", "d.cgi", "default");
	msg.u.function.has_env = 1;
	registry_make_room(registry, &msg, collect, gone);
	assert_string_equal(gone, "b ");
	put_with_env("d", CTL_PROBLEM_MANY);
}

static void
what_a_new_scanner_does_not_report_is_swept_away(void **state)
{
	static const char *const names[] = { "a", "b", "c", "d" };
	char swept[64] = "";
	struct ctl_msg msg;
	size_t i;

	(void)state;
	for (i = 0; i < 4; i++) {
		char path[8];

		snprintf(path, sizeof(path), "%s.cgi", names[i]);
		msg = report(names[i], path, "default");
		assert_int_equal(put(&msg, NULL), 0);
	}
	registry_begin(registry);
	msg = report("b", "b.cgi", "default");
	assert_int_equal(put(&msg, NULL), 0);
	msg = report("e", "e.cgi", "default");
	assert_int_equal(put(&msg, NULL), 0);
	registry_sweep(registry, collect, swept);
	assert_string_equal(swept, "d c a ");
	assert_int_equal(registry_count(registry), 2);
	assert_non_null(registry_find(registry, "b"));
	assert_non_null(registry_find(registry, "e"));
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int
main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(an_honest_report_is_kept_as_it_came),
		TEST(a_tenant_that_is_not_the_first_folder_is_a_lie),
		TEST(no_number_of_a_report_is_less_than_a_file_may_say),
		TEST(a_tenants_numbers_are_never_a_reports),
		TEST(limits_are_clamped_whatever_is_claimed),
		TEST(the_protocol_is_the_configurations),
		TEST(an_unknown_runtime_is_not_served),
		TEST(an_environment_must_be_sealed),
		TEST(descriptors_are_bounded_and_given_back),
		TEST(too_many_functions_are_dropped_not_kept),
		TEST(an_environment_in_the_place_of_another_needs_no_room),
		TEST(what_an_old_scanner_said_gives_way_to_a_new_ones_report),
		TEST(what_a_new_scanner_does_not_report_is_swept_away),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
