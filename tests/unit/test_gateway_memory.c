/* What is read of the machine's memory and of a cgroup's. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "fcgi-host/gateway_memory.h"

#define MIB (UINT64_C(1) << 20)
#define MACHINE "MemTotal:        4096000 kB\nMemFree:          10000 kB\n" \
    "MemAvailable:    1024000 kB\nSwapCached: 7 kB\nSwapTotal: 9000 kB\n" \
    "SwapFree:           2048 kB\n"

static char top[64];
static struct gateway_memory memory;

static void
put(const char *name, const char *text)
{
	char path[128];
	FILE *file;

	snprintf(path, sizeof(path), "%s/%s", top, name);
	file = fopen(path, "we");
	assert_non_null(file);
	assert_true(fputs(text, file) >= 0);
	assert_int_equal(fclose(file), 0);
}

/* A machine with the cgroups /a and /a/b. */
static int
set_up(void **state)
{
	char path[128];

	(void)state;
	strcpy(top, "/tmp/memory-XXXXXX");
	if (mkdtemp(top) == NULL)
		return -1;
	for (const char *below = "a\0a/b\0"; *below != '\0';
	    below += strlen(below) + 1) {
		snprintf(path, sizeof(path), "%s/%s", top, below);
		if (mkdir(path, 0700) != 0)
			return -1;
	}
	put("machine", MACHINE);
	return 0;
}

static int
tear_down(void **state)
{
	char command[96];

	(void)state;
	gateway_memory_close(&memory);
	snprintf(command, sizeof(command), "rm -r %s", top);
	return system(command);
}

static void
cgroup(const char *name, const char *max, const char *current,
    const char *stat)
{
	const char *const files[][2] = { { "memory.max", max },
		{ "memory.current", current }, { "memory.stat", stat } };

	for (size_t i = 0; i < 3; i++) {
		char file[64];

		snprintf(file, sizeof(file), "%s/%s", name, files[i][0]);
		put(file, files[i][1]);
	}
}

static void
look(const char *path)
{
	char machine[128];

	snprintf(machine, sizeof(machine), "%s/machine", top);
	gateway_memory_open_at(&memory, machine, path == NULL ? NULL : top,
	    path);
}

static void
without_a_ceiling_it_is_what_the_machine_has_with_its_swap(void **state)
{
	(void)state;
	cgroup("a", "max\n", "5\n", "");
	look("/a/b");
	assert_int_equal(gateway_memory_left(&memory), 1002 * MIB);
	assert_int_equal(gateway_memory_reserve(&memory), 200 * MIB);
	put("machine", "MemTotal: 4096000 kB\nMemAvailable: 1024 kB\n");
	assert_int_equal(gateway_memory_left(&memory), MIB);
	gateway_memory_close(&memory);
	look(NULL);
	assert_int_equal(gateway_memory_left(&memory), MIB);
}

static void
the_lowest_ceiling_above_the_host_counts(void **state)
{
	(void)state;
	cgroup("a", "1073741824\n", "1048576\n", "");
	cgroup("a/b", "2147483648\n", "0\n", "");
	look("/a/b");
	assert_int_equal(memory.all_bytes, 1024 * MIB);
	assert_int_equal(gateway_memory_left(&memory), 1002 * MIB);
	/* 900 MiB of which 100 can be taken back */
	cgroup("a", "1073741824\n", "943718400\n", "anon 1\nfile 104857600\n"
	    "inactive_anon 7\nactive_anon 7\ninactive_file 52428800\n"
	    "active_file 41943040\nslab_reclaimable 10485760\n");
	assert_int_equal(gateway_memory_left(&memory), 224 * MIB);
	cgroup("a", "1073741824\n", "1073750000\n", "active_file 1\n");
	assert_int_equal(gateway_memory_left(&memory), 0);
	cgroup("a", "max\n", "1073750000\n", ""); /* it was taken away */
	assert_int_equal(gateway_memory_left(&memory), 1002 * MIB);
}

static void
a_containers_ceiling_is_at_the_top_of_what_it_sees(void **state)
{
	(void)state;
	cgroup(".", "536870912\n", "503316480\n", "anon 503316480\n");
	look("/");
	assert_int_equal(gateway_memory_left(&memory), 32 * MIB);
	assert_int_equal(gateway_memory_reserve(&memory), 32 * MIB);
}

static void
the_reserve_is_a_twentieth_within_bounds(void **state)
{
	static const struct {
		uint64_t all, reserve;
	} rows[] = { { 0, 32 * MIB }, { 256 * MIB, 32 * MIB },
		{ 1000 * MIB, 50 * MIB }, { 65536 * MIB, 512 * MIB } };

	(void)state;
	look(NULL);
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		const struct gateway_memory one = { .all_bytes = rows[i].all };

		assert_int_equal(gateway_memory_reserve(&one),
		    rows[i].reserve);
	}
}

static void
where_nothing_is_known_there_is_no_end(void **state)
{
	(void)state;
	gateway_memory_open_at(&memory, "/no/such/file", NULL, NULL);
	assert_true(gateway_memory_left(&memory) == UINT64_MAX);
	put("machine", "nonsense\n");
	look(NULL);
	assert_true(gateway_memory_left(&memory) == UINT64_MAX);
	gateway_memory_close(&memory);
	put("machine", "MemTotal: 4096000 kB\nMemFree: 10 kB\n");
	look(NULL);
	assert_true(gateway_memory_left(&memory) == UINT64_MAX);
}

static void
of_this_machine_there_is_some(void **state)
{
	(void)state;
	gateway_memory_open(&memory);
	assert_true(memory.all_bytes > 0);
	assert_true(gateway_memory_left(&memory) > 0);
	assert_true(gateway_memory_left(&memory) < UINT64_MAX);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int
main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(without_a_ceiling_it_is_what_the_machine_has_with_its_swap),
		TEST(the_lowest_ceiling_above_the_host_counts),
		TEST(a_containers_ceiling_is_at_the_top_of_what_it_sees),
		TEST(the_reserve_is_a_twentieth_within_bounds),
		TEST(where_nothing_is_known_there_is_no_end),
		TEST(of_this_machine_there_is_some),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
