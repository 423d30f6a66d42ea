/*
 * The installed sample against the parser: it must be right as it is, also
 * with every shown key switched on, and show the built-in values truly.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cmocka.h>

#include "fcgi-host/conf.h"

static char *
read_sample(void)
{
	const char *build = getenv("BUILDDIR");
	char path[4096], *text = calloc(1, 1 << 16);
	FILE *file;

	snprintf(path, sizeof(path), "%s/conf/fcgi-host.ini",
	    build != NULL ? build : ".");
	file = fopen(path, "re");
	if (file == NULL || text == NULL)
		fail_msg("%s cannot be read", path);
	if (fread(text, 1, (1 << 16) - 1, file) == 0)
		fail_msg("%s is empty", path);
	fclose(file);
	return text;
}

/* Removes the semicolon of each ";key = value"; "; prose" stays. */
static void
switch_on(char *text)
{
	char *line = text;

	while (line != NULL && *line != '\0') {
		if (line[0] == ';' && line[1] >= 'a' && line[1] <= 'z')
			memmove(line, line + 1, strlen(line));
		line = strchr(line, '\n');
		line = line != NULL ? line + 1 : NULL;
	}
}

static struct conf *
parse(const char *text)
{
	struct conf_errors errors = { 0 };
	int fd = memfd_create("sample", MFD_CLOEXEC);
	struct conf *conf;

	assert_true(fd >= 0);
	assert_int_equal(write(fd, text, strlen(text)), (ssize_t)strlen(text));
	conf = conf_read(fd, "fcgi-host.ini", &errors);
	if (conf == NULL) {
		assert_int_equal(buf_add(&errors.text, "", 1), 0);
		fail_msg("%s", (char *)buf_head(&errors.text));
	}
	close(fd);
	conf_errors_free(&errors);
	return conf;
}

static void
assert_builtin(const struct conf *conf)
{
	struct limits builtin, sample;

	settings_defaults(&builtin);
	conf_limits(conf, "default", "hello", NULL, &sample, NULL, 0);
	for (int i = 0; i < LIMIT_COUNT; i++)
		if (builtin.value[i] != sample.value[i])
			fail_msg("limit %d: the sample shows %llu, built in is "
			    "%llu", i, (unsigned long long)sample.value[i],
			    (unsigned long long)builtin.value[i]);
}

static void
the_sample_is_right_as_it_is(void **state)
{
	char *text = read_sample();
	struct conf *conf = parse(text);

	(void)state;
	assert_builtin(conf);
	assert_non_null(conf_runtime_by_extension(conf, "php"));
	conf_unref(conf);
	free(text);
}

static void
every_shown_key_can_be_switched_on(void **state)
{
	char *text = read_sample();
	struct conf *conf;

	(void)state;
	switch_on(text);
	conf = parse(text);
	assert_builtin(conf);
	conf_unref(conf);
	free(text);
}

/* What no example says otherwise; the paths, the listening group and the prefix
 * are set. */
static void
keys_of_the_host_show_the_built_in_values(void **state)
{
	char *text = read_sample();
	struct conf *builtin = parse("[host]\n"), *sample;

	(void)state;
	switch_on(text);
	sample = parse(text);
	assert_int_equal(sample->listen_mode, builtin->listen_mode);
	assert_int_equal(sample->allow_tcp, builtin->allow_tcp);
	assert_int_equal(sample->is_sync, builtin->is_sync);
	assert_string_equal(sample->url_prefix, builtin->url_prefix);
	assert_int_equal(sample->uid_first, builtin->uid_first);
	assert_int_equal(sample->uid_count, builtin->uid_count);
	assert_string_equal(sample->require, builtin->require);
	assert_int_equal(sample->max_connections, builtin->max_connections);
	assert_int_equal(sample->max_instances, builtin->max_instances);
	assert_int_equal(sample->max_prepared, builtin->max_prepared);
	assert_string_equal(sample->log, builtin->log);
	assert_int_equal(sample->log_level, builtin->log_level);
	conf_unref(builtin);
	conf_unref(sample);
	free(text);
}

static void
keys_without_a_built_in_value_are_told_as_examples(void **state)
{
	static const char *const keys[] = { "index", "prices", "chain_key",
		"egress" };
	char *text = read_sample(), words[80];
	struct conf *builtin = parse("[host]\n");

	(void)state;
	assert_null(builtin->index);
	assert_null(builtin->prices);
	assert_null(builtin->chain_key);
	for (size_t i = 0; i < sizeof(keys) / sizeof(keys[0]); i++) {
		snprintf(words, sizeof(words),
		    "\n; An example: built in is none.\n;%s = ", keys[i]);
		assert_non_null(strstr(text, words));
	}
	conf_unref(builtin);
	free(text);
}

static void
every_key_is_shown(void **state)
{
	char *text = read_sample(), line[80];
	size_t count;
	const char *const *keys = settings_keys(&count);

	(void)state;
	assert_true(count > 10);
	switch_on(text);
	for (size_t i = 0; i < count; i++) {
		/* These have no value that is right for [defaults]. */
		snprintf(line, sizeof(line), "\n%s%s =",
		    strcmp(keys[i], "env_file") == 0 ? "; " : "", keys[i]);
		if (strcmp(keys[i], "user") != 0 &&
		    strcmp(keys[i], "runtime") != 0 &&
		    strstr(text, line) == NULL)
			fail_msg("the sample does not show %s", keys[i]);
	}
	free(text);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_sample_is_right_as_it_is),
		cmocka_unit_test(every_shown_key_can_be_switched_on),
		cmocka_unit_test(keys_of_the_host_show_the_built_in_values),
		cmocka_unit_test(
		    keys_without_a_built_in_value_are_told_as_examples),
		cmocka_unit_test(every_key_is_shown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
