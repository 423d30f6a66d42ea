#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "fcgi-host/catalog.h"

static struct ctl_function
named(const char *name, const char *version)
{
	struct ctl_function info;

	memset(&info, 0, sizeof(info));
	(void)snprintf(info.name, sizeof(info.name), "%s", name);
	(void)snprintf(info.version, sizeof(info.version), "%s", version);
	return info;
}

static void
put(struct catalog *catalog, const char *name, const char *version)
{
	struct ctl_function info = named(name, version);

	assert_int_equal(catalog_put(catalog, &info, NULL, 0), 0);
}

static void
what_was_put_is_found_until_it_is_deleted(void **state)
{
	struct catalog *catalog = catalog_new();

	(void)state;
	assert_null(catalog_find(catalog, "a"));
	assert_int_equal(catalog_del(catalog, "a"), -ENOENT);
	put(catalog, "b", "1");
	put(catalog, "a", "1");
	put(catalog, "c", "1");
	assert_int_equal(catalog_count(catalog), 3);
	assert_string_equal(catalog_find(catalog, "a")->info.name, "a");
	assert_string_equal(catalog_find(catalog, "c")->info.name, "c");
	assert_int_equal(catalog_del(catalog, "b"), 0);
	assert_null(catalog_find(catalog, "b"));
	assert_int_equal(catalog_del(catalog, "b"), -ENOENT);
	assert_int_equal(catalog_count(catalog), 2);
	assert_non_null(catalog_find(catalog, "a"));
	assert_non_null(catalog_find(catalog, "c"));
	catalog_free(catalog);
}

static void
a_new_version_is_a_new_function_and_who_holds_the_old_keeps_it(void **state)
{
	struct catalog *catalog = catalog_new();
	struct function *old;

	(void)state;
	put(catalog, "a", "1");
	old = function_ref(catalog_find(catalog, "a"));
	put(catalog, "a", "2");
	assert_int_equal(catalog_count(catalog), 1);
	assert_ptr_not_equal(catalog_find(catalog, "a"), old);
	assert_string_equal(old->info.version, "1");
	assert_string_equal(catalog_find(catalog, "a")->info.version, "2");
	catalog_free(catalog);
	assert_string_equal(old->info.version, "1");
	assert_int_equal(old->refs, 1);
	function_unref(old);
}

static void
the_same_report_again_changes_nothing_and_any_other_does(void **state)
{
	struct catalog *catalog = catalog_new();
	struct ctl_function info = named("a", "1");
	struct function *old;

	(void)state;
	assert_int_equal(catalog_put(catalog, &info, "A=1", 4), 0);
	old = catalog_find(catalog, "a");
	assert_int_equal(catalog_put(catalog, &info, "A=1", 4), 1);
	assert_ptr_equal(catalog_find(catalog, "a"), old);
	assert_int_equal(catalog_put(catalog, &info, "A=2", 4), 0);
	assert_memory_equal(buf_head(&catalog_find(catalog, "a")->env), "A=2",
	    4);
	assert_int_equal(catalog_put(catalog, &info, NULL, 0), 0);
	info.limits.value[LIMIT_QUEUE] = 1;
	assert_int_equal(catalog_put(catalog, &info, NULL, 0), 0);
	info.problem = CTL_PROBLEM_MODE;
	assert_int_equal(catalog_put(catalog, &info, NULL, 0), 0);
	(void)snprintf(info.detail, sizeof(info.detail), "mode 0777");
	assert_int_equal(catalog_put(catalog, &info, NULL, 0), 0);
	info.is_fastcgi = 1;
	assert_int_equal(catalog_put(catalog, &info, NULL, 0), 0);
	assert_int_equal(catalog_put(catalog, &info, NULL, 0), 1);
	catalog_free(catalog);
}

static void
served_by_another_runtime_it_is_the_same_report_still(void **state)
{
	struct catalog *catalog = catalog_new();
	struct ctl_function info = named("a", "1");
	struct function *old, *now;

	(void)state;
	strcpy(info.runtime, "first");
	info.is_fastcgi = 1;
	assert_int_equal(catalog_put(catalog, &info, "A=1", 4), 0);
	old = function_ref(catalog_find(catalog, "a"));
	assert_int_equal(function_set_check(old, CTL_CHECK_OTHERWISE, "x"), 0);
	assert_int_equal(catalog_serve_by(catalog, old, "second", false), 0);
	now = catalog_find(catalog, "a");
	assert_ptr_not_equal(now, old);
	assert_string_equal(now->info.runtime, "second");
	assert_int_equal(now->info.is_fastcgi, 0);
	assert_int_equal(now->info.is_otherwise, 1);
	assert_int_equal(now->check, CTL_CHECK_OTHERWISE);
	assert_string_equal(now->check_text, "x");
	assert_memory_equal(buf_head(&now->env), "A=1", 4);
	/* who holds the old one keeps it, and it is nobody's to change */
	assert_string_equal(old->info.runtime, "first");
	assert_int_equal(catalog_serve_by(catalog, old, "third", false),
	    -ENOENT);
	function_unref(old);
	assert_int_equal(catalog_put(catalog, &info, "A=1", 4), 1);
	assert_ptr_equal(catalog_find(catalog, "a"), now);
	assert_int_equal(catalog_serve_by(catalog, now, NULL, false), 0);
	now = catalog_find(catalog, "a");
	assert_string_equal(now->info.runtime, "first");
	assert_int_equal(now->info.is_fastcgi, 1);
	assert_int_equal(now->info.is_otherwise, 0);
	info.is_chosen = 1;
	assert_int_equal(catalog_put(catalog, &info, "A=1", 4), 0);
	assert_int_equal(catalog_find(catalog, "a")->check, CTL_CHECK_NONE);
	catalog_free(catalog);
}

static void
a_full_catalogue_refuses_the_new_but_still_replaces(void **state)
{
	struct catalog *catalog = catalog_new();
	struct ctl_function info;
	char name[16];
	int i;

	(void)state;
	for (i = 0; i < CATALOG_MAX; i++) {
		/* 7919 and the count have no common divisor: every number
		 * once, in no order. */
		(void)snprintf(name, sizeof(name), "f%d",
		    (int)((long)i * 7919 % CATALOG_MAX));
		put(catalog, name, "1");
	}
	assert_int_equal(catalog_count(catalog), CATALOG_MAX);
	info = named("one-more", "1");
	assert_int_equal(catalog_put(catalog, &info, NULL, 0), -ENOSPC);
	put(catalog, "f17", "2");
	assert_string_equal(catalog_find(catalog, "f17")->info.version, "2");
	for (i = 0; i < CATALOG_MAX; i++) {
		(void)snprintf(name, sizeof(name), "f%d", i);
		assert_string_equal(catalog_find(catalog, name)->info.name,
		    name);
		assert_int_equal(catalog_del(catalog, name), 0);
	}
	assert_int_equal(catalog_count(catalog), 0);
	catalog_free(catalog);
	catalog_free(NULL);
	function_unref(NULL);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(what_was_put_is_found_until_it_is_deleted),
		cmocka_unit_test(
		    a_new_version_is_a_new_function_and_who_holds_the_old_keeps_it),
		cmocka_unit_test(
		    the_same_report_again_changes_nothing_and_any_other_does),
		cmocka_unit_test(
		    served_by_another_runtime_it_is_the_same_report_still),
		cmocka_unit_test(
		    a_full_catalogue_refuses_the_new_but_still_replaces),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
