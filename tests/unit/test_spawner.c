#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "fcgi-host/sock.h"
#include "tests/unit/puppets.h"

static struct world world;

static int
set_up(void **state)
{
	*state = &world;
	world_start(&world, "log_level = debug\n");
	return 0;
}

/* ------------------------------------------------------------------ serving */

static void
expect_no_notice(int within_ms)
{
	struct pollfd poller = { .fd = world.notify_fd, .events = POLLIN };

	assert_int_equal(poll(&poller, 1, within_ms), 0);
}

static void
expect_listening(int fd)
{
	int is_listening = 0;
	socklen_t size = sizeof(is_listening);

	assert_int_equal(getsockopt(fd, SOL_SOCKET, SO_ACCEPTCONN,
	    &is_listening, &size), 0);
	assert_int_equal(is_listening, 1);
	close(fd);
}

static void
a_gateway_is_fed_in_order_and_served_only_after_the_scan(void **state)
{
	int fds[PUPPET_FDS_MAX];
	struct ctl_msg msg, hello = report_of("hello", "hello.cgi", "default");
	struct stat st;

	(void)state;
	puppet_expect(&world.gateway, CTL_START, &msg, fds);
	assert_true(msg.u.start.run_id > 0);
	assert_int_equal(msg.u.start.is_again, 0);
	assert_int_equal(fstat(fds[0], &st), 0);
	assert_int_equal(st.st_size, CTL_INFLIGHT_BYTES);
	assert_int_equal(st.st_mode & 07777, 0600);
	assert_int_equal(st.st_uid, 0);
	close(fds[0]);
	puppet_expect(&world.gateway, CTL_CONF, &msg, fds);
	assert_int_equal(fcntl(fds[0], F_GET_SEALS) & F_SEAL_WRITE,
	    F_SEAL_WRITE);
	close(fds[0]);
	puppet_expect(&world.gateway, CTL_LOG, &msg, fds);
	assert_int_equal(msg.u.log.is_first, 1);
	assert_int_equal(fcntl(fds[0], F_GETFL) & (O_APPEND | O_ACCMODE),
	    O_APPEND | O_RDWR);
	assert_int_equal(fstat(fds[0], &st), 0);
	assert_int_equal(st.st_mode & 07777, 0640);
	assert_int_equal(st.st_uid, 0);
	close(fds[0]);
	puppet_expect_silence(&world.gateway);

	puppet_expect_only(&world.scanner, CTL_CONF, &msg);
	/* The scanner's word on numbers does not count. */
	hello.u.function.limits.value[LIMIT_MEMORY_BYTES] = UINT64_MAX;
	hello.u.function.is_fastcgi = 1;
	puppet_send(&world.scanner, &hello, NULL, 0);
	puppet_expect_only(&world.gateway, CTL_FN_PUT, &msg);
	assert_string_equal(msg.u.function.name, "hello");
	assert_int_equal(msg.u.function.limits.value[LIMIT_MEMORY_BYTES],
	    128 << 20);
	assert_int_equal(msg.u.function.is_fastcgi, 0);
	puppet_say(&world.scanner, CTL_FN_SYNC);
	puppet_expect_only(&world.gateway, CTL_FN_SYNC, &msg);
	/* what came before all functions were told waits in the backlog */
	puppet_expect(&world.gateway, CTL_LISTEN, &msg, fds);
	expect_listening(fds[0]);
	/* nor is it said to be ready before it has taken them */
	expect_no_notice(150);
	puppet_say(&world.gateway, CTL_FN_SYNC);
	world_expect_notice(&world, "READY=1");
	/* once: the scanner says SYNC after each look */
	world_sync(&world);
	puppet_expect_silence(&world.gateway);
	expect_no_notice(150);
}

static void
put_gateway(const char *program)
{
	const char *path = world_path(&world, "libexec/fcgi-host-gateway");

	assert_int_equal(unlink(path), 0);
	assert_int_equal(symlink(program, path), 0);
}

static void
a_host_whose_gateway_cannot_be_executed_is_not_said_to_be_ready(void **state)
{
	char self[PATH_MAX] = "", text[CTL_TEXT_MAX + 1], command[256];
	struct ctl_msg msg;

	(void)state;
	assert_true(readlink("/proc/self/exe", self, sizeof(self) - 1) > 0);
	put_gateway("no-such-program");
	assert_int_equal(kill(world.gateway.pid, SIGKILL), 0);
	puppet_expect_only(&world.scanner, CTL_CONF, &msg);
	puppet_say(&world.scanner, CTL_FN_SYNC);
	expect_no_notice(1000);
	snprintf(command, sizeof(command), "test $(grep -c 'which=gateway .*"
	    "exit=127' %s) -gt 1", world_path(&world, "spawner.log"));
	assert_int_equal(system(command), 0);
	assert_int_equal(command_reply(command_send(&world, CTL_VERB_RELOAD,
	    -1), text), EBUSY);
	assert_non_null(strstr(text, "the gateway is being started"));
	/* and is, once that was mended */
	put_gateway(self);
	puppet_await_successor(&world, &world.gateway);
	puppet_pass(&world.gateway, CTL_FN_SYNC);
	expect_no_notice(150);
	puppet_say(&world.gateway, CTL_FN_SYNC);
	world_expect_notice(&world, "READY=1");
}

static void
a_host_that_is_ending_is_not_said_to_be_ready_any_more(void **state)
{
	(void)state;
	puppet_say(&world.scanner, CTL_FN_SYNC);
	puppet_pass(&world.gateway, CTL_FN_SYNC);
	assert_int_equal(kill(world.spawner, SIGTERM), 0);
	world_expect_notice(&world, "STOPPING=1");
	puppet_say(&world.gateway, CTL_FN_SYNC);
	expect_no_notice(150);
}

static void
the_roles_get_their_directories(void **state)
{
	struct stat st;

	(void)state;
	assert_int_equal(fstat(world.gateway.fds[0], &st), 0);
	assert_true(S_ISDIR(st.st_mode));
	assert_int_equal(st.st_mode & 07777, 0710);
	assert_int_equal(st.st_uid, 0);
	assert_int_equal(fstat(world.gateway.fds[1], &st), 0);
	assert_int_equal(st.st_mode & 07777, 0700);
	assert_int_not_equal(st.st_uid, 0);
	assert_int_equal(fstat(world.scanner.fds[0], &st), 0);
	assert_true(S_ISDIR(st.st_mode));
	assert_int_equal(world.scanner.fds[1], -1);
}

/* A line of /proc/PID/status as a number. */
static unsigned long long
status_of(pid_t pid, const char *key)
{
	char path[64], line[256];
	unsigned long long value = ~0ull;
	FILE *file;

	snprintf(path, sizeof(path), "/proc/%d/status", (int)pid);
	file = fopen(path, "r");
	assert_non_null(file);
	while (fgets(line, sizeof(line), file) != NULL)
		if (strncmp(line, key, strlen(key)) == 0)
			value = strtoull(line + strlen(key) + 1, NULL, 16);
	fclose(file);
	return value;
}

static void
rights_are_shrunk_before_anything_is_heard(void **state)
{
	const pid_t role = world.scanner.pid;

	(void)state;
	assert_int_equal(status_of(world.spawner, "CapBnd"), 0);
	assert_int_equal(status_of(world.spawner, "NoNewPrivs"), 1);
	/* CHOWN DAC_OVERRIDE KILL SETGID SETUID SETPCAP SYS_CHROOT SYS_ADMIN
	 * MKNOD */
	assert_int_equal(status_of(world.spawner, "CapPrm"), 0x82401e3);
	/* What a role begins with: SETGID SETUID SETPCAP SYS_CHROOT. */
	assert_int_equal(status_of(role, "CapPrm"), 0x401c0);
	assert_int_equal(status_of(role, "CapBnd"), 0);
	assert_int_equal(status_of(role, "NoNewPrivs"), 1);
	assert_int_equal(status_of(role, "SigBlk"), 0);
	/* Nothing of 1-31 is ignored: functions would inherit it. */
	assert_int_equal(status_of(role, "SigIgn") & 0x7fffffff, 0);
}

static void
a_role_that_dies_is_started_anew_and_told_everything(void **state)
{
	struct ctl_msg msg;

	(void)state;
	world_serve(&world);
	assert_int_equal(kill(world.gateway.pid, SIGKILL), 0);
	puppet_await_successor(&world, &world.gateway);
	puppet_expect_only(&world.gateway, CTL_START, &msg);
	assert_int_equal(msg.u.start.is_again, 1);
	puppet_expect_only(&world.gateway, CTL_CONF, &msg);
	puppet_expect_only(&world.gateway, CTL_TOTALS, &msg);
	puppet_expect_only(&world.gateway, CTL_LOG, &msg);
	assert_int_equal(msg.u.log.is_first, 1);
	puppet_expect_only(&world.gateway, CTL_FN_PUT, &msg);
	puppet_expect_only(&world.gateway, CTL_FN_SYNC, &msg);
	puppet_expect_only(&world.gateway, CTL_LISTEN, &msg);
}

static void
what_a_new_scanner_does_not_find_is_taken_from_the_gateway(void **state)
{
	struct ctl_msg msg, other = report_of("other", "other.cgi", "default");

	(void)state;
	world_serve(&world);
	assert_int_equal(kill(world.scanner.pid, SIGKILL), 0);
	puppet_await_successor(&world, &world.scanner);
	puppet_expect_only(&world.scanner, CTL_CONF, &msg);
	puppet_send(&world.scanner, &other, NULL, 0);
	puppet_expect_only(&world.gateway, CTL_FN_PUT, &msg);
	puppet_expect_silence(&world.gateway);
	puppet_say(&world.scanner, CTL_FN_SYNC);
	puppet_expect_only(&world.gateway, CTL_FN_DEL, &msg);
	assert_string_equal(msg.u.name.name, "hello");
	puppet_expect_only(&world.gateway, CTL_FN_SYNC, &msg);
}

static void
an_environment_goes_along_as_the_descriptor_that_came(void **state)
{
	struct ctl_msg msg, hello = report_of("hello", "hello.cgi", "default");
	int fds[PUPPET_FDS_MAX], fd = sock_sealed("env", "A=1", 4);
	struct stat sent, got;

	(void)state;
	world_serve(&world);
	hello.u.function.has_env = 1;
	puppet_send(&world.scanner, &hello, &fd, 1);
	puppet_expect(&world.gateway, CTL_FN_PUT, &msg, fds);
	assert_int_equal(msg.u.function.has_env, 1);
	assert_int_equal(fstat(fd, &sent), 0);
	assert_int_equal(fstat(fds[0], &got), 0);
	assert_int_equal(sent.st_ino, got.st_ino);
	close(fd);
	close(fds[0]);
	/* And again to a successor. */
	assert_int_equal(kill(world.gateway.pid, SIGKILL), 0);
	puppet_await_successor(&world, &world.gateway);
	puppet_expect_only(&world.gateway, CTL_START, &msg);
	puppet_expect_only(&world.gateway, CTL_CONF, &msg);
	puppet_expect_only(&world.gateway, CTL_TOTALS, &msg);
	puppet_expect_only(&world.gateway, CTL_LOG, &msg);
	puppet_expect(&world.gateway, CTL_FN_PUT, &msg, fds);
	assert_int_equal(fstat(fds[0], &got), 0);
	assert_int_equal(sent.st_ino, got.st_ino);
	close(fds[0]);
}

/* ---------------------------------------------------------------- starting */

/* Runs a second spawner on the same configuration; exit status. */
static int
second_host(void)
{
	char command[512];
	int status;

	snprintf(command, sizeof(command), "FCGI_HOST_LIBEXEC=%s/libexec "
	    "$(readlink /proc/%d/exe) -c %s/h.ini 2>%s/second.log", world.dir,
	    (int)world.spawner, world.dir, world.dir);
	status = system(command);
	return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

static bool
second_said(const char *text)
{
	char command[512];

	snprintf(command, sizeof(command), "grep -qF -e '%s' %s/second.log",
	    text, world.dir);
	return system(command) == 0;
}

static void
a_second_host_on_the_same_directories_is_refused(void **state)
{
	(void)state;
	assert_int_equal(second_host(), 1);
	assert_true(second_said("another host (process "));
	world_serve(&world);
}

static void
a_bad_start_is_refused_in_words(void **state)
{
	static const struct {
		const char *more, *words;
		int code;
	} cases[] = {
		{ "nonsense = 1\n", "nonsense", 2 },
		{ "[tenant alice]\nuser = no-such-account\n",
		    "there is no account", 1 },
	};
	size_t i;

	(void)state;
	for (i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		char text[1024];

		/* Other directories, or it would stop at the lock. */
		snprintf(text, sizeof(text), "[host]\nuser = nobody\n"
		    "listen = %s/run2/s\nfunctions = %s/functions\n"
		    "accounting = %s/log/a2.log\nrun = %s/run2\n"
		    "state = %s/state2\n%s", world.dir, world.dir, world.dir,
		    world.dir, world.dir, cases[i].more);
		world_write(&world, "h.ini", text, 0644);
		assert_int_equal(second_host(), cases[i].code);
		assert_true(second_said(cases[i].words));
	}
}

/* The name of a layer that is off on this machine, from the first host's log. */
static bool
missing_layer(char *name, size_t size)
{
	char line[1024];
	const char *at;
	bool is_found = false;
	FILE *file = fopen(world_path(&world, "spawner.log"), "r");

	assert_non_null(file);
	while (!is_found && fgets(line, sizeof(line), file) != NULL) {
		at = strstr(line, "event=layer_off layer=");
		if (at == NULL)
			continue;
		at += strlen("event=layer_off layer=");
		snprintf(name, size, "%.*s", (int)strcspn(at, " \n"), at);
		is_found = true;
	}
	fclose(file);
	return is_found;
}

static void
a_required_layer_that_is_missing_is_a_refusal_to_start(void **state)
{
	char layer[32], text[1024];
	const char *d = world.dir;

	(void)state;
	if (!missing_layer(layer, sizeof(layer))) {
		print_message("NOT RUN: this machine lacks no layer\n");
		skip();
	}
	snprintf(text, sizeof(text), "[host]\nuser = nobody\n"
	    "listen = %s/run2/s\nfunctions = %s/functions\n"
	    "accounting = %s/log/a2.log\nrun = %s/run2\nstate = %s/state2\n"
	    "require = seccomp %s\n", d, d, d, d, d, layer);
	world_write(&world, "h.ini", text, 0644);
	assert_int_equal(second_host(), 1);
	snprintf(text, sizeof(text), "%s is required", layer);
	assert_true(second_said(text));
}

static void
an_account_with_rights_and_a_log_that_others_could_replace_are_refused(
    void **state)
{
	static const struct {
		const char *user, *log, *words;
	} cases[] = {
		{ "root", "log/a2.log", "root" },
		{ "no-such-account", "log/a2.log", "there is no account" },
		{ "nobody", "open/a2.log", "must belong to root" },
		{ "nobody", "log/link.log", "cannot be opened" },
		{ "nobody", "log/pipe", "is no regular file" },
		{ "nobody", "missing/a2.log", "cannot be opened" },
	};
	size_t i;

	(void)state;
	assert_int_equal(mkdir(world_path(&world, "open"), 0755), 0);
	assert_int_equal(chmod(world_path(&world, "open"), 0777), 0);
	assert_int_equal(symlink("/etc/passwd",
	    world_path(&world, "log/link.log")), 0);
	assert_int_equal(mkfifo(world_path(&world, "log/pipe"), 0600), 0);
	for (i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		char text[1024];
		int code;

		snprintf(text, sizeof(text), "[host]\nuser = %s\n"
		    "listen = %s/run2/s\nfunctions = %s/functions\n"
		    "accounting = %s/%s\nrun = %s/run2\nstate = %s/state2\n",
		    cases[i].user, world.dir, world.dir, world.dir,
		    cases[i].log, world.dir, world.dir);
		world_write(&world, "h.ini", text, 0644);
		code = second_host();
		assert_true(code == 1 || code == 2);
		if (!second_said(cases[i].words))
			fail_msg("case %zu: not said: %s", i, cases[i].words);
	}
}

/* Runs a copy that everybody can reach, under what `with` says. */
static int
host_with(const char *with)
{
	char command[512];
	int status;

	snprintf(command, sizeof(command), "cp $(readlink /proc/%d/exe) %s/x; "
	    "cd %s && FCGI_HOST_LIBEXEC=%s/libexec setpriv %s %s/x -c h.ini "
	    "2>%s/second.log", (int)world.spawner, world.dir, world.dir,
	    world.dir, with, world.dir, world.dir);
	status = system(command);
	return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

static void
who_lacks_rights_is_told_which(void **state)
{
	char text[1024];
	struct stat st;

	(void)state;
	snprintf(text, sizeof(text), "[host]\nuser = nobody\n"
	    "listen = %s/run2/s\nfunctions = %s/functions\n"
	    "accounting = %s/log/a2.log\nrun = %s/run2\nstate = %s/state2\n",
	    world.dir, world.dir, world.dir, world.dir, world.dir);
	world_write(&world, "h.ini", text, 0644);
	assert_int_equal(host_with("--reuid 12345 --regid 12345 "
	    "--clear-groups"), 1);
	/* an ordinary user may be a host, but not where root is one */
	assert_true(second_said("/run2 (run) cannot be made"));
	assert_int_equal(host_with("--bounding-set -mknod"), 1);
	assert_true(second_said("CAP_MKNOD is needed and not there"));
	/* And what it had made is taken back. */
	assert_int_equal(stat(world_path(&world, "run2/s"), &st), -1);
	assert_int_equal(stat(world_path(&world, "run2/control.sock"), &st),
	    -1);
	assert_int_equal(stat(world_path(&world, "run2"), &st), 0);
	snprintf(text, sizeof(text), "/sys/fs/cgroup/unified/fcgi-host-%llx-"
	    "%llx", (unsigned long long)st.st_dev,
	    (unsigned long long)st.st_ino);
	assert_int_equal(stat(text, &st), -1);
}

#define TEST(name) \
	cmocka_unit_test_setup_teardown(name, set_up, world_tear_down)

int
main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		TEST(a_gateway_is_fed_in_order_and_served_only_after_the_scan),
		TEST(a_host_whose_gateway_cannot_be_executed_is_not_said_to_be_ready),
		TEST(a_host_that_is_ending_is_not_said_to_be_ready_any_more),
		TEST(the_roles_get_their_directories),
		TEST(rights_are_shrunk_before_anything_is_heard),
		TEST(a_role_that_dies_is_started_anew_and_told_everything),
		TEST(what_a_new_scanner_does_not_find_is_taken_from_the_gateway),
		TEST(an_environment_goes_along_as_the_descriptor_that_came),
		TEST(a_second_host_on_the_same_directories_is_refused),
		TEST(a_bad_start_is_refused_in_words),
		TEST(a_required_layer_that_is_missing_is_a_refusal_to_start),
		TEST(an_account_with_rights_and_a_log_that_others_could_replace_are_refused),
		TEST(who_lacks_rights_is_told_which),
	};

	puppets_main(argc, argv);
	if (!puppets_possible())
		return 77;
	return cmocka_run_group_tests(tests, NULL, NULL);
}
