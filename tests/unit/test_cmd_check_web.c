/* How long web servers wait, as their configurations say it, against ours. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "fcgi-host/cmd_check.h"
#include "tests/unit/conf_text.h"

#define SOCKET "/run/fh/fh.sock"
/* Each fits, and their sum does not. */
#define TEN_DAYS_MAX "2147483647d2147483647d2147483647d2147483647d2147483647d" \
	"2147483647d2147483647d2147483647d2147483647d2147483647d"
#define FIFTY_DAYS_MAX TEN_DAYS_MAX TEN_DAYS_MAX TEN_DAYS_MAX TEN_DAYS_MAX \
	TEN_DAYS_MAX

static void
times_are_read_with_their_units(void **state)
{
	static const struct { const char *text; int64_t bare_ms, ms; } times[] = {
		{ "90s;", 1, 90000 }, { "1m30s", 1, 90000 }, { "500ms\n", 0, 500 },
		{ "60;", 1000, 60000 }, { "50000", 1, 50000 }, { "2d ", 0,
		    172800000 }, { "60", 0, -1 }, { "", 1, -1 }, { "$x;", 1, -1 },
		{ "1.5s", 1, -1 }, { "60us", 1, -1 }, { "1s-", 1, -1 },
		{ "99999999999999999999s", 1, -1 },
		{ "2147483647d" "2147483647d" "2147483647d", 1,
		    3 * 2147483647LL * 86400000 }, { FIFTY_DAYS_MAX, 1, -1 },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(times) / sizeof(times[0]); i++)
		assert_int_equal(check_web_time_ms(times[i].text,
		    times[i].bare_ms), times[i].ms);
}

static void
the_longest_execution_is_the_longest_of_all_sections(void **state)
{
	struct conf_section tenants[1], functions[1];
	struct conf conf = { .refs = 1 };
	char problem[128];

	(void)state;
	memset(tenants, 0, sizeof(tenants));
	memset(functions, 0, sizeof(functions));
	assert_int_equal(check_longest_ms(&conf), 30000);
	conf.tenants = tenants;
	conf.tenant_count = 1;
	conf.functions_sections = functions;
	conf.function_count = 1;
	assert_int_equal(settings_set(&tenants[0].settings, SCOPE_TENANT,
	    "timeout", "5s", problem, sizeof(problem)), 0);
	assert_int_equal(check_longest_ms(&conf), 30000);
	assert_int_equal(settings_set(&tenants[0].settings, SCOPE_TENANT,
	    "timeout", "5m", problem, sizeof(problem)), 0);
	assert_int_equal(check_longest_ms(&conf), 300000);
	assert_int_equal(settings_set(&functions[0].settings, SCOPE_FUNCTION,
	    "timeout", "0", problem, sizeof(problem)), 0);
	assert_int_equal(check_longest_ms(&conf), 0);
}

/* What the text of a server says; -2: it does not name us. */
static int64_t
patience(const char *server, const char *text)
{
	struct conf *conf = conf_of("[host]\nallow_tcp = yes\n"
	    "listen = " SOCKET " 127.0.0.1:9000 /var/lib/haproxy/fh.sock\n");
	char *copy = strdup(text);
	bool is_named = false;
	int64_t ms = check_web_patience_ms(server, conf, copy, &is_named);

	free(copy);
	conf_unref(conf);
	return is_named ? ms : -2;
}

static void
nginx_is_read_where_it_passes_to_us(void **state)
{
	(void)state;
	assert_int_equal(patience("nginx", "server { location /php {\n"
	    "fastcgi_read_timeout 5s; fastcgi_pass unix:/run/php.sock; }\n"
	    "location /fn {\n  fastcgi_pass unix:" SOCKET ";\n"
	    "  fastcgi_read_timeout 2m; } }\n"), 120000);
	assert_int_equal(patience("nginx", "location / {\n"
	    "fastcgi_pass 127.0.0.1:9000; fastcgi_read_timeout 300; }"), 300000);
	assert_int_equal(patience("nginx", "fastcgi_read_timeout 5s;\n"
	    "location / { fastcgi_pass unix:" SOCKET "; }"), -1);
	assert_int_equal(patience("nginx", "location / {\n"
	    "# fastcgi_read_timeout 1s;\nset $x \"}\";\n"
	    "proxy_read_timeout 1s; fastcgi_read_timeouts 1s;\n"
	    "fastcgi_pass unix:" SOCKET "; fastcgi_read_timeout 9s; }"), 9000);
	assert_int_equal(patience("nginx", "location / { # was: {\n"
	    "fastcgi_read_timeout 8s; # }\n"
	    "fastcgi_pass unix:" SOCKET "; }"), 8000);
	assert_int_equal(patience("nginx", "# fastcgi_pass unix:" SOCKET ";\n"
	    "fastcgi_pass unix:" SOCKET ".old; fastcgi_pass 127.0.0.1:90001;\n"
	    "fastcgi_pass 227.0.0.1:9000; fastcgi_pass unix:/chroot" SOCKET
	    "2;"), -2);
	assert_int_equal(patience("nginx", ""), -2);
}

static void
apache_is_read_in_the_line_that_names_us(void **state)
{
	(void)state;
	assert_int_equal(patience("Apache", "Timeout 5\n<IfModule x>\n"
	    "\tProxyPass \"/fn/\" \"unix:" SOCKET "|fcgi://h/fn/\" "
	    "timeout=20 flushpackets=on\n</IfModule>\n"), 20000);
	assert_int_equal(patience("Apache", "ProxyPass /a unix:" SOCKET
	    "|fcgi://h/\nProxyPass /b http://h/ timeout=1\n"), -1);
	assert_int_equal(patience("Apache", "ProxyPass /a unix:" SOCKET
	    "|fcgi://h/ connectiontimeout=5\n"), -1);
}

static void
lighttpd_is_read_in_the_parentheses_around_us(void **state)
{
	(void)state;
	assert_int_equal(patience("lighttpd", "fastcgi.server = (\n"
	    "\"/php\" => ((\"socket\" => \"/p\", \"read-timeout\" => 1)),\n"
	    "\"/fn/\" => (( \"socket\" => \"" SOCKET "\",\n"
	    "  # \"read-timeout\" => 2,\n"
	    "  \"read-timeout\" => 20, \"write-timeout\" => 3 )) )\n"), 20000);
	assert_int_equal(patience("lighttpd", "fastcgi.server = ( \"/fn/\" => "
	    "((\"socket\" => \"" SOCKET "\")) )\n"), -1);
}

static void
caddy_is_read_in_the_block_that_we_open(void **state)
{
	(void)state;
	assert_int_equal(patience("Caddy", "http://a {\nread_timeout 1s\n"
	    "reverse_proxy unix/" SOCKET " {\n flush_interval -1\n"
	    " transport fastcgi {\n  read_timeout 20s\n"
	    "  write_timeout 5s\n }\n}\n}\n"), 20000);
	assert_int_equal(patience("Caddy", "reverse_proxy unix/" SOCKET "\n"
	    "b {\n transport fastcgi {\n  read_timeout 20s\n }\n}\n"), -1);
	assert_int_equal(patience("Caddy", "php_fastcgi 127.0.0.1:9000 {\n"
	    "read_timeout 1m\n}\n"), 60000);
}

static void
haproxy_is_read_in_its_section_and_may_be_in_a_chroot(void **state)
{
	(void)state;
	assert_int_equal(patience("HAProxy", "defaults\n\ttimeout server 1s\n"
	    "backend a\n\ttimeout server 2s\n\n"
	    "backend fn\n\ttimeout connect 5s\n\n\ttimeout server 50000\n"
	    "\tserver host unix@/fh.sock proto fcgi\n"
	    "backend c\n\ttimeout server 3s\n"), 50000);
	assert_int_equal(patience("HAProxy", "backend fn\n"
	    "\tserver host unix@" SOCKET "\n\ttimeout server-fin 1s\n"), -1);
	assert_int_equal(patience("HAProxy", "backend fn\n"
	    "\tserver host unix@/other.sock\n\ttimeout server 1s\n"), -2);
}

/* A file of conf/ as it is built; to be freed. */
static char *
built(const char *name)
{
	const char *build = getenv("BUILDDIR");
	char path[4096], *text = calloc(1, 1 << 16);
	FILE *file;

	snprintf(path, sizeof(path), "%s/conf/%s", build != NULL ? build : ".",
	    name);
	file = fopen(path, "r");
	if (text == NULL || file == NULL)
		fail_msg("%s cannot be read", path);
	assert_true(fread(text, 1, (1 << 16) - 1, file) > 0);
	fclose(file);
	return text;
}

static void
what_we_ship_is_understood(void **state)
{
	static const char *const ships[][2] = {
		{ "nginx", "nginx-location.conf" }, { "Apache", "apache.conf" },
		{ "lighttpd", "lighttpd.conf" }, { "Caddy", "Caddyfile" },
		{ "HAProxy", "haproxy.cfg" },
	};
	char host[4200], *text = built("nginx-location.conf");
	char *path = strstr(text, "unix:") + 5;
	struct conf *conf;

	(void)state;
	snprintf(host, sizeof(host), "[host]\nlisten = %.*s\n",
	    (int)strcspn(path, ";"), path);
	free(text);
	conf = conf_of(host);
	for (size_t i = 0; i < sizeof(ships) / sizeof(ships[0]); i++) {
		bool is_named = false;

		text = built(ships[i][1]);
		assert_int_equal(check_web_patience_ms(ships[i][0], conf, text,
		    &is_named), 60000);
		free(text);
	}
	conf_unref(conf);
}

/* ---- whole directories ---- */

static char root[] = "/tmp/test_cmd_check_web.XXXXXX";

static void
put(const char *name, const char *text)
{
	char path[200];
	FILE *file;

	for (const char *slash = strchr(name + 1, '/'); slash != NULL;
	    slash = strchr(slash + 1, '/')) {
		snprintf(path, sizeof(path), "%s%.*s", root,
		    (int)(slash - name), name);
		mkdir(path, 0755);
	}
	snprintf(path, sizeof(path), "%s%s", root, name);
	file = fopen(path, "w");
	assert_non_null(file);
	fputs(text, file);
	fclose(file);
}

/* The warnings about a host whose functions may run for 30 s. */
static void
warned(size_t count, const char *part, const char *mend)
{
	struct conf *conf = conf_of("[host]\nlisten = " SOCKET "\n");
	struct findings findings = { NULL, 0, { 0 } };

	check_web_servers(conf, root, &findings);
	assert_int_equal(findings.count, count);
	if (count > 0) {
		if (strstr(findings.at[0].text, part) == NULL)
			fail_msg("%s", findings.at[0].text);
		assert_non_null(strstr(findings.at[0].text, mend));
	}
	findings_free(&findings);
	conf_unref(conf);
}

static int
removed(const char *path, const struct stat *st, int kind, struct FTW *where)
{
	(void)st;
	(void)kind;
	(void)where;
	return remove(path);
}

static void
empty(void)
{
	assert_int_equal(nftw(root, removed, 8, FTW_DEPTH | FTW_PHYS), 0);
	assert_int_equal(mkdir(root, 0755), 0);
}

static void
each_server_is_compared_and_only_where_it_is_sure(void **state)
{
	(void)state;
	assert_non_null(mkdtemp(root));
	warned(0, "", "");
	put("/etc/nginx/nginx.conf", "http { fastcgi_read_timeout 1s; }\n");
	warned(0, "", "");
	put("/etc/nginx/sites-enabled/a", "location / { fastcgi_pass unix:"
	    SOCKET "; }\n");
	warned(0, "", ""); /* nobody knows which of the two counts */
	put("/etc/nginx/sites-enabled/a", "location / { fastcgi_pass unix:"
	    SOCKET "; fastcgi_read_timeout 30s; }\n");
	warned(1, "/etc/nginx/sites-enabled/a)", "write fastcgi_read_timeout "
	    "40s;");
	put("/etc/nginx/sites-enabled/a", "location / { fastcgi_pass unix:"
	    SOCKET "; fastcgi_read_timeout 31s; }\n");
	warned(0, "", "");
	empty();
	put("/etc/lighttpd/conf-enabled/50.conf", "(( \"socket\" => \"" SOCKET
	    "\", \"read-timeout\" => 5 ))\n");
	warned(1, "lighttpd waits for 5s", "\"read-timeout\" => 40");
	empty();
	put("/etc/caddy/Caddyfile", "reverse_proxy unix/" SOCKET " {\n"
	    "transport fastcgi {\nread_timeout 5s\n}\n}\n");
	warned(1, "Caddy waits for 5s", "read_timeout 40s");
	empty();
	put("/etc/haproxy/haproxy.cfg", "backend b\n timeout server 5s\n"
	    " server h unix@" SOCKET "\n");
	warned(1, "HAProxy waits for 5s", "timeout server 40s");
	empty();
	put("/etc/apache2/sites-enabled/a.conf", "ProxyPass / unix:" SOCKET
	    "|fcgi://x/ timeout=5\n");
	warned(1, "Apache waits for 5s", "timeout=40");
	empty();
	remove(root);
}

static void
nginx_s_built_in_minute_counts_where_nobody_sets_another(void **state)
{
	struct conf *conf = conf_of("[host]\nlisten = " SOCKET "\n"
	    "[function a/b]\ntimeout = 2m\n");
	struct findings findings = { NULL, 0, { 0 } };

	(void)state;
	mkdir(root, 0755);
	put("/etc/nginx/nginx.conf", "location / { fastcgi_pass unix:" SOCKET
	    "; }\n");
	check_web_servers(conf, root, &findings);
	assert_int_equal(findings.count, 1);
	assert_non_null(strstr(findings.at[0].text, "its built-in value"));
	findings_free(&findings);
	conf_unref(conf);
	empty();
	remove(root);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(times_are_read_with_their_units),
		cmocka_unit_test(
		    the_longest_execution_is_the_longest_of_all_sections),
		cmocka_unit_test(nginx_is_read_where_it_passes_to_us),
		cmocka_unit_test(apache_is_read_in_the_line_that_names_us),
		cmocka_unit_test(lighttpd_is_read_in_the_parentheses_around_us),
		cmocka_unit_test(caddy_is_read_in_the_block_that_we_open),
		cmocka_unit_test(
		    haproxy_is_read_in_its_section_and_may_be_in_a_chroot),
		cmocka_unit_test(what_we_ship_is_understood),
		cmocka_unit_test(
		    each_server_is_compared_and_only_where_it_is_sure),
		cmocka_unit_test(
		    nginx_s_built_in_minute_counts_where_nobody_sets_another),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
