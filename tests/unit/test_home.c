/* What a function keeps for its next instances: one a function, and not for
 * ever. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "fcgi-host/home.h"

static const struct cgroup_parent no_cgroup = { .fd = -1 };
static char gone[64]; /* the last branch that was not needed any more */

static void
unneeded(void *arg, const char *branch)
{
	const struct cgroup_parent *parent = arg;

	snprintf(gone, sizeof(gone), "%s", branch);
	assert_int_equal(cgroup_leaf_remove(parent, branch), 0);
}

static ino_t
inode_of(int fd)
{
	struct stat st;

	assert_int_equal(fstat(fd, &st), 0);
	return st.st_ino;
}

static ino_t
own(void)
{
	struct stat st;

	assert_int_equal(stat("/proc/self/ns/net", &st), 0);
	return st.st_ino;
}

/* How many are held open: one for each that is kept. */
static size_t
namespaces(void)
{
	char path[64], to[64];
	size_t count = 0;

	for (int fd = 0; fd < 1024; fd++) {
		ssize_t n;

		snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
		n = readlink(path, to, sizeof(to));
		if (n > 5 && memcmp(to, "net:[", 5) == 0)
			count++;
	}
	return count;
}

static int
set_up(void **state)
{
	*state = homes_new(&no_cgroup, unneeded, NULL);
	return *state == NULL;
}

static int
tear_down(void **state)
{
	homes_free(*state);
	return 0;
}

static struct home *
take(struct homes *homes, const char *function)
{
	const struct cgroup_limits ceilings = { 512 << 20, 100, 500 };
	char tenant[16];
	const struct home_of of = { .tenant = tenant, .function = function,
		.ceilings = &ceilings, .network = SANDBOX_NETWORK_NONE };
	struct home *home = NULL;

	snprintf(tenant, sizeof(tenant), "%.*s",
	    (int)strcspn(function, "/"), function);
	assert_int_equal(home_take(homes, &of, &home), 0);
	return home;
}

static void
instances_of_a_function_share_one_and_other_functions_have_theirs(void **state)
{
	ino_t before = own();
	struct home *a = take(*state, "alice/f"), *b = take(*state, "alice/f");
	struct home *c = take(*state, "alice/g"), *d = take(*state, "bob/f");

	assert_ptr_equal(a, b);
	assert_int_not_equal(inode_of(home_netns(a)), inode_of(home_netns(c)));
	assert_int_not_equal(inode_of(home_netns(a)), inode_of(home_netns(d)));
	assert_int_not_equal(inode_of(home_netns(c)), inode_of(home_netns(d)));
	/* whoever makes them stays in his own */
	assert_int_equal(own(), before);
	assert_int_not_equal(inode_of(home_netns(a)), before);
	home_drop(a);
	home_drop(b);
	home_drop(c);
	home_drop(d);
}

static void
a_network_that_was_changed_has_one_of_its_own(void **state)
{
	const struct cgroup_limits none = { 0, 0, 0 };
	const struct home_of of = { .tenant = "f", .function = "f",
		.ceilings = &none, .network = SANDBOX_NETWORK_LOOPBACK };
	struct home *with = NULL, *without = take(*state, "f"), *again = NULL;

	assert_int_equal(home_take(*state, &of, &with), 0);
	assert_ptr_not_equal(with, without);
	assert_int_not_equal(inode_of(home_netns(with)),
	    inode_of(home_netns(without)));
	assert_int_equal(home_take(*state, &of, &again), 0);
	assert_ptr_equal(with, again);
	home_drop(again);
	home_drop(with);
	home_drop(without);
	assert_int_equal(namespaces(), 2);
}

static void
with_a_way_out_it_has_no_namespace_of_its_own(void **state)
{
	const struct cgroup_limits none = { 0, 0, 0 };
	const struct home_of of = { .tenant = "f", .function = "f",
		.ceilings = &none, .network = SANDBOX_NETWORK_EGRESS };
	struct home *home = NULL;

	assert_int_equal(home_take(*state, &of, &home), 0);
	assert_int_equal(home_netns(home), 0);
	assert_int_equal(namespaces(), 0);
	home_drop(home);
}

static void
one_is_kept_for_the_next_instance(void **state)
{
	struct home *home = take(*state, "f");
	ino_t first = inode_of(home_netns(home));

	home_drop(home);
	assert_int_equal(namespaces(), 1);
	home = take(*state, "f");
	assert_int_equal(inode_of(home_netns(home)), first);
	home_drop(home);
}

static void
of_those_that_nobody_uses_the_oldest_go(void **state)
{
	struct home *used = take(*state, "used");
	ino_t first = inode_of(home_netns(used));
	char name[16];

	for (int i = 0; i < 3 * HOMES_UNUSED_MAX; i++) {
		snprintf(name, sizeof(name), "f%d", i);
		home_drop(take(*state, name));
	}
	assert_int_equal(namespaces(), HOMES_UNUSED_MAX + 1);
	assert_int_equal(inode_of(home_netns(used)), first);
	home_drop(used);
	assert_int_equal(namespaces(), HOMES_UNUSED_MAX);
	/* the last ones are there still */
	home_drop(take(*state, name));
	assert_int_equal(namespaces(), HOMES_UNUSED_MAX);
	home_drop(NULL);
}

static bool
is_there(const struct cgroup_parent *parent, const char *branch)
{
	return faccessat(parent->fd, branch, F_OK, 0) == 0;
}

static struct homes *
open_in(struct cgroup_parent *parent)
{
	char name[64];

	snprintf(name, sizeof(name), "home-test-%d", (int)getpid());
	if (cgroup_parent_open(parent, name) != 0) {
		fprintf(stderr, "NOT RUN: %s\n", parent->reason);
		skip();
	}
	gone[0] = '\0';
	return homes_new(parent, unneeded, parent);
}

static void
the_leaves_of_a_function_stand_in_a_branch_of_its_own(void **state)
{
	const struct cgroup_limits none = { 0, 0, 0 };
	struct cgroup_parent parent;
	struct homes *homes;
	struct home *a, *b;
	char name[64], first[64];

	(void)state;
	homes = open_in(&parent);
	a = take(homes, "x/a");
	b = take(homes, "x/b");
	assert_string_not_equal(home_branch(a), home_branch(b));
	assert_true(is_there(&parent, home_branch(a)));
	snprintf(name, sizeof(name), "%s/i1", home_branch(a));
	close(cgroup_leaf_make(&parent, name, &none));
	assert_true(is_there(&parent, name));
	assert_int_equal(cgroup_leaf_remove(&parent, home_branch(a)), -EBUSY);
	assert_int_equal(cgroup_leaf_remove(&parent, name), 0);
	/* kept, until others were used later */
	snprintf(first, sizeof(first), "%s", home_branch(a));
	home_drop(a);
	assert_true(is_there(&parent, first));
	for (int i = 0; i < HOMES_UNUSED_MAX; i++) {
		assert_string_equal(gone, "");
		snprintf(name, sizeof(name), "x/f%d", i);
		home_drop(take(homes, name));
	}
	assert_string_equal(gone, first);
	assert_false(is_there(&parent, first));
	home_drop(b);
	homes_free(homes);
	cgroup_parent_close(&parent);
}

/* "t1" of "t1/f1". */
static void
tenants_of(const struct home *home, char out[32])
{
	snprintf(out, 32, "%.*s", (int)strcspn(home_branch(home), "/"),
	    home_branch(home));
}

static void
the_branches_of_a_tenant_stand_in_one_that_goes_with_the_last(void **state)
{
	struct cgroup_parent parent;
	struct homes *homes;
	struct home *a, *b, *other;
	char alice[32], bob[32], same[32];

	(void)state;
	homes = open_in(&parent);
	a = take(homes, "alice/a");
	b = take(homes, "alice/b");
	other = take(homes, "bob/a");
	tenants_of(a, alice);
	tenants_of(b, same);
	tenants_of(other, bob);
	assert_string_equal(alice, same);
	assert_string_not_equal(alice, bob);
	home_drop(a);
	home_drop(b);
	for (int i = 0; i < HOMES_UNUSED_MAX; i++) {
		char name[64];

		assert_true(is_there(&parent, alice));
		snprintf(name, sizeof(name), "bob/f%d", i);
		home_drop(take(homes, name));
	}
	assert_string_equal(gone, alice);
	assert_false(is_there(&parent, alice));
	assert_true(is_there(&parent, bob));
	home_drop(other);
	homes_free(homes);
	cgroup_parent_close(&parent);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int
main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(instances_of_a_function_share_one_and_other_functions_have_theirs),
		TEST(a_network_that_was_changed_has_one_of_its_own),
		TEST(with_a_way_out_it_has_no_namespace_of_its_own),
		TEST(one_is_kept_for_the_next_instance),
		TEST(of_those_that_nobody_uses_the_oldest_go),
		TEST(the_leaves_of_a_function_stand_in_a_branch_of_its_own),
		TEST(the_branches_of_a_tenant_stand_in_one_that_goes_with_the_last),
	};

	if (geteuid() != 0) {
		fprintf(stderr, "NOT RUN: namespaces are made by root\n");
		return 77;
	}
	return cmocka_run_group_tests(tests, NULL, NULL);
}
