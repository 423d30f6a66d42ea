/* Which rules of logrotate would lose records. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "fcgi-host/cmd_check.h"
#include "tests/unit/conf_text.h"

static const char *const names[] = { "/etc/logrotate.conf",
	"/etc/logrotate.d/a", "/etc/logrotate.d/b" };

static void
put(const char *root, const char *name, const char *text)
{
	char path[256];
	FILE *file;

	(void)snprintf(path, sizeof(path), "%s%s", root, name);
	file = fopen(path, "we");
	assert_non_null(file);
	assert_true(fputs(text, file) >= 0);
	assert_int_equal(fclose(file), 0);
}

/* "" or what is found; each of the three files has its text, or is "". */
static const char *
found(const char *main_text, const char *a, const char *b)
{
	static char text[1024];
	char root[] = "/tmp/fh-rotation-XXXXXX", path[256];
	struct conf *conf = conf_of("[host]\naccounting = /var/log/f/a.log\n");
	struct findings findings = { 0 };
	size_t i;

	assert_non_null(mkdtemp(root));
	(void)snprintf(path, sizeof(path), "%s/etc", root);
	assert_int_equal(mkdir(path, 0755), 0);
	(void)snprintf(path, sizeof(path), "%s/etc/logrotate.d", root);
	assert_int_equal(mkdir(path, 0755), 0);
	put(root, names[0], main_text);
	put(root, names[1], a);
	put(root, names[2], b);
	check_rotation(conf, root, &findings);
	assert_true(findings.count <= 1);
	(void)snprintf(text, sizeof(text), "%s", findings.count == 0 ? "" :
	    findings.at[0].text + strlen(root));
	findings_free(&findings);
	conf_unref(conf);
	for (i = 0; i < 3; i++) {
		(void)snprintf(path, sizeof(path), "%s%s", root, names[i]);
		assert_int_equal(unlink(path), 0);
	}
	(void)snprintf(path, sizeof(path), "%s/etc/logrotate.d", root);
	assert_int_equal(rmdir(path), 0);
	(void)snprintf(path, sizeof(path), "%s/etc", root);
	assert_int_equal(rmdir(path), 0);
	assert_int_equal(rmdir(root), 0);
	return text;
}

static void
copytruncate_of_the_log_is_found_with_its_line(void **state)
{
	(void)state;
	assert_memory_equal(found("weekly\n",
	    "/var/log/f/*.log {\n\tdaily\n\tcopytruncate\n}\n", ""),
	    "/etc/logrotate.d/a:3: copytruncate would lose", 45);
	assert_memory_equal(found("", "", "\"/var/log/x\"\n/var/log/f/a.log\n"
	    "{\n copytruncate # short\n}\n"), "/etc/logrotate.d/b:4: ", 22);
	assert_string_not_equal(found("copytruncate\n",
	    "/var/log/f/a.log {\n}\n", ""), "");
	assert_string_not_equal(found("copytruncate\n",
	    "/var/log/f/a.log{\n}\n", ""), "");
}

static void
other_rules_are_none_of_ours(void **state)
{
	(void)state;
	assert_string_equal(found("", "/var/log/g/*.log {\n copytruncate\n}\n"
	    "/var/log/f/*.log {\n daily\n}\n", ""), "");
	assert_string_equal(found("", "/var/log/f/*.log {\n postrotate\n"
	    "  copytruncate }\n endscript\n # copytruncate\n}\n", ""), "");
	assert_string_equal(found("copytruncate\n", "/var/log/f/*.log {\n"
	    " nocopytruncate\n}\n", ""), "");
	assert_string_equal(found("", "{{{\n}\n\"'", "\n\n"), "");
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(copytruncate_of_the_log_is_found_with_its_line),
		cmocka_unit_test(other_rules_are_none_of_ours),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
