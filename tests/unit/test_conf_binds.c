/* What the sections' `bind` come to, and what of the host none may name. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "fcgi-host/sock.h"
#include "tests/unit/conf_text.h"

static void
a_bind_that_lies_in_another_comes_behind_it(void **state)
{
	static const char *const wanted[] = { "/a", "/a/b", "/a/b/c", "/a/bc",
		"/b" };
	struct conf *conf = conf_of("[defaults]\nbind = /a/b/c /b\n"
	    "[tenant alice]\nbind = /a/bc /a /a/b /a:rw\n");
	struct conf_bind binds[CONF_BIND_MAX];
	size_t n = conf_binds(conf, "alice", "alice/f", "", binds), i;

	(void)state;
	assert_int_equal(n, 5);
	for (i = 0; i < n; i++)
		assert_string_equal(binds[i].path, wanted[i]);
	assert_true(binds[0].is_writable);
	assert_false(binds[1].is_writable);
	conf_binds_free(binds, n);
	conf_unref(conf);
}

/* The text has one error at most: the line, or 0. */
static unsigned
line_refused(const char *text, const char *sentence)
{
	struct conf_errors errors = { 0 };
	int fd = sock_sealed("conf", text, strlen(text));
	struct conf *conf = conf_read(fd, "f.ini", &errors);
	unsigned line = 0;

	if (conf == NULL) {
		assert_int_equal(buf_add(&errors.text, "", 1), 0);
		assert_int_equal(sscanf((const char *)buf_head(&errors.text),
		    "f.ini:%u: ", &line), 1);
		if (strstr((const char *)buf_head(&errors.text), sentence) ==
		    NULL)
			fail_msg("%s", (const char *)buf_head(&errors.text));
	}
	conf_unref(conf);
	conf_errors_free(&errors);
	close(fd);
	return line;
}

#define OWN "[host]\nrun = /run/fh\nstate = /var/fh\n" \
	"accounting = /var/log/fh/a.log\nlog = /var/log/fh.log\n" \
	"functions = /srv/f\n"

static void
the_hosts_own_places_are_named_in_no_section(void **state)
{
	static const char *const bad[] = { "/run", "/run/fh", "/run/fh/x",
		"/var", "/var/fh/data/bob", "/var/log/fh", "/var/log/fh/a.log",
		"/var/log/fh.log:rw", "/srv:rw", "/srv/f:rw", "/srv/f/a:rw" };
	static const char *const sections[] = { "[defaults]\n",
		"[tenant a]\n", "[function a/b]\n", "[runtime r]\n" };
	char text[512];
	size_t i, j;

	(void)state;
	for (i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		for (j = 0; j < 4; j++) {
			snprintf(text, sizeof(text), OWN "%sbind = /ok %s\n%s",
			    sections[j], bad[i], j < 3 ? "" :
			    "extensions = r\ncommand = /bin/r\n");
			assert_int_equal(line_refused(text, "would show "
			    "[host] "), 8);
		}
}

static void
what_stands_beside_them_may_be_named(void **state)
{
	(void)state;
	assert_int_equal(line_refused(OWN "[tenant a]\nbind = /run/f "
	    "/run/fhx:rw /srv/f/shared /var/log/other\n", ""), 0);
	/* what stands where nobody said otherwise counts too */
	assert_int_equal(line_refused("[tenant a]\nbind = /run\n",
	    "would show [host] run"), 2);
	assert_int_equal(line_refused("[tenant (a]\nbind = /opt\n",
	    "is no name of a tenant"), 1);
	assert_int_equal(line_refused("[tenant a]\nbind = /\n",
	    "the whole machine"), 2);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_bind_that_lies_in_another_comes_behind_it),
		cmocka_unit_test(the_hosts_own_places_are_named_in_no_section),
		cmocka_unit_test(what_stands_beside_them_may_be_named),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
