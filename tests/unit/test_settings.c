#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "fcgi-host/settings.h"

static char problem[512];

static int
set(struct settings *s, unsigned scope, const char *key, const char *value)
{
	problem[0] = '\0';
	return settings_set(s, scope, key, value, problem, sizeof(problem));
}

static void
durations_need_a_unit_and_zero_needs_none(void **state)
{
	static const struct {
		const char *text;
		uint64_t ms;
	} good[] = { { "0", 0 }, { "0s", 0 }, { "500ms", 500 }, { "30s", 30000 },
		{ "5m", 300000 }, { "2h", 7200000 }, { "1d", 86400000 } };
	static const char *const bad[] = { "", "30", "s", "-1s", "1.5s", "1 s",
		"1sec", "30S", "0x1s", "99999999999999999999s",
		"18446744073709551615d" };
	uint64_t ms;
	size_t i;

	(void)state;
	for (i = 0; i < sizeof(good) / sizeof(good[0]); i++) {
		assert_int_equal(settings_parse_duration_ms(good[i].text, &ms),
		    0);
		assert_int_equal(ms, good[i].ms);
	}
	for (i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		assert_int_equal(settings_parse_duration_ms(bad[i], &ms),
		    -EINVAL);
}

static void
sizes_are_bytes_or_have_a_unit_of_1024(void **state)
{
	static const char *const bad[] = { "", "M", "1MB", "1.5M", "-1", "1k",
		"1T", "18446744073709551616", "18014398509481984K" };
	uint64_t n;
	size_t i;

	(void)state;
	assert_int_equal(settings_parse_size("1000", &n), 0);
	assert_int_equal(n, 1000);
	assert_int_equal(settings_parse_size("64K", &n), 0);
	assert_int_equal(n, 65536);
	assert_int_equal(settings_parse_size("128M", &n), 0);
	assert_int_equal(n, 134217728);
	assert_int_equal(settings_parse_size("2G", &n), 0);
	assert_int_equal(n, UINT64_C(2147483648));
	for (i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		assert_int_equal(settings_parse_size(bad[i], &n), -EINVAL);
}

static void
counts_booleans_and_cores_are_read_to_their_end(void **state)
{
	uint64_t n;
	bool is_yes;

	(void)state;
	assert_int_equal(settings_parse_count("18446744073709551615", &n), 0);
	assert_true(n == UINT64_MAX);
	assert_int_equal(settings_parse_count("18446744073709551616", &n),
	    -EINVAL);
	assert_int_equal(settings_parse_count("1x", &n), -EINVAL);
	assert_int_equal(settings_parse_count("+1", &n), -EINVAL);
	assert_int_equal(settings_parse_bool("yes", &is_yes), 0);
	assert_true(is_yes);
	assert_int_equal(settings_parse_bool("off", &is_yes), 0);
	assert_false(is_yes);
	assert_int_equal(settings_parse_bool("1", &is_yes), -EINVAL);
	assert_int_equal(settings_parse_milli("0.5", &n), 0);
	assert_int_equal(n, 500);
	assert_int_equal(settings_parse_milli("2", &n), 0);
	assert_int_equal(n, 2000);
	assert_int_equal(settings_parse_milli("1.025", &n), 0);
	assert_int_equal(n, 1025);
	assert_int_equal(settings_parse_milli("1.", &n), -EINVAL);
	assert_int_equal(settings_parse_milli(".5", &n), -EINVAL);
	assert_int_equal(settings_parse_milli("1.0255", &n), -EINVAL);
}

static void
texts_are_the_shortest_exact_ones(void **state)
{
	char out[32];

	(void)state;
	assert_string_equal(settings_duration_text(0, out, 32), "0");
	assert_string_equal(settings_duration_text(1500, out, 32), "1500ms");
	assert_string_equal(settings_duration_text(60000, out, 32), "1m");
	assert_string_equal(settings_duration_text(90000, out, 32), "90s");
	assert_string_equal(settings_size_text(1 << 20, out, 32), "1M");
	assert_string_equal(settings_size_text(1025, out, 32), "1025");
}

static void
the_built_in_numbers_are_those_of_the_manual(void **state)
{
	struct limits limits;

	(void)state;
	settings_defaults(&limits);
	assert_int_equal(limits.value[LIMIT_IDLE_MS], 60000);
	assert_int_equal(limits.value[LIMIT_TIMEOUT_MS], 30000);
	assert_int_equal(limits.value[LIMIT_STALL_TIMEOUT_MS], 0);
	assert_int_equal(limits.value[LIMIT_MEMORY_BYTES], 128 << 20);
	assert_int_equal(limits.value[LIMIT_PROCESSES], 32);
	assert_int_equal(limits.value[LIMIT_TMP_BYTES], 16 << 20);
	assert_int_equal(limits.value[LIMIT_INSTANCES], 4);
	assert_int_equal(limits.value[LIMIT_QUEUE], 64);
	assert_int_equal(limits.value[LIMIT_QUEUE_TIMEOUT_MS], 10000);
	assert_int_equal(limits.value[LIMIT_BODY_MAX], 16 << 20);
	assert_int_equal(limits.value[LIMIT_HEADER_MAX], 64 << 10);
	assert_int_equal(limits.value[LIMIT_DATA], 1);
}

static const char *
good_value(const char *key)
{
	static const char *const pairs[][2] = {
		{ "idle", "1s" }, { "timeout", "1s" },
		{ "stall_timeout", "1s" }, { "memory", "64M" }, { "cpu", "1" },
		{ "processes", "8" }, { "tmp_size", "1M" },
		{ "instances", "2" }, { "min_instances", "1" },
		{ "max_instances", "20" }, { "max_memory", "256M" },
		{ "max_processes", "64" }, { "max_cpu", "1.5" },
		{ "max_requests", "10" },
		{ "queue", "3" }, { "queue_timeout", "2s" },
		{ "body_max", "1M" }, { "header_max", "8K" }, { "data", "no" },
		{ "freeze_idle", "yes" },
		{ "abort_grace", "0" },
		{ "budget_day", "10000 executions, 0.5 GiB-s" },
		{ "budget_month", "none" }, { "budget_warn", "90%" },
		{ "budget_status", "402" }, { "runtime", "python" },
		{ "network", "none" }, { "egress", "/run/netns/x" }, { "bind", "/opt/x:rw /opt/y" },
		{ "pass_params", "A B_*" }, { "user", "alice" },
		{ "env_file", "/etc/x.env" },
	};
	size_t i;

	for (i = 0; i < sizeof(pairs) / sizeof(pairs[0]); i++)
		if (strcmp(pairs[i][0], key) == 0)
			return pairs[i][1];
	fail_msg("no value for %s", key);
	return NULL;
}

static void
every_key_that_is_named_is_taken_where_it_belongs(void **state)
{
	size_t count, i;
	const char *const *keys = settings_keys(&count);

	(void)state;
	for (i = 0; i < count; i++) {
		struct settings s = { .runtime = NULL };
		bool is_admins = strcmp(keys[i], "network") == 0 ||
		    strcmp(keys[i], "egress") == 0 ||
		    strcmp(keys[i], "bind") == 0;
		bool is_total = strcmp(keys[i], "max_instances") == 0 ||
		    strcmp(keys[i], "max_memory") == 0 ||
		    strcmp(keys[i], "max_processes") == 0 ||
		    strcmp(keys[i], "max_cpu") == 0;
		bool is_tenants = strcmp(keys[i], "user") == 0;
		bool is_path = strcmp(keys[i], "env_file") == 0;
		const char *value = good_value(keys[i]);

		assert_int_equal(set(&s, SCOPE_TENANT, keys[i], value), 0);
		assert_int_equal(set(&s, SCOPE_SIDECAR, keys[i], value),
		    is_admins || is_tenants || is_total ? -EPERM :
		    is_path ? -EINVAL : 0);
		assert_int_equal(set(&s, SCOPE_DEFAULTS, keys[i], value),
		    is_tenants || is_path ? -EPERM : 0);
		assert_int_equal(set(&s, SCOPE_FUNCTION, keys[i], value),
		    is_tenants || is_total ? -EPERM : 0);
		settings_free(&s);
	}
}

static void
an_env_file_is_a_path_of_the_administrators_or_a_name_of_a_sidecars(
    void **state)
{
	static const char *const names[] = { ".env", "a.env", "A_1-2..env" };
	static const char *const bad[] = { "", "env", "a/b.env", "../x.env",
		"/etc/x.env", "a b.env", "a.env/", "x.env ", "\xc3\xa4.env",
		"a.ini" };
	struct settings s = { .runtime = NULL };
	size_t i;

	(void)state;
	for (i = 0; i < sizeof(names) / sizeof(names[0]); i++)
		assert_int_equal(set(&s, SCOPE_SIDECAR, "env_file", names[i]),
		    0);
	for (i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		assert_int_equal(set(&s, SCOPE_SIDECAR, "env_file", bad[i]),
		    -EINVAL);
		assert_non_null(strstr(problem, "write .env"));
	}
	assert_int_equal(set(&s, SCOPE_TENANT, "env_file", "x.env"), -EINVAL);
	assert_non_null(strstr(problem, "no absolute path"));
	assert_int_equal(set(&s, SCOPE_DEFAULTS, "env_file", "/x.env"), -EPERM);
	assert_non_null(strstr(problem, "every tenant's"));
	settings_free(&s);
}

static void
a_network_is_one_of_those_that_there_are(void **state)
{
	struct settings s = { .runtime = NULL };

	(void)state;
	assert_int_equal(set(&s, SCOPE_TENANT, "network", "loopback"), 0);
	assert_true(s.has_network);
	assert_int_equal(s.network, NETWORK_LOOPBACK);
	assert_int_equal(set(&s, SCOPE_FUNCTION, "network", "none"), 0);
	assert_int_equal(s.network, NETWORK_NONE);
	assert_int_equal(set(&s, SCOPE_DEFAULTS, "network", "host"), -EINVAL);
	assert_string_equal(problem, "network: \"host\" is not known; write "
	    "none, loopback or egress");
	assert_int_equal(set(&s, SCOPE_DEFAULTS, "network", "egress"), 0);
	assert_int_equal(s.network, NETWORK_EGRESS);
	assert_int_equal(set(&s, SCOPE_DEFAULTS, "egress", "netns/x"), -EINVAL);
	assert_non_null(strstr(problem, "write that of a network namespace"));
	assert_null(s.egress);
	settings_free(&s);
}

static void
a_number_outside_of_its_bounds_is_told_with_the_bounds(void **state)
{
	struct settings s = { .runtime = NULL };

	(void)state;
	assert_int_equal(set(&s, SCOPE_DEFAULTS, "memory", "1M"), -EINVAL);
	assert_string_equal(problem,
	    "memory: 1M is out of bounds; write 4M to 1024G");
	assert_int_equal(set(&s, SCOPE_DEFAULTS, "memory", "0"), -EINVAL);
	assert_int_equal(set(&s, SCOPE_DEFAULTS, "instances", "0"), -EINVAL);
	assert_int_equal(set(&s, SCOPE_DEFAULTS, "timeout", "5ms"), -EINVAL);
	assert_non_null(strstr(problem, "or 0 for none"));
	assert_int_equal(set(&s, SCOPE_DEFAULTS, "timeout", "0"), 0);
	assert_int_equal(set(&s, SCOPE_DEFAULTS, "memory", "12X"), -EINVAL);
	assert_string_equal(problem, "memory: \"12X\" is not a size; write "
	    "128M, 1G or a number of bytes");
	assert_true(s.has_limits == UINT64_C(1) << LIMIT_TIMEOUT_MS);
	settings_free(&s);
}

static void
a_misspelt_key_is_answered_with_the_right_one(void **state)
{
	static const char *const words[] = { "idle", "timeout", "memory" };
	struct settings s = { .runtime = NULL };

	(void)state;
	assert_int_equal(set(&s, SCOPE_DEFAULTS, "memmory", "1M"), -ENOENT);
	assert_string_equal(problem,
	    "unknown key \"memmory\"; do you mean memory");
	assert_int_equal(set(&s, SCOPE_DEFAULTS, "que_timeout", "1s"),
	    -ENOENT);
	assert_non_null(strstr(problem, "queue_timeout"));
	assert_int_equal(set(&s, SCOPE_DEFAULTS, "xylophone", "1"), -ENOENT);
	assert_null(strstr(problem, "do you mean"));
	assert_string_equal(settings_nearest("tiemout", words, 3), "timeout");
	assert_null(settings_nearest("", words, 3));
	assert_null(settings_nearest("zzzzzz", words, 3));
	settings_free(&s);
}

static void
environment_names_are_upper_cased_and_the_loaders_refused(void **state)
{
	static const char *const bad[] = { "env.", "env.ld_preload", "env.1a",
		"env.a.b", "env.query_string", "env.fcgi_role" };
	static const char block[] = "COLOUR=a=b\0EMPTY=";
	struct settings s = { .runtime = NULL };
	size_t i;

	(void)state;
	assert_int_equal(set(&s, SCOPE_SIDECAR, "env.colour", "a=b"), 0);
	assert_int_equal(set(&s, SCOPE_SIDECAR, "env.empty", ""), 0);
	assert_int_equal(buf_len(&s.env), sizeof(block));
	assert_memory_equal(buf_head(&s.env), block, sizeof(block));
	for (i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		assert_int_equal(set(&s, SCOPE_SIDECAR, bad[i], "x"), -EINVAL);
	assert_int_equal(buf_len(&s.env), sizeof(block));
	settings_free(&s);
}

static void
an_environment_is_bounded(void **state)
{
	struct settings s = { .runtime = NULL };
	char key[32], value[1001];
	int i, error = 0;

	(void)state;
	memset(value, 'v', 1000);
	value[1000] = '\0';
	for (i = 0; i < 100 && error == 0; i++) {
		(void)snprintf(key, sizeof(key), "env.k%d", i);
		error = set(&s, SCOPE_SIDECAR, key, value);
	}
	assert_int_equal(error, -EINVAL);
	assert_true(buf_len(&s.env) <= 32768);
	settings_free(&s);
}

static void
a_bind_is_absolute_clean_and_never_over_the_sandbox_s_own(void **state)
{
	static const char *const bad[] = { "opt", "/", "/opt/../etc", "/opt/",
		"/opt//x", "/opt:ro", "/a:b", "/proc/1", "/dev", "/tmp/x",
		"/data", "/fn", "/sys",
		"/1 /2 /3 /4 /5 /6 /7 /8 /9" };
	struct settings s = { .runtime = NULL };
	size_t i;

	(void)state;
	for (i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		assert_int_equal(set(&s, SCOPE_DEFAULTS, "bind", bad[i]),
		    -EINVAL);
	assert_int_equal(set(&s, SCOPE_DEFAULTS, "bind",
	    " /opt/x:rw\t/database "), 0);
	settings_free(&s);
}

static void
a_tenant_is_never_root(void **state)
{
	struct settings s = { .runtime = NULL };

	(void)state;
	assert_int_equal(set(&s, SCOPE_TENANT, "user", "root"), -EINVAL);
	assert_int_equal(set(&s, SCOPE_TENANT, "user", "0"), -EINVAL);
	assert_int_equal(set(&s, SCOPE_TENANT, "user", "al ice"), -EINVAL);
	assert_null(s.user);
	settings_free(&s);
}

static void
layers_override_and_ceilings_lower(void **state)
{
	struct settings s = { .runtime = NULL };
	struct limits limits, ceiling;
	char lowered[128];

	(void)state;
	settings_defaults(&ceiling);
	limits = ceiling;
	assert_int_equal(set(&s, SCOPE_SIDECAR, "memory", "1G"), 0);
	assert_int_equal(set(&s, SCOPE_SIDECAR, "timeout", "0"), 0);
	assert_int_equal(set(&s, SCOPE_SIDECAR, "cpu", "0.5"), 0);
	assert_int_equal(set(&s, SCOPE_SIDECAR, "queue", "3"), 0);
	settings_apply(&limits, &s);
	assert_int_equal(limits.value[LIMIT_MEMORY_BYTES], 1 << 30);
	assert_int_equal(settings_clamp(&limits, &ceiling, lowered,
	    sizeof(lowered)), 2);
	assert_string_equal(lowered, "timeout memory");
	assert_int_equal(limits.value[LIMIT_MEMORY_BYTES], 128 << 20);
	/* No end at all is more than any end. */
	assert_int_equal(limits.value[LIMIT_TIMEOUT_MS], 30000);
	/* The ceiling has none: half a core is less. */
	assert_int_equal(limits.value[LIMIT_CPU_MILLI], 500);
	assert_int_equal(limits.value[LIMIT_QUEUE], 3);
	settings_free(&s);
}

/* To be frozen is less: it can be asked for, and not refused. */
static void
of_a_restraint_the_lesser_number_is_more(void **state)
{
	struct limits limits, ceiling;
	char lowered[64];

	(void)state;
	settings_defaults(&ceiling);
	limits = ceiling;
	limits.value[LIMIT_FREEZE_IDLE] = 1;
	assert_int_equal(settings_clamp(&limits, &ceiling, lowered,
	    sizeof(lowered)), 0);
	assert_int_equal(settings_clamp(&ceiling, &limits, lowered,
	    sizeof(lowered)), 1);
	assert_string_equal(lowered, "freeze_idle");
	assert_int_equal(ceiling.value[LIMIT_FREEZE_IDLE], 1);
	settings_defaults(&ceiling);
	settings_raise(&limits, &ceiling);
	assert_int_equal(limits.value[LIMIT_FREEZE_IDLE], 0);
}

static void
what_is_admitted_lies_between_a_files_least_and_the_ceiling(void **state)
{
	static const uint64_t claims[] = { 0, 1, 7, UINT64_C(1) << 40,
		UINT64_MAX };
	struct limits ceiling, limits;
	char lowered[512];

	(void)state;
	settings_defaults(&ceiling);
	ceiling.value[LIMIT_MAX_PROCESSES] = 100;
	for (size_t i = 0; i < sizeof(claims) / sizeof(claims[0]); i++) {
		for (size_t j = 0; j < LIMIT_COUNT; j++)
			limits.value[j] = claims[i];
		settings_admit(&limits, &ceiling);
		assert_int_equal(settings_clamp(&limits, &ceiling, lowered,
		    sizeof(lowered)), 0);
		assert_in_range(limits.value[LIMIT_MEMORY_BYTES], 4 << 20,
		    128 << 20);
		assert_in_range(limits.value[LIMIT_PROCESSES], 2, 32);
		assert_in_range(limits.value[LIMIT_INSTANCES], 1, 4);
		assert_in_range(limits.value[LIMIT_MIN_INSTANCES], 0,
		    limits.value[LIMIT_INSTANCES]);
		assert_in_range(limits.value[LIMIT_TIMEOUT_MS], 10, 30000);
		assert_in_range(limits.value[LIMIT_DATA], 0, 1);
		/* none where the ceiling has none, or what a file may say */
		assert_true(limits.value[LIMIT_CPU_MILLI] == 0 ||
		    limits.value[LIMIT_CPU_MILLI] >= 10);
		assert_int_equal(limits.value[LIMIT_MAX_PROCESSES], 100);
		assert_int_equal(limits.value[LIMIT_MAX_INSTANCES], 0);
	}
}

static void
the_list_of_lowered_keys_is_cut_at_a_key(void **state)
{
	struct limits limits, ceiling;
	char lowered[12];

	(void)state;
	memset(&ceiling, 0, sizeof(ceiling));
	memset(&limits, 1, sizeof(limits));
	assert_true(settings_clamp(&limits, &ceiling, lowered,
	    sizeof(lowered)) > 2);
	assert_string_equal(lowered, "idle memory");
	memset(&limits, 1, sizeof(limits));
	assert_true(settings_clamp(&limits, &ceiling, lowered, 0) > 2);
}

static void
raising_takes_the_more_of_two_and_none_is_the_most(void **state)
{
	struct limits a, b;

	(void)state;
	settings_defaults(&a);
	b = a;
	b.value[LIMIT_TIMEOUT_MS] = 0;
	b.value[LIMIT_MEMORY_BYTES] = 4 << 20;
	b.value[LIMIT_INSTANCES] = 9;
	settings_raise(&a, &b);
	assert_int_equal(a.value[LIMIT_TIMEOUT_MS], 0);
	assert_int_equal(a.value[LIMIT_MEMORY_BYTES], 128 << 20);
	assert_int_equal(a.value[LIMIT_INSTANCES], 9);
	settings_defaults(&b);
	settings_raise(&a, &b);
	assert_int_equal(a.value[LIMIT_TIMEOUT_MS], 0);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(durations_need_a_unit_and_zero_needs_none),
		cmocka_unit_test(sizes_are_bytes_or_have_a_unit_of_1024),
		cmocka_unit_test(
		    counts_booleans_and_cores_are_read_to_their_end),
		cmocka_unit_test(texts_are_the_shortest_exact_ones),
		cmocka_unit_test(the_built_in_numbers_are_those_of_the_manual),
		cmocka_unit_test(
		    every_key_that_is_named_is_taken_where_it_belongs),
		cmocka_unit_test(
		    an_env_file_is_a_path_of_the_administrators_or_a_name_of_a_sidecars),
		cmocka_unit_test(a_network_is_one_of_those_that_there_are),
		cmocka_unit_test(
		    a_number_outside_of_its_bounds_is_told_with_the_bounds),
		cmocka_unit_test(
		    a_misspelt_key_is_answered_with_the_right_one),
		cmocka_unit_test(
		    environment_names_are_upper_cased_and_the_loaders_refused),
		cmocka_unit_test(an_environment_is_bounded),
		cmocka_unit_test(
		    a_bind_is_absolute_clean_and_never_over_the_sandbox_s_own),
		cmocka_unit_test(a_tenant_is_never_root),
		cmocka_unit_test(layers_override_and_ceilings_lower),
		cmocka_unit_test(of_a_restraint_the_lesser_number_is_more),
		cmocka_unit_test(the_list_of_lowered_keys_is_cut_at_a_key),
		cmocka_unit_test(
		    what_is_admitted_lies_between_a_files_least_and_the_ceiling),
		cmocka_unit_test(
		    raising_takes_the_more_of_two_and_none_is_the_most),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
