#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "fcgi-host/conf.h"

static char all[65536]; /* the sentences of the last file that was refused */

static int
file_of(const char *text, size_t n)
{
	int fd = memfd_create("conf", MFD_CLOEXEC);

	assert_true(fd >= 0);
	assert_int_equal(write(fd, text, n), n);
	return fd;
}

static struct conf *
read_bytes(const char *text, size_t n)
{
	struct conf_errors errors = { .count = 0 };
	int fd = file_of(text, n);
	struct conf *conf = conf_read(fd, "f.ini", &errors);

	close(fd);
	assert_true((conf == NULL) == (errors.count > 0));
	snprintf(all, sizeof(all), "%.*s", (int)buf_len(&errors.text),
	    errors.count > 0 ? (char *)buf_head(&errors.text) : "");
	conf_errors_free(&errors);
	return conf;
}

static struct conf *
good(const char *text)
{
	struct conf *conf = read_bytes(text, strlen(text));

	if (conf == NULL)
		fail_msg("refused: %s", all);
	return conf;
}

/* The file is refused with exactly these sentences. */
static void
refused(const char *text, const char *sentences)
{
	assert_null(read_bytes(text, strlen(text)));
	assert_string_equal(all, sentences);
}

/* The file is refused, and the sentences hold this part. */
static void
refused_for(const char *text, const char *part)
{
	assert_null(read_bytes(text, strlen(text)));
	if (strstr(all, part) == NULL)
		fail_msg("\"%s\" is not in: %s", part, all);
}

static void
an_empty_file_has_the_built_in_values(void **state)
{
	struct conf *conf = good("");

	(void)state;
	assert_int_equal(conf->listen_count, 1);
	assert_string_equal(conf->listen[0], "/run/fcgi-host/fcgi-host.sock");
	assert_int_equal(conf->listen_mode, 0660);
	assert_null(conf->listen_group);
	assert_string_equal(conf->functions, "/srv/functions");
	assert_string_equal(conf->accounting,
	    "/var/log/fcgi-host/accounting.log");
	assert_string_equal(conf->run, "/run/fcgi-host");
	assert_string_equal(conf->state, "/var/lib/fcgi-host");
	assert_string_equal(conf->url_prefix, "/fn");
	assert_string_equal(conf->user, "fcgi-host");
	assert_string_equal(conf->log, "stderr");
	assert_int_equal(conf->log_level, LOG_INFO);
	assert_false(conf->is_sync || conf->allow_tcp);
	assert_true(conf->uid_first > 600100000u && conf->uid_count == 65536);
	conf_unref(conf);
}

static void
every_key_of_host_is_read(void **state)
{
	struct conf *conf = good("[host]\n"
	    "listen = /run/a.sock 127.0.0.1:9000 [::1]:9001\n"
	    "listen_mode = 0666\nlisten_group = www-data\nallow_tcp = yes\n"
	    "functions = /f\naccounting = \"/var/log/a;b.log\"\nsync = on\n"
	    "run = /r\nstate = /s ; a comment\nurl_prefix = /\n"
	    "index = alice/home\nuser = nobody\nuid_range = 2000-2009\n"
	    "require = landlock seccomp\nmax_connections = 7\n"
	    "max_instances = 8\nmax_prepared = 0\nmemory_reserve = 0\n"
	    "hot_nice = 0\n"
	    "log = /var/log/x\nlog_level = debug\n");

	(void)state;
	assert_int_equal(conf->listen_count, 3);
	assert_string_equal(conf->listen[1], "127.0.0.1:9000");
	assert_int_equal(conf->listen_mode, 0666);
	assert_string_equal(conf->listen_group, "www-data");
	assert_true(conf->allow_tcp && conf->is_sync);
	assert_string_equal(conf->functions, "/f");
	assert_string_equal(conf->accounting, "/var/log/a;b.log");
	assert_string_equal(conf->run, "/r");
	assert_string_equal(conf->state, "/s");
	assert_string_equal(conf->url_prefix, "");
	assert_string_equal(conf->index, "alice/home");
	assert_string_equal(conf->user, "nobody");
	assert_int_equal(conf->uid_first, 2000);
	assert_int_equal(conf->uid_count, 10);
	assert_string_equal(conf->require, "landlock seccomp");
	assert_int_equal(conf->max_connections, 7);
	assert_int_equal(conf->max_instances, 8);
	assert_int_equal(conf->max_prepared, 0);
	assert_true(conf->has_memory_reserve);
	assert_int_equal(conf->memory_reserve_bytes, 0);
	assert_int_equal(conf->hot_nice, 0);
	assert_string_equal(conf->log, "/var/log/x");
	assert_int_equal(conf->log_level, LOG_DEBUG);
	conf_unref(conf);
}

static void
every_error_is_told_with_its_line(void **state)
{
	(void)state;
	refused("[host]\n"
	    "lisen = /run/x\n"
	    "\n"
	    "url_prefix = fn\n"
	    "[defualts]\n"
	    "[defaults]\n"
	    "memory = lots\n"
	    "garbage\n"
	    "x = y\n",
	    "f.ini:2: unknown key \"lisen\" in [host]; do you mean listen\n"
	    "f.ini:4: url_prefix: \"fn\" is no path of a URL; write /fn, or / "
	    "for the whole site\n"
	    "f.ini:5: unknown section [defualts]; do you mean [defaults]\n"
	    "f.ini:7: memory: \"lots\" is not a size; write 128M, 1G or a "
	    "number of bytes\n"
	    "f.ini:8: \"garbage\" cannot be read; write key = value, "
	    "[section] or ; comment\n"
	    "f.ini:9: unknown key \"x\"; the manual page fcgi-host.ini(5) "
	    "lists the keys\n");
}

static void
what_iniparser_would_merge_cut_or_join_is_an_error(void **state)
{
	(void)state;
	refused("[host]\nrun = /a\nrun = /b\n",
	    "f.ini:3: \"run\" stands already at line 2; keep one of them\n");
	refused("[host]\nrun = /a\nRUN = /b\n",
	    "f.ini:3: \"run\" stands already at line 2; keep one of them\n");
	refused("[host]\n[Host]\n", "f.ini:2: section [host] stands already "
	    "at line 1; put all of its keys there\n");
	refused_for("[tenant a]\n[tenant  a]\n", "f.ini:2: section [tenant a] "
	    "stands already above");
	refused_for("[host]\nrun = /a;b\n", "f.ini:2: the value would be cut "
	    "at ';'");
	refused_for("[defaults]\nenv.a = x#y\n", "cut at '#'");
	refused_for("[defaults]\nenv.a = sh \"a ;b\"\n", "cut at ';'");
	refused_for("[host]\nrun = \"/a\n", "the quote \" is not closed");
	refused_for("[host]\nrun = '/a' x\n", "text after the closing quote");
	refused_for("[host]\nrun = /a\\\nstate = /b\n", "f.ini:2: a line that "
	    "ends in '\\' would swallow");
	refused_for("[host]\n; comment \\\nstate = /b\n", "f.ini:2: a line");
	refused_for("[host] ; comment\n", "f.ini:1: a section's line must end "
	    "with ']'");
	refused_for("run = /a\n", "f.ini:1: \"run\" stands before any");
	refused_for("[host]\njust words\n", "f.ini:2: \"just words\" cannot "
	    "be read");
	refused_for("[host]\nru:n = /a\n", "\"ru:n\" is no key");
	refused_for("[tenant:a]\n", "is no section");
}

static void
comments_quotes_and_blanks_are_read_as_iniparser_does(void **state)
{
	struct conf *conf = good("# comment = [x\n"
	    "; another\n"
	    "\t[ Host ]\r\n"
	    "  RUN\t=   /a   ; after a blank\n"
	    "state = '/b' # after a quote\n"
	    "[DEFAULTS]\n"
	    "env.a = \"  kept;  \"\n"
	    "env.b = it's\n"
	    "env.c =\n"
	    "env.d = ''\n"
	    "env.e = x = y\n");
	static const char block[] = "A=  kept;  \0B=it's\0C=\0D=\0E=x = y";

	(void)state;
	assert_string_equal(conf->run, "/a");
	assert_string_equal(conf->state, "/b");
	assert_int_equal(buf_len(&conf->defaults.env), sizeof(block));
	assert_memory_equal(buf_head(&conf->defaults.env), block,
	    sizeof(block));
	conf_unref(conf);
}

static void
strange_bytes_and_sizes_are_refused_in_words(void **state)
{
	static const char nul[] = "[host]\nrun = /a\0b\n";
	char *text = malloc(CONF_FILE_MAX + 2);
	int i;

	(void)state;
	assert_null(read_bytes(nul, sizeof(nul) - 1));
	assert_string_equal(all, "f.ini:2: a control byte; take it out\n");
	refused_for("\xef\xbb\xbf[host]\n", "f.ini:1: a byte order mark");
	refused_for("[host]\nr\xff\x1bn = /a\n", "f.ini:2: a control byte");
	refused_for("[host]\nr\xffn = /a\n", "\"r\\xffn\" is no key");
	memset(text, 'x', CONF_FILE_MAX + 2);
	assert_null(read_bytes(text, CONF_FILE_MAX + 1));
	assert_string_equal(all, "f.ini: longer than 1024 KiB; shorten it\n");
	memcpy(text, "[host]\n", 7);
	assert_null(read_bytes(text, 7 + CONF_LINE_MAX + 1));
	assert_non_null(strstr(all, "f.ini:2: the line is longer than 1000"));
	for (i = 0; i < CONF_FILE_MAX; i += 2)
		memcpy(text + i, "[\n", 2);
	assert_null(read_bytes(text, CONF_FILE_MAX));
	assert_true(strlen(all) < 20000);
	free(text);
}

static void
a_file_that_is_not_there_or_no_file_is_told(void **state)
{
	struct conf_errors errors = { .count = 0 };

	(void)state;
	assert_null(conf_load("/nonexistent/f.ini", &errors));
	assert_null(conf_load("/", &errors));
	assert_int_equal(errors.count, 2);
	snprintf(all, sizeof(all), "%.*s", (int)buf_len(&errors.text),
	    (char *)buf_head(&errors.text));
	assert_string_equal(all, "/nonexistent/f.ini: cannot be opened: No "
	    "such file or directory; name the configuration with -c FILE\n"
	    "/: no regular file; name a file\n");
	conf_errors_free(&errors);
}

static void
a_tcp_address_needs_allow_tcp(void **state)
{
	(void)state;
	refused_for("[host]\nlisten = 127.0.0.1:9000\n", "f.ini:2: listen: "
	    "whoever reaches 127.0.0.1:9000 can run every function");
	conf_unref(good("[host]\nlisten = 127.0.0.1:9000\nallow_tcp = yes\n"));
	refused_for("[host]\nlisten = localhost:9000\n", "is no address");
	refused_for("[host]\nlisten = 127.0.0.1:0\n", "is no address");
	refused_for("[host]\nlisten = 127.0.0.1:65536\n", "is no address");
	refused_for("[host]\nlisten = /a /a\n", "stands twice");
	refused_for("[host]\nlisten = \"\"\n", "no address");
}

static void
bad_values_of_host_are_refused(void **state)
{
	static const char *const bad[] = { "listen_mode = 888",
		"listen_mode = 0060", "listen_mode = 07777", "functions = f",
		"functions = /", "run = /a/../b", "state = /a/", "sync = 2",
		"user = root", "user = 0", "uid_range = 5", "uid_range = 0-9",
		"uid_range = 9000-8000", "uid_range = 2000-2147483647",
		"require = moat", "max_connections = 0", "log = syslog",
		"log_level = loud", "index = ../x", "url_prefix = /a?b",
		"max_prepared = -1", "max_prepared = 1025",
		"memory_reserve = 5%", "memory_reserve = much",
		"hot_nice = -1", "hot_nice = 20", "hot_nice = very",
		"max_instances = 0", "max_instances = 8193", "listen_group = a b" };
	size_t i;

	(void)state;
	for (i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		char text[128];

		snprintf(text, sizeof(text), "[host]\n%s\n", bad[i]);
		refused_for(text, "f.ini:2: ");
	}
}

static const char runtimes[] =
    "[runtime sh]\nextensions = sh .bash\nprotocol = cgi\n"
    "command = /bin/sh -c \"a  b\" 'c' %f\nbind = /etc/x\nenv.r = 1\n"
    "[runtime php]\nextensions = php\nprotocol = fastcgi\n"
    "command = /usr/bin/php-cgi\n";

static void
a_runtime_is_found_by_name_and_by_extension(void **state)
{
	struct conf *conf = good(runtimes);
	const struct conf_runtime *sh = conf_runtime_by_name(conf, "sh");
	static const char *const argv[] = { "/bin/sh", "-c", "a  b", "c",
		"%f" };
	size_t i;

	(void)state;
	assert_non_null(sh);
	assert_ptr_equal(conf_runtime_by_extension(conf, "bash"), sh);
	assert_ptr_equal(conf_runtime_by_extension(conf, "sh"), sh);
	assert_null(conf_runtime_by_extension(conf, "py"));
	assert_false(sh->is_fastcgi);
	for (i = 0; i < 5; i++)
		assert_string_equal(sh->command[i], argv[i]);
	assert_null(sh->command[5]);
	assert_true(conf_runtime_by_name(conf, "php")->is_fastcgi);
	assert_true(conf_extension_known(conf, "php"));
	assert_true(conf_extension_known(conf, "cgi"));
	assert_true(conf_extension_known(conf, "fcgi"));
	assert_false(conf_extension_known(conf, "py"));
	conf_unref(conf);
}

static void
a_runtime_that_cannot_work_is_refused(void **state)
{
	(void)state;
	refused("[runtime sh]\n",
	    "f.ini:1: [runtime sh] has no command; write command = "
	    "/path/of/program\n"
	    "f.ini:1: [runtime sh] has no extensions; write extensions = py\n");
	refused_for("[runtime a]\nextensions = x\ncommand = sh\n",
	    "f.ini:3: command: \"sh\" is no absolute path");
	refused_for("[runtime a]\nextensions = x\ncommand = /bin/a\n"
	    "build = gcc\n", "f.ini:4: build: \"gcc\" is no absolute path");
	refused_for("[runtime a]\nextensions = x\ncommand = /bin/a\n"
	    "check = /bin/c\nbuild = /bin/b\n",
	    "f.ini:5: build: it is the check of its files, and by one "
	    "runtime; take check and otherwise out");
	refused_for("[runtime a]\nextensions = x\ncommand = /bin/sh \"x' y\n",
	    "f.ini:3: command: no program, an open quote");
	refused_for("[runtime a]\nextensions = x\ncommand = /bin/a\n"
	    "[runtime b]\nextensions = y x\ncommand = /bin/b\n",
	    "f.ini:5: extensions: [runtime a] has \"x\" already");
	refused_for("[runtime a]\nextensions = ini\ncommand = /bin/a\n",
	    "f.ini:2: extensions: \"ini\" cannot be one");
	refused_for("[runtime a]\nextensions = x\ncommand = /bin/a\n"
	    "rootfs = x\n", "f.ini:4: rootfs: \"x\" is no absolute path");
	refused_for("[runtime a]\nextensions = x\ncommand = /bin/a\n"
	    "rootfs = /\n", "f.ini:4: rootfs: \"/\" is no absolute path");
	refused_for("[runtime a]\nextensions = x\ncommand = /bin/a\n"
	    "rootfs = /a/../b\n", "f.ini:4: rootfs: \"/a/../b\" is no "
	    "absolute path");
	refused_for("[host]\nfunctions = /srv/f\n[runtime a]\nextensions = x\n"
	    "command = /bin/a\nrootfs = /srv/f/image\n", "f.ini:6: rootfs: of "
	    "/srv/f/image and [host] functions = /srv/f one is in the other");
	refused_for("[host]\nstate = /srv/s\n[runtime a]\nextensions = x\n"
	    "command = /bin/a\nrootfs = /srv\n", "f.ini:6: rootfs: of /srv and "
	    "[host] state = /srv/s one is in the other");
	refused_for("[runtime a]\nextensions = x\ncommand = /bin/a\n"
	    "comand = /bin/b\n", "f.ini:4: unknown key \"comand\" in a "
	    "[runtime]; do you mean command");
	refused_for("[runtime Über]\n", "is no name of a runtime");
	refused_for("[defaults]\nruntime = pythn\n[runtime python]\n"
	    "extensions = py\ncommand = /usr/bin/python3\n",
	    "f.ini:2: runtime: there is no [runtime pythn]; do you mean "
	    "python");
}

static const char layered[] =
    "[defaults]\nmemory = 64M\ntimeout = 10s\nenv.a = d\nbind = /opt /x\n"
    "pass_params = A\n"
    "[runtime sh]\nextensions = sh\ncommand = /bin/sh\nenv.r = 1\n"
    "bind = /rt\n"
    "[tenant alice]\nmemory = 256M\nenv.a = t\nbind = /opt:rw\n"
    "pass_params = B_*\nuser = alice\n"
    "[function alice/big]\nmemory = 1G\ntimeout = 0\nenv.f = 2\n";

static void
limits_come_from_defaults_tenant_sidecar_and_function(void **state)
{
	struct conf *conf = good(layered);
	struct settings sidecar = { .runtime = NULL };
	struct limits limits;
	char problem[256], lowered[128];

	(void)state;
	assert_int_equal(settings_set(&sidecar, SCOPE_SIDECAR, "memory",
	    "512M", problem, sizeof(problem)), 0);
	assert_int_equal(settings_set(&sidecar, SCOPE_SIDECAR, "timeout",
	    "3s", problem, sizeof(problem)), 0);
	conf_limits(conf, "bob", "bob/x", NULL, &limits, lowered,
	    sizeof(lowered));
	assert_int_equal(limits.value[LIMIT_MEMORY_BYTES], 64 << 20);
	assert_int_equal(limits.value[LIMIT_TIMEOUT_MS], 10000);
	assert_int_equal(limits.value[LIMIT_IDLE_MS], 60000);
	conf_limits(conf, "alice", "alice/x", &sidecar, &limits, lowered,
	    sizeof(lowered));
	assert_int_equal(limits.value[LIMIT_MEMORY_BYTES], 256 << 20);
	assert_int_equal(limits.value[LIMIT_TIMEOUT_MS], 3000);
	assert_string_equal(lowered, "memory");
	conf_limits(conf, "alice", "alice/big", &sidecar, &limits, lowered,
	    sizeof(lowered));
	assert_int_equal(limits.value[LIMIT_MEMORY_BYTES], 1 << 30);
	assert_int_equal(limits.value[LIMIT_TIMEOUT_MS], 0);
	settings_free(&sidecar);
	conf_unref(conf);
}

static void
the_ceiling_holds_whatever_a_sidecar_or_section_may_give(void **state)
{
	struct conf *conf = good("[defaults]\nmemory = 64M\n"
	    "[function a/low]\nmemory = 8M\n[function a/high]\nmemory = 1G\n"
	    "timeout = 0\n");
	struct limits ceiling;

	(void)state;
	conf_ceiling(conf, "a", "a/low", &ceiling);
	assert_int_equal(ceiling.value[LIMIT_MEMORY_BYTES], 64 << 20);
	conf_ceiling(conf, "a", "a/high", &ceiling);
	assert_int_equal(ceiling.value[LIMIT_MEMORY_BYTES], 1 << 30);
	assert_int_equal(ceiling.value[LIMIT_TIMEOUT_MS], 0);
	conf_ceiling(conf, "a", "a/none", &ceiling);
	assert_int_equal(ceiling.value[LIMIT_TIMEOUT_MS], 30000);
	conf_unref(conf);
}

static void
env_binds_and_params_are_joined_from_the_weakest(void **state)
{
	static const char env[] = "A=d\0R=1\0A=t\0F=2";
	struct conf *conf = good(layered);
	struct conf_bind binds[CONF_BIND_MAX];
	struct buf out = { 0 };
	size_t n;

	(void)state;
	assert_int_equal(conf_env(conf, "alice", "alice/big", "sh", &out), 0);
	assert_int_equal(buf_len(&out), sizeof(env));
	assert_memory_equal(buf_head(&out), env, sizeof(env));
	buf_reset(&out, 0);
	assert_int_equal(conf_pass_params(conf, "alice", "alice/big", &out),
	    0);
	assert_string_equal((char *)buf_head(&out), "A B_*");
	buf_reset(&out, 0);
	assert_int_equal(conf_pass_params(conf, "x", "x/y", &out), 0);
	assert_string_equal((char *)buf_head(&out), "A");
	buf_free(&out);
	n = conf_binds(conf, "alice", "alice/big", "sh", binds);
	assert_int_equal(n, 3);
	assert_string_equal(binds[0].path, "/opt");
	assert_true(binds[0].is_writable);
	assert_string_equal(binds[1].path, "/rt");
	assert_string_equal(binds[2].path, "/x");
	assert_false(binds[2].is_writable);
	conf_binds_free(binds, n);
	assert_string_equal(conf_tenant(conf, "alice")->user, "alice");
	assert_null(conf_tenant(conf, "bob"));
	assert_null(conf_function(conf, "alice/small"));
	conf_unref(conf);
}

static int
sidecar(const char *text, struct settings *out, char *problem, size_t size)
{
	int fd = file_of(text, strlen(text));
	int error = conf_read_sidecar(fd, "a.ini", out, problem, size);

	close(fd);
	return error;
}

static void
a_sidecar_sets_what_a_tenant_may_set(void **state)
{
	struct settings s;
	char problem[256] = "";

	(void)state;
	assert_int_equal(sidecar("[function]\nmemory = 32M\nenv.k = \"a;b\"\n"
	    "data = no\n", &s, problem, sizeof(problem)), 0);
	assert_int_equal(s.limits.value[LIMIT_MEMORY_BYTES], 32 << 20);
	assert_string_equal((char *)buf_head(&s.env), "K=a;b");
	settings_free(&s);
	assert_int_equal(sidecar("", &s, problem, sizeof(problem)), 0);
	assert_true(s.has_limits == 0);
	settings_free(&s);
}

static void
a_sidecar_never_sets_what_is_the_administrators(void **state)
{
	static const struct {
		const char *text, *part;
	} bad[] = {
		{ "[function]\nbind = /etc\n", "a.ini:2: bind: only the" },
		{ "[function]\nnetwork = none\n", "a.ini:2: network: only" },
		{ "[function]\nuser = bob\n", "a.ini:2: user: only" },
		{ "[host]\nuser = bob\n", "a.ini:1: [host] does not belong" },
		{ "[runtime x]\ncommand = /bin/sh\n", "[runtime x] does not" },
		{ "[function a/b]\n", "a.ini:1: [function a/b] does not" },
		{ "[function]\nmemory = 1\n", "a.ini:2: memory: 1 is out" },
		{ "[function]\nenv.ld_preload = /x\n", "LD_PRELOAD" },
		{ "memory = 1\n", "a.ini:1: \"memory\" stands before" },
		{ "[function]\n\n\nx\x1b]0;hi\n", "a.ini:4: a control byte" },
	};
	struct settings s;
	size_t i;

	(void)state;
	for (i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		char problem[256] = "";

		assert_int_equal(sidecar(bad[i].text, &s, problem,
		    sizeof(problem)), -EINVAL);
		if (strstr(problem, bad[i].part) == NULL)
			fail_msg("\"%s\" is not in: %s", bad[i].part, problem);
		assert_null(strchr(problem, '\n'));
		assert_true(s.has_limits == 0 && s.env.data == NULL);
	}
}

static void
a_sidecar_is_bounded_and_never_waited_for(void **state)
{
	char *text = malloc(CONF_SIDECAR_MAX + 2), problem[256];
	struct settings s;
	int fds[2];

	(void)state;
	memset(text, '\n', CONF_SIDECAR_MAX + 1);
	text[CONF_SIDECAR_MAX + 1] = '\0';
	assert_int_equal(sidecar(text, &s, problem, sizeof(problem)),
	    -EINVAL);
	assert_string_equal(problem, "a.ini: longer than 64 KiB; shorten it");
	text[CONF_SIDECAR_MAX] = '\0';
	assert_int_equal(sidecar(text, &s, problem, sizeof(problem)), 0);
	settings_free(&s);
	free(text);
	/* A pipe without a writer's word would block a reader for ever. */
	assert_int_equal(pipe(fds), 0);
	assert_int_equal(conf_read_sidecar(fds[0], "a.ini", &s, problem,
	    sizeof(problem)), -EINVAL);
	close(fds[0]);
	close(fds[1]);
}

static void
a_reference_keeps_a_generation(void **state)
{
	struct conf *conf = good(layered);

	(void)state;
	assert_ptr_equal(conf_ref(conf), conf);
	conf_unref(conf);
	assert_non_null(conf_tenant(conf, "alice"));
	conf_unref(conf);
	conf_unref(NULL);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(an_empty_file_has_the_built_in_values),
		cmocka_unit_test(every_key_of_host_is_read),
		cmocka_unit_test(every_error_is_told_with_its_line),
		cmocka_unit_test(
		    what_iniparser_would_merge_cut_or_join_is_an_error),
		cmocka_unit_test(
		    comments_quotes_and_blanks_are_read_as_iniparser_does),
		cmocka_unit_test(strange_bytes_and_sizes_are_refused_in_words),
		cmocka_unit_test(a_file_that_is_not_there_or_no_file_is_told),
		cmocka_unit_test(a_tcp_address_needs_allow_tcp),
		cmocka_unit_test(bad_values_of_host_are_refused),
		cmocka_unit_test(a_runtime_is_found_by_name_and_by_extension),
		cmocka_unit_test(a_runtime_that_cannot_work_is_refused),
		cmocka_unit_test(
		    limits_come_from_defaults_tenant_sidecar_and_function),
		cmocka_unit_test(
		    the_ceiling_holds_whatever_a_sidecar_or_section_may_give),
		cmocka_unit_test(
		    env_binds_and_params_are_joined_from_the_weakest),
		cmocka_unit_test(a_sidecar_sets_what_a_tenant_may_set),
		cmocka_unit_test(
		    a_sidecar_never_sets_what_is_the_administrators),
		cmocka_unit_test(a_sidecar_is_bounded_and_never_waited_for),
		cmocka_unit_test(a_reference_keeps_a_generation),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
