/* Network namespaces that are kept: one a function, and not for ever. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include "fcgi-host/netns.h"

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

static int
set_up(void **state)
{
	*state = netns_store_new();
	return *state == NULL;
}

static int
tear_down(void **state)
{
	netns_store_free(*state);
	return 0;
}

static struct netns *
take(struct netns_store *store, const char *function)
{
	struct netns *netns = NULL;

	assert_int_equal(netns_take(store, function, &netns), 0);
	return netns;
}

static void
instances_of_a_function_share_one_and_other_functions_have_theirs(void **state)
{
	ino_t before = own();
	struct netns *a = take(*state, "alice/f"), *b = take(*state, "alice/f");
	struct netns *c = take(*state, "alice/g"), *d = take(*state, "bob/f");

	assert_ptr_equal(a, b);
	assert_int_not_equal(inode_of(netns_fd(a)), inode_of(netns_fd(c)));
	assert_int_not_equal(inode_of(netns_fd(a)), inode_of(netns_fd(d)));
	assert_int_not_equal(inode_of(netns_fd(c)), inode_of(netns_fd(d)));
	/* whoever makes them stays in his own */
	assert_int_equal(own(), before);
	assert_int_not_equal(inode_of(netns_fd(a)), before);
	netns_drop(a);
	netns_drop(b);
	netns_drop(c);
	netns_drop(d);
}

static void
one_is_kept_for_the_next_instance(void **state)
{
	struct netns *netns = take(*state, "f");
	ino_t first = inode_of(netns_fd(netns));

	netns_drop(netns);
	assert_int_equal(netns_count(*state), 1);
	netns = take(*state, "f");
	assert_int_equal(inode_of(netns_fd(netns)), first);
	netns_drop(netns);
}

static void
of_those_that_nobody_uses_the_oldest_go(void **state)
{
	struct netns *used = take(*state, "used");
	ino_t first = inode_of(netns_fd(used));
	char name[16];

	for (int i = 0; i < 3 * NETNS_UNUSED_MAX; i++) {
		snprintf(name, sizeof(name), "f%d", i);
		netns_drop(take(*state, name));
	}
	assert_int_equal(netns_count(*state), NETNS_UNUSED_MAX + 1);
	assert_int_equal(inode_of(netns_fd(used)), first);
	netns_drop(used);
	assert_int_equal(netns_count(*state), NETNS_UNUSED_MAX);
	/* the last ones are there still */
	netns_drop(take(*state, name));
	assert_int_equal(netns_count(*state), NETNS_UNUSED_MAX);
	netns_drop(NULL);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int
main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(instances_of_a_function_share_one_and_other_functions_have_theirs),
		TEST(one_is_kept_for_the_next_instance),
		TEST(of_those_that_nobody_uses_the_oldest_go),
	};

	if (geteuid() != 0) {
		fprintf(stderr, "NOT RUN: namespaces are made by root\n");
		return 77;
	}
	return cmocka_run_group_tests(tests, NULL, NULL);
}
