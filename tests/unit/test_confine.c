/*
 * What gateway and scanner can still do once they are confined, and what not:
 * each deed is tried in a child that confines itself first.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "fcgi-host/sock.h"
#include "sandbox/confine.h"
#include "sandbox/landlock.h"
#include "tests/unit/deeds.h"

/* ------------------------------------------------------- one layer switched off */

/*
 * An outer filter answers one system call with success, or as a kernel that does
 * not know it, and nothing happens: the layer is not there, and the role does not
 * notice.
 */
struct without {
	const char letter; /* in the table below */
	int call, error;
	bool is_filter; /* only the loading of one, not libseccomp's questions */
};

static const struct without layers[] = {
	{ 's', SYS_seccomp, 0, true },
	{ 'l', SYS_landlock_create_ruleset, EOPNOTSUPP, false },
	{ 'r', SYS_chroot, 0, false },
};
#define LAYERS (sizeof(layers) / sizeof(layers[0]))

#define LOAD(field) \
	BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, field))
#define GO_ON_IF(value, skip) \
	BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, (unsigned)(value), 0, skip)

static int
switch_off(const struct without *layer)
{
	const unsigned answer = SECCOMP_RET_ERRNO | (unsigned)layer->error;
	struct sock_filter any[] = {
		LOAD(nr), GO_ON_IF(layer->call, 1),
		BPF_STMT(BPF_RET | BPF_K, answer),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
	};
	struct sock_filter filters[] = {
		LOAD(nr), GO_ON_IF(layer->call, 5),
		LOAD(args[0]), GO_ON_IF(SECCOMP_SET_MODE_FILTER, 3),
		LOAD(args[1]), GO_ON_IF(0, 1), /* no flags */
		BPF_STMT(BPF_RET | BPF_K, answer),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
	};
	struct sock_fprog program = layer->is_filter ?
	    (struct sock_fprog){ 8, filters } : (struct sock_fprog){ 4, any };

	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0)
		return -errno;
	return syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, 0, &program) != 0 ?
	    -errno : 0;
}

static const struct without *without; /* NULL: every layer is there */

static int
try_as(int (*role)(const struct confine *, const char **), deeds_act *act)
{
	pid_t pid = fork();
	int status;

	if (pid == 0) {
		const char *step = "no layer to switch off";
		int error = without != NULL ? switch_off(without) : 0;

		if (error == 0)
			error = role(&deeds_confine, &step);
		if (error != 0) {
			fprintf(stderr, "%s: %s\n", step, strerror(-error));
			_exit(200);
		}
		errno = 0;
		_exit(act() < 0 ? (errno != 0 ? errno : 199) : 0);
	}
	waitpid(pid, &status, 0);
	return WIFEXITED(status) ? WEXITSTATUS(status) :
	    1000 + WTERMSIG(status);
}

static void
each_role_can_do_its_work_and_nothing_else(void **state)
{
	(void)state;
	for (size_t i = 0; i < deeds_count; i++) {
		const struct deeds_row *row = &deeds_rows[i];
		int gateway, scanner;

		if (landlock_abi() == 0 &&
		    (row->gateway == EACCES || row->scanner == EACCES)) {
			fprintf(stderr, "SKIPPED, no Landlock in this kernel: "
			                "%s\n", row->about);
			continue;
		}
		if (landlock_abi() < 6 &&
		    (row->notes & DEEDS_NEED_SCOPE) != 0) {
			fprintf(stderr, "SKIPPED, this kernel's Landlock does "
			                "not know: %s\n", row->about);
			continue;
		}
		gateway = try_as(confine_gateway, row->act);
		scanner = try_as(confine_scanner, row->act);
		if (gateway != row->gateway)
			fail_msg("gateway, %s: %s", row->about,
			    strerror(gateway));
		if (scanner != row->scanner)
			fail_msg("scanner, %s: %s", row->about,
			    strerror(scanner));
	}
}

/* The table above must not hold because a deed never works. */
static void
each_deed_works_for_who_is_not_confined(void **state)
{
	(void)state;
	for (size_t i = 0; i < deeds_count; i++) {
		pid_t pid;
		int status;

		if ((deeds_rows[i].notes & DEEDS_FOR_CONFINED) != 0)
			continue;
		pid = fork();
		if (pid == 0)
			_exit(fchdir(deeds_confine.root_fd) != 0 ||
			    deeds_rows[i].act() < 0);
		waitpid(pid, &status, 0);
		unlinkat(deeds_confine.read_fd, "new", 0);
		if (status != 0)
			fail_msg("%s does not work anyway", deeds_rows[i].about);
	}
}

static void
each_forbidden_deed_is_refused_by_the_layers_that_the_table_names(void **state)
{
	static const struct {
		const char *name;
		int (*enter)(const struct confine *, const char **);
	} roles[] = { { "gateway", confine_gateway },
		{ "scanner", confine_scanner } };

	(void)state;
	if (landlock_abi() < 6) { /* which is one of the layers */
		fprintf(stderr, "SKIPPED: this kernel's Landlock is not whole\n");
		skip();
	}
	for (size_t i = 0; i < deeds_count; i++)
		for (size_t r = 0; r < 2; r++) {
			const struct deeds_row *row = &deeds_rows[i];
			char done[LAYERS + 1] = "";
			size_t n = 0;

			if ((r == 0 ? row->gateway : row->scanner) == 0)
				continue;
			for (size_t j = 0; j < LAYERS; j++) {
				without = &layers[j];
				if (try_as(roles[r].enter, row->act) == 0)
					done[n++] = layers[j].letter;
			}
			without = NULL;
			unlinkat(deeds_confine.read_fd, "new", 0);
			if (strcmp(done, r == 0 ? row->gateway_alone :
			    row->scanner_alone) != 0)
				fail_msg("%s, %s: done without each of \"%s\"",
				    roles[r].name, row->about, done);
		}
}

/* Seen from outside, since the role may not ask. */
static void
a_confined_role_has_no_right_left(void **state)
{
	static const char *const wanted[] = { "Uid:\t60802\t60802\t60802\t60802",
		"Gid:\t60802\t60802\t60802\t60802", "CapInh:\t0000000000000000",
		"CapPrm:\t0000000000000000", "CapEff:\t0000000000000000",
		"CapBnd:\t0000000000000000", "CapAmb:\t0000000000000000",
		"NoNewPrivs:\t1", "Seccomp:\t2" };
	int (*const roles[])(const struct confine *, const char **) = {
		confine_gateway, confine_scanner };

	(void)state;
	for (int i = 0; i < 2; i++) {
		char path[64], text[4096];
		int ready[2], fd;
		ssize_t n;
		pid_t pid;

		assert_int_equal(sock_pipe(ready), 0);
		pid = fork();
		if (pid == 0) {
			const char *step;

			if (roles[i](&deeds_confine, &step) != 0 ||
			    write(ready[1], "x", 1) != 1)
				_exit(1);
			poll(NULL, 0, -1);
		}
		close(ready[1]);
		assert_int_equal(read(ready[0], text, 1), 1);
		close(ready[0]);
		snprintf(path, sizeof(path), "/proc/%d/status", (int)pid);
		fd = open(path, O_RDONLY);
		n = read(fd, text, sizeof(text) - 1);
		close(fd);
		kill(pid, SIGKILL);
		waitpid(pid, NULL, 0);
		assert_true(n > 0);
		text[n] = '\0';
		for (size_t j = 0; j < sizeof(wanted) / sizeof(wanted[0]); j++) {
			if (strstr(text, wanted[j]) == NULL)
				fail_msg("no \"%s\"", wanted[j]);
		}
		assert_non_null(strstr(text, "Groups:\t \n"));
	}
}

static void
root_cannot_be_the_confined_user(void **state)
{
	struct confine root = deeds_confine;
	const char *step = "";

	(void)state;
	root.uid = 0;
	assert_int_equal(confine_gateway(&root, &step), -EINVAL);
	assert_int_equal(confine_scanner(&root, &step), -EINVAL);
	assert_string_equal(step, "user: root cannot be confined");
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(each_role_can_do_its_work_and_nothing_else),
		cmocka_unit_test(each_deed_works_for_who_is_not_confined),
		cmocka_unit_test(
		    each_forbidden_deed_is_refused_by_the_layers_that_the_table_names),
		cmocka_unit_test(a_confined_role_has_no_right_left),
		cmocka_unit_test(root_cannot_be_the_confined_user),
	};
	int failed;

	if (geteuid() != 0) {
		fprintf(stderr, "SKIPPED: confining the roles needs root\n");
		return 77;
	}
	deeds_begin();
	failed = cmocka_run_group_tests(tests, NULL, NULL);
	deeds_end();
	return failed;
}
